// The task as guest code sees it: struct task_struct in guest memory, with the layout of the kernel's description.
// Mirrors include/linux/sched.h. A field that the guest can read is kept only there.

import { type Addr, fromHalves, lo32, STACK_HI, STACK_SLOT } from '../guest/addr.ts';
import type { GuestMemory } from '../guest/memory.ts';
import type { Constants, KernelDescription, Structs } from './description.ts';
import type { StructHome } from './struct_home.ts';

export type Tif = 'TIF_SIGPENDING' | 'TIF_NEED_RESCHED' | 'TIF_PATCH_PENDING' | 'TIF_NOTIFY_SIGNAL';

/** Size in bytes of on_cpu and of on_rq: each an int of its own, or two bytes side by side (seen in 7.3). */
export function runFlagBytes({ structs }: Pick<KernelDescription, 'structs'>): 1 | 4 {
  const { on_cpu, on_rq } = structs.task_struct.fields;
  return on_rq === on_cpu + 1 ? 1 : 4;
}

export class TaskStruct {
  readonly addr: Addr;
  /** Index of its stack slot; -1 once the stack was given back. */
  stackSlot: number;
  readonly #u32: Uint32Array;
  /** Offset of the task_struct in the guest's buffer, in bytes. */
  readonly #at: number;
  readonly #mem: GuestMemory;
  readonly #fields: Structs['task_struct']['fields'];
  readonly #constants: Constants;
  readonly #flagBytes: 1 | 4;

  /** Wraps an allocated task_struct; the caller fills it. */
  constructor({ mem, kernel }: StructHome, addr: Addr, stackSlot: number) {
    this.addr = addr;
    this.stackSlot = stackSlot;
    this.#mem = mem;
    this.#constants = kernel.constants;
    this.#fields = kernel.structs.task_struct.fields;
    this.#flagBytes = runFlagBytes(kernel);
    this.#u32 = mem.u32;
    this.#at = mem.offsetOf(addr, kernel.structs.task_struct.size);
  }

