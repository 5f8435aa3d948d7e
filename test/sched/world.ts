// A machine that also runs code of a test: kernel functions in the module range, user programs.

import { assembleSnippet } from '../../src/arch/x86_64/asm/assembler.ts';
import type { Addr } from '../../src/guest/addr.ts';
import { PAGE_SIZE, PROT_EXEC, PROT_READ } from '../../src/guest/memory.ts';
import { BUILT_IN, type KernelDescription } from '../../src/kernel/description.ts';
import type { KernelEvent } from '../../src/kernel/events.ts';
import type { TaskStruct } from '../../src/kernel/task_struct.ts';
import { Machine, type MachineOptions } from '../../src/machine/machine.ts';

const KERNEL_CODE = 0xffffffffc4000000n;
const USER_CODE = 0x600000n;
export const MS = 1e6;

export class World {
  readonly machine: Machine;
  readonly events: KernelEvent[] = [];
  #kernel = KERNEL_CODE;
  #user = USER_CODE;

  private constructor(machine: Machine) {
    this.machine = machine;
    machine.events.subscribe((event) => this.events.push(event));
    const { mem } = machine.inspect.core;
    mem.map(KERNEL_CODE, PAGE_SIZE, PROT_READ | PROT_EXEC);
    mem.map(USER_CODE, PAGE_SIZE, PROT_READ | PROT_EXEC);
  }

  /** Boots, and lets the machine come to rest. */
  static async boot(options: MachineOptions = {}, kernel: KernelDescription = BUILT_IN): Promise<World> {
    const world = new World(await Machine.boot(options, kernel));
    world.machine.runUntil(() => world.machine.inspect.smp.cpus.every((cpu) => cpu.halted), 100 * MS);
    return world;
  }

  close(): void {
    this.machine.close();
  }

  /** Assembles a kernel function: symbols of the image may be called, `$NAME` stands for a per-CPU offset. */
  async kernel(text: string): Promise<Addr> {
    const { symbols, percpu } = this.machine.inspect.core;
    const names = [...text.matchAll(/\b(?:call|jmp) ([a-z_]\w*)/g)].map(([, name]) => name);
    const known = new Map(names.map((name) => [name, symbols.require(name)]));
    const offset = (_: string, name: string) => String(percpu.address(name, 0) - percpu.base[0]);
    const at = this.#kernel;
    const bytes = await assembleSnippet(text.replaceAll(/\$(\w+)/g, offset), at, known);
    this.machine.inspect.core.mem.pokeText(at, bytes);
    this.#kernel += BigInt((bytes.length + 15) & ~15);
    return at;
  }

  /** A kernel thread, running. */
  thread(
    fn: Addr | string,
    data: Addr | number = 0n,
    options: { comm?: string; cpu?: number } = {},
  ): TaskStruct {
    const { kthreads, sched, core } = this.machine.inspect;
    const addr = typeof fn === 'string' ? core.symbols.require(fn) : fn;
    const task = kthreads.create(addr, BigInt(data), options.comm ?? 'thread', options.cpu);
    sched.wakeUpProcess(task);
    return task;
  }

  /** A user task that runs code of the test. */
  async user(text: string, comm = 'user'): Promise<TaskStruct> {
    const { fork, sched, core } = this.machine.inspect;
    const entry = this.#user;
    const bytes = await assembleSnippet(text, entry);
    core.mem.pokeText(entry, bytes);
    this.#user += BigInt((bytes.length + 15) & ~15);
    const task = fork.createUserTask({ comm, entry, argv: [comm] }, core.tasks.byPid(1));
    sched.wakeUpNewTask(task);
    return task;
  }

  zeroed(size: number): Addr {
    return this.machine.inspect.core.slab.alloc(size, 'test');
  }
  u32(addr: Addr): number {
    return this.machine.inspect.core.mem.readU32(addr);
  }

  gone(task: TaskStruct): boolean {
    return this.machine.inspect.core.tasks.byAddr(task.addr) !== task;
  }
  /** Runs until all of the tasks are gone. @returns whether they are. */
  untilGone(tasks: readonly TaskStruct[], ms = 2000): boolean {
    return this.machine.runUntil(() => tasks.every((task) => this.gone(task)), ms * MS);
  }
  untilAsleep(task: TaskStruct, ms = 100): boolean {
    return this.machine.runUntil(() => task.state !== 0 && task.onRq === 0 && task.onCpu === 0, ms * MS);
  }

  of<T extends KernelEvent['type']>(type: T): Extract<KernelEvent, { type: T }>[] {
    return this.events.filter((e): e is Extract<KernelEvent, { type: T }> => e.type === type);
  }
}
