// What a picture of a run needs beside its timeline: where each task stood while it did not run, and what rewritten
// sites were in assembly language.
//
// A stack is taken when something happens after its task has left the CPU: until it is executed again, it is the same.

import type { Arch } from '../arch/arch.ts';
import type { KernelEvent } from '../kernel/events.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import type { ScenarioMachine } from '../scenario/ports.ts';
import { nameTarget } from '../scenario/text.ts';
import { hexBytes } from '../scenario/trace.ts';
import { TimelineObserver } from './observer.ts';
import type { SleptRow } from './page_data.ts';
import type { PageData } from './page_format.ts';

type Disassemble = Awaited<ReturnType<Arch['loadDisassembler']>>;

export class PictureObserver extends TimelineObserver {
  readonly slept: SleptRow[] = [];
  readonly sites: PageData['sites'][number][] = [];
  #machine: ScenarioMachine | undefined;
  #disassemble: Disassemble | undefined;
  /** Have left a CPU, and nothing has happened since. */
  #leaving: { readonly task: TaskStruct; readonly t: number }[] = [];
  readonly #unread: (KernelEvent & { type: 'ftrace' })[] = [];

  override begin(machine: ScenarioMachine): void {
    super.begin(machine);
    this.#machine = machine;
    for (const task of machine.inspect.core.tasks.processes()) this.#leaving.push({ task, t: 0 });
  }

  override event(event: KernelEvent): void {
    super.event(event);
    this.#takeStacks();
    if (event.type === 'ftrace') {
      if (this.#disassemble) this.#site(event);
      else this.#unread.push(event);
    }
    if (event.type !== 'sched') return;
    const pid = Number(event.prev.slice(event.prev.lastIndexOf(':') + 1));
    const task = pid === 0 ? undefined : this.#machine?.inspect.core.tasks.byPid(pid);
    if (task) this.#leaving.push({ task, t: event.t });
  }

  #takeStacks(): void {
    const { tasks } = this.#machine?.inspect.core ?? {};
    this.#leaving = this.#leaving.filter(({ task, t }) => {
      if (tasks?.byAddr(task.addr) !== task) return false;
      if (task.onCpu !== 0) return tasks.curr.includes(task) === false;
      const { pid, comm } = task;
      this.slept.push({ pid, comm, t, stack: this.#machine?.stack(task) ?? [] });
      return false;
    });
  }

  /** Has what is needed to read rewritten sites as they are rewritten, with the names of then. */
  async flush(): Promise<void> {
    this.#disassemble ??= await this.#machine?.inspect.core.arch.loadDisassembler();
    for (const event of this.#unread.splice(0)) this.#site(event);
  }

  #site({ t, ip, where, what, before, after }: KernelEvent & { type: 'ftrace' }): void {
    const machine = this.#machine as ScenarioMachine;
    const symbolize = (addr: bigint): string | undefined => {
      const target = nameTarget(machine, addr);
      return target && `0x${addr.toString(16)} <${target}>`;
    };
    const line = (bytes: Uint8Array): string => {
      const insns = this.#disassemble?.(bytes, ip, { symbolize }) ?? [];
      return `${hexBytes(bytes)}  ${insns.map(({ text }) => text).join('; ')}`;
    };
    this.sites.push({ t, where, what, before: line(before), after: line(after) });
  }

  ended(): void {
    this.#takeStacks();
  }
}