  /** on_cpu or on_rq: 0 or 1. */
  #getFlag(field: number): number {
    return this.#flagBytes === 1 ? this.#mem.u8[this.#at + field] : this.#get(field);
  }
  #setFlag(field: number, value: number): void {
    if (this.#flagBytes !== 1) {
      this.#set(field, value);
      return;
    }
    this.#mem.onStore?.(this.addr + BigInt(field), this.#at + field, 1);
    this.#mem.u8[this.#at + field] = value;
  }
  #get(field: number): number {
    return this.#u32[(this.#at + field) >>> 2];
  }
  #set(field: number, value: number): void {
    this.#mem.onStore?.(this.addr + BigInt(field & ~3), (this.#at + field) & ~3, 4);
    this.#u32[(this.#at + field) >>> 2] = value;
  }

  get pid(): number {
    return this.#get(this.#fields.pid);
  }
  set pid(value: number) {
    this.#set(this.#fields.pid, value);
  }
  get tgid(): number {
    return this.#get(this.#fields.tgid);
  }
  set tgid(value: number) {
    this.#set(this.#fields.tgid, value);
  }
  /** __state: TASK_ bits. */
  get state(): number {
    return this.#get(this.#fields.__state);
  }
  set state(value: number) {
    this.#set(this.#fields.__state, value);
  }
  /** PF_ bits. */
  get flags(): number {
    return this.#get(this.#fields.flags);
  }
  set flags(value: number) {
    this.#set(this.#fields.flags, value >>> 0);
  }
  get isKthread(): boolean {
    return (this.flags & this.#constants.PF_KTHREAD) !== 0;
  }
  get isExiting(): boolean {
    return (this.flags & this.#constants.PF_EXITING) !== 0;
  }
  get isIdle(): boolean {
    return (this.flags & this.#constants.PF_IDLE) !== 0;
  }
  /** 1 while a CPU executes it. */
  get onCpu(): number {
    return this.#getFlag(this.#fields.on_cpu);
  }
  set onCpu(value: number) {
    this.#setFlag(this.#fields.on_cpu, value);
  }
  /** 1 while it is on a run queue. */
  get onRq(): number {
    return this.#getFlag(this.#fields.on_rq);
  }
  set onRq(value: number) {
    this.#setFlag(this.#fields.on_rq, value);
  }
  /** task_cpu(): thread_info.cpu. */
  get cpu(): number {
    return this.#get(this.#fields.thread_info_cpu);
  }
  set cpu(value: number) {
    this.#set(this.#fields.thread_info_cpu, value);
  }
  /** KLP_UNDEFINED, KLP_UNPATCHED or KLP_PATCHED. */
  get patchState(): number {
    return this.#get(this.#fields.patch_state) | 0;
  }
  set patchState(value: number) {
    this.#set(this.#fields.patch_state, value);
  }

  get comm(): string {
    return this.#mem.readCString(this.addr + BigInt(this.#fields.comm), this.#constants.TASK_COMM_LEN);
  }
  set comm(value: string) {
    const bytes = new Uint8Array(this.#constants.TASK_COMM_LEN);
    for (let i = 0; i < Math.min(value.length, bytes.length - 1); i++) bytes[i] = value.charCodeAt(i);
    this.#mem.writeBytes(this.addr + BigInt(this.#fields.comm), bytes);
  }

  testTif(flag: Tif): boolean {
    return (this.#get(this.#fields.thread_info_flags) & (1 << this.#constants[flag])) !== 0;
  }
  setTif(flag: Tif): void {
    this.#set(
      this.#fields.thread_info_flags,
      this.#get(this.#fields.thread_info_flags) | (1 << this.#constants[flag]),
    );
  }
  clearTif(flag: Tif): void {
    this.#set(
      this.#fields.thread_info_flags,
      this.#get(this.#fields.thread_info_flags) & ~(1 << this.#constants[flag]),
    );
  }

  /** thread.sp: where a task that does not run has its inactive_task_frame. */
  get sp(): Addr {
    return fromHalves(this.#get(this.#fields.thread_sp + 4), this.#get(this.#fields.thread_sp));
  }
  set sp(value: Addr) {
    this.#mem.writeU64(this.addr + BigInt(this.#fields.thread_sp), value);
  }
  /** Low 32 bits of thread.sp, for the unwinders. */
  get spLo(): number {
    return this.#get(this.#fields.thread_sp);
  }

  /** Lowest address of the stack (task->stack). */
  get stackBase(): Addr {
    return fromHalves(STACK_HI, this.stackSlot * STACK_SLOT + STACK_SLOT / 2);
  }
  /** task_top_of_stack(): one past the highest byte. */
  get stackTop(): Addr {
    return this.stackBase + BigInt(STACK_SLOT / 2);
  }
  /** Is the address on this task's stack? */
  ownsStack(addr: Addr): boolean {
    return addr >> 32n === BigInt(STACK_HI) && lo32(addr) >>> 15 === this.stackSlot;
  }

  /** `comm:pid` as the livepatch core prints a task. */
  toString(): string {
    return `${this.comm}:${this.pid}`;
  }
}

/** The task list: for_each_process_thread order (creation), and look-up by address. Idle tasks apart. */
export class TaskTable {
  readonly #byAddr = new Map<Addr, TaskStruct>();
  readonly #byPid = new Map<number, TaskStruct>();
  readonly idle: TaskStruct[] = [];
  /** rq->curr of each CPU: the scheduler's word, for when a CPU's own current_task is none. */
  readonly curr: TaskStruct[] = [];

  add(task: TaskStruct): void {
    this.#byAddr.set(task.addr, task);
    this.#byPid.set(task.pid, task);
  }
  addIdle(cpu: number, task: TaskStruct): void {
    this.idle[cpu] = task;
    this.#byAddr.set(task.addr, task);
  }
  /** __unhash_process(): out of the task list; the task may still run its last steps. */
  unlink(task: TaskStruct): void {
    this.#byPid.delete(task.pid);
  }
  /** Its task_struct is given back. */
  forget(task: TaskStruct): void {
    this.#byAddr.delete(task.addr);
  }
  /** for_each_process_thread(): all but the idle tasks. */
  processes(): IterableIterator<TaskStruct> {
    return this.#byPid.values();
  }
  /** All that have a task_struct: idle tasks, and dead ones that a CPU has not left, too. */
  known(): IterableIterator<TaskStruct> {
    return this.#byAddr.values();
  }
  get size(): number {
    return this.#byPid.size;
  }
  byPid(pid: number): TaskStruct | undefined {
    return this.#byPid.get(pid);
  }
  byAddr(addr: Addr): TaskStruct | undefined {
    return this.#byAddr.get(addr);
  }
}
