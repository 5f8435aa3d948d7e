// What executes kernel code while it is watched, and who is told: the two ways of it (watched_exec.ts) as their users see them.

import type { Stop } from '../../guest/engine.ts';
import type { TaskStruct } from '../../kernel/task_struct.ts';
import type { Cpu } from './cpu.ts';

/** Who wants to know of calls through ftrace trampolines. Addresses by their low halves, signed or not. */
export interface TrampolineCalls {
  /** @param patchState the task's, as it calls. @param slot the stack it is on */
  entered(patchState: number, slot: number, site: number): void;
  left(task: TaskStruct, patchState: number, slot: number, target: number): void;
}

/** Told of each block that was executed: low half of its address, instructions. */
export type BlockSink = (pc: number, executed: number) => void;

export interface WatchedExecutor {
  /** From the PC on, at most `max` instructions; it may end earlier. */
  run(cpu: Cpu, max: number): Stop;
  onBlock: BlockSink | undefined;
}
