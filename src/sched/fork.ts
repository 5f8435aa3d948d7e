// Making tasks: their task_struct, kernel stack, and the frame from which they start.
// Mirrors kernel/fork.c (dup_task_struct, copy_process); copy_thread() and start_thread() are the port's.
//
// Where all programs share one address space (an engine that has no others), the user stack of a forked child is a copy at
// another address, and stack pointers of its registers are moved there. Pointers kept in user memory are not.

import type { Addr } from '../guest/addr.ts';
import { fromHalves, STACK_HI, STACK_SLOT, THREAD_SIZE } from '../guest/addr.ts';
import type { HostCall } from '../guest/hostcall.ts';
import { PROT_READ, PROT_WRITE } from '../guest/memory.ts';
import { USER_STACK_SLOT } from '../guest/windows.ts';
import type { KernelCore } from '../kernel/core.ts';
import { negErrno } from '../kernel/core.ts';
import { type Constants, hasRow, type Structs } from '../kernel/description.ts';
import { KernelError } from '../kernel/errno.ts';
import { SlabError } from '../kernel/slab.ts';
import { TaskStruct } from '../kernel/task_struct.ts';
import { UAPI } from '../kernel/uapi.ts';
import type { Sched } from './core.ts';
import { MmStructs } from './mm_struct.ts';
import { ordinaryPriority } from './policy.ts';

const { CLONE_VM, EAGAIN, ENOMEM } = UAPI;

/** `copied`: by fork or clone, so that the child's task_struct is a copy of the parent's. */
type ForkHook = (parent: TaskStruct, child: TaskStruct, copied: boolean) => void;

interface UserTaskSpec {
  readonly comm: string;
  /** First instruction, in user mode. */
  readonly entry: Addr;
  readonly argv: readonly string[];
}

interface KeptFork {
  readonly freeStacks: readonly number[];
  readonly nextStack: number;
  readonly nextPid: number;
}

/** Whether the FPU registers of a task are a member of it, and not behind it. */
const hasFpu = (fields: Structs['task_struct']['fields']): boolean => hasRow(fields, 'thread_fpu_fpstate');

/** What copy_process() fails with, positive; what is no failure of it goes on. */
export function errnoOf(error: unknown): number {
  if (error instanceof SlabError) return ENOMEM;
  if (error instanceof KernelError) return error.errno;
  throw error;
}

export class Fork {
  readonly #core: KernelCore;
  readonly #constants: Constants;
  readonly #taskStruct: Structs['task_struct']['fields'];
  readonly #sched: Sched;
  readonly #retFromFork: Addr;
  readonly #framePointers: boolean;
  readonly #freeStacks: number[] = [];
  readonly #mm: MmStructs;
  #nextStack = 0;
  #nextPid = 1;
  /** Run for every new task, in order: livepatch's klp_copy_process() among them. */
  readonly onFork: ForkHook[] = [];
  /** Every task that is there from now on, also those without a parent. */
  readonly onNew: ((task: TaskStruct) => void)[] = [];

  constructor(core: KernelCore, sched: Sched, framePointers = false) {
    this.#core = core;
    this.#constants = core.kernel.constants;
    this.#taskStruct = core.kernel.structs.task_struct.fields;
    this.#sched = sched;
    this.#framePointers = framePointers;
    this.#mm = new MmStructs(core);
    this.#retFromFork = core.symbols.require('ret_from_fork');
    core.host.keeps('fork', this);
    core.host.defineAll({
      copy_process: (call) => this.#copyProcess(call),
      wake_up_new_task: (call) => this.#wakeUpNewTask(call),
    });
  }

  keep(): KeptFork {
    return { freeStacks: this.#freeStacks, nextStack: this.#nextStack, nextPid: this.#nextPid };
  }
  restore({ freeStacks, nextStack, nextPid }: KeptFork): void {
    this.#freeStacks.splice(0, this.#freeStacks.length, ...freeStacks);
    this.#nextStack = nextStack;
    this.#nextPid = nextPid;
  }

  /** The number of the address space that a task's program is in; 0 of a kernel thread's, which has none. */
  spaceOf(task: TaskStruct): number {
    const mm = this.#mm.of(task);
    return mm === 0n ? 0 : this.#mm.stackOf(mm).space;
  }

  /** A task_struct and a kernel stack with nothing on it. @throws SlabError ENOMEM, KernelError EAGAIN */
  #alloc(): TaskStruct {
    const { mem, slab } = this.#core;
    const { task_struct, fpu } = this.#core.kernel.structs;
    const behind = hasFpu(this.#taskStruct) ? 0 : (fpu?.size ?? 0);
    const addr = slab.alloc(task_struct.size + behind, 'task_struct');
    const slot = this.#freeStacks.pop() ?? this.#nextStack;
    if (slot >= mem.geometry.stacks) {
      slab.free(addr);
      const made = `the machine was made for ${mem.geometry.stacks} stacks`;
      throw new KernelError(EAGAIN, `no room for another task: ${made}`);
    }
    if (slot === this.#nextStack) this.#nextStack++;
    const base = fromHalves(STACK_HI, slot * STACK_SLOT + STACK_SLOT - THREAD_SIZE);
    mem.map(base, THREAD_SIZE, PROT_READ | PROT_WRITE);
    mem.writeU32(base, this.#constants.STACK_END_MAGIC);
    const task = new TaskStruct(this.#core, addr, slot);
    mem.writeU64(addr + BigInt(this.#taskStruct.stack), base);
    mem.writeU64(addr + BigInt(this.#taskStruct.stack_canary), this.#canary());
    this.#forNative(addr);
    task.patchState = this.#constants.KLP_UNDEFINED;
    task.state = this.#constants.TASK_NEW;
    return task;
  }

  /** What functions of a real kernel find of a task, and the built-in one has nothing of: namespaces, and FPU registers. */
  #forNative(addr: Addr): void {
    const { mem, symbols } = this.#core;
    const namespaces = symbols.lookupName('init_nsproxy');
    if (namespaces === undefined) return;
    mem.writeU64(addr + BigInt(this.#taskStruct.nsproxy), namespaces);
    const { task_struct, fpu } = this.#core.kernel.structs;
    const { usage, fs, cred, real_cred, cgroups, signal, sighand } = task_struct.fields;
    for (const [at, name] of [
      [fs, 'init_fs'],
      [cred, 'init_cred'],
      [real_cred, 'init_cred'],
      [cgroups, 'init_css_set'],
      // Limits are there, and whose an allocation is that has no end; signals are the machine's.
      [signal, 'init_signals'],
      [sighand, 'init_sighand'],
    ] as const)
      if (at !== undefined) mem.writeU64(addr + BigInt(at), symbols.require(name));
    const { cpus_ptr, cpus_mask, migration_pending } = task_struct.fields;
    if (cpus_ptr !== undefined && cpus_mask !== undefined && migration_pending !== undefined) {
      const every = symbols.require('init_task') + BigInt(cpus_mask);
      mem.writeBytes(addr + BigInt(cpus_mask), mem.readBytes(every, migration_pending - cpus_mask));
      mem.writeU64(addr + BigInt(cpus_ptr), addr + BigInt(cpus_mask));
    }
    // One of the scheduler and one of who has forked it: who sleeps on a lock takes another for a while.
    mem.writeU32(addr + BigInt(usage), 2);
    ordinaryPriority(this.#core, addr);
    const [pointer, state] =
      fpu && !hasFpu(this.#taskStruct)
        ? [fpu.fields.fpstate, fpu.fields.__fpstate].map((at) => task_struct.size + at)
        : [this.#taskStruct.thread_fpu_fpstate, this.#taskStruct.thread_fpu___fpstate];
    mem.writeU64(addr + BigInt(pointer), addr + BigInt(state));
  }

  /** get_random_canary(): the lowest byte is 0, so that no string copies over it unnoticed. */
  #canary(): bigint {
    const { random } = this.#core;
    return ((BigInt(random.next()) << 32n) | BigInt(random.next())) & ~0xffn;
  }

  /** A stack that belongs to no task (an exception stack). @returns its top. */
  createStack(): Addr {
    const slot = this.#nextStack++;
    const base = fromHalves(STACK_HI, slot * STACK_SLOT + STACK_SLOT - THREAD_SIZE);
    this.#core.mem.map(base, THREAD_SIZE, PROT_READ | PROT_WRITE);
    return base + BigInt(THREAD_SIZE);
  }

  /** What stands at the top of a new task's stack: pt_regs, and below it the frame that is switched to. */
  #copyThread(task: TaskStruct, fn: Addr, arg: Addr): Addr {
    const regs = task.stackTop - BigInt(this.#core.kernel.structs.pt_regs.size);
    task.sp = this.#core.arch.threads.firstFrame(this.#core.mem, regs, {
      returnTo: this.#retFromFork,
      fn,
      arg,
      framePointers: this.#framePointers,
    });
    return regs;
  }

  #admit(task: TaskStruct, parent: TaskStruct | undefined, copied = false): void {
    task.pid = this.#nextPid++;
    task.tgid = task.pid;
    const { mem } = this.#core;
    if (parent) {
      mem.writeU64(task.addr + BigInt(this.#taskStruct.real_parent), parent.addr);
      mem.writeU64(task.addr + BigInt(this.#taskStruct.parent), parent.addr);
    }
    mem.writeU64(task.addr + BigInt(this.#taskStruct.group_leader), task.addr);
    for (const hook of this.onFork) if (parent) hook(parent, task, copied);
    this.#core.tasks.add(task);
    for (const hook of this.onNew) hook(task);
    this.#core.events.emit({
      type: 'task',
      what: 'new',
      pid: task.pid,
      comm: task.comm,
      parent: parent?.pid ?? 0,
    });
  }

  /** The idle task of a CPU: it starts at `entry`, already on its stack. Returns its first stack pointer. */
  createIdle(cpu: number): { task: TaskStruct; sp: Addr } {
    const task = this.#alloc();
    task.comm = `swapper/${cpu}`;
    task.flags = this.#constants.PF_IDLE | this.#constants.PF_KTHREAD;
    task.state = this.#constants.TASK_RUNNING;
    task.cpu = cpu;
    this.#mm.borrowInit(task);
    this.#core.tasks.addIdle(cpu, task);
    this.#sched.initIdle(cpu, task);
    return { task, sp: task.stackTop - BigInt(this.#core.kernel.structs.pt_regs.size) };
  }

  /** kernel_thread(): a task that starts in a kernel function; not woken. */
  createKernelThread(
    fn: Addr,
    arg: Addr,
    comm: string,
    parent: TaskStruct | undefined,
    worker = false,
  ): TaskStruct {
    const task = this.#alloc();
    task.comm = comm;
    task.flags = this.#constants.PF_KTHREAD | (worker ? this.#constants.PF_WQ_WORKER : 0);
    task.cpu = parent?.cpu ?? 0;
    const regs = this.#copyThread(task, fn, arg);
    this.#core.mem.fill(regs, this.#core.kernel.structs.pt_regs.size, 0);
    this.#admit(task, parent);
    return task;
  }

  /** A user task as after execve(): argc and argv on its user stack. Not woken. */
  createUserTask(spec: UserTaskSpec, parent: TaskStruct | undefined): TaskStruct {
    const task = this.#alloc();
    task.comm = spec.comm;
    task.cpu = parent?.cpu ?? 0;
    const regs = this.#copyThread(task, 0n, 0n);
    const { mem } = this.#core;
    const { base, space } = this.#mm.stackOf(this.#mm.alloc(task));
    const sp = mem.inSpace(space, () => this.#userStack(base, spec.argv));
    mem.fill(regs, this.#core.kernel.structs.pt_regs.size, 0);
    this.#core.arch.threads.startUser(mem, regs, spec.entry, sp);
    this.#admit(task, parent);
    return task;
  }

  /** argc, argv[], NULL, and the empty environment and auxiliary vector, as the ABI has them. */
  #userStack(base: Addr, argv: readonly string[]): Addr {
    const { mem } = this.#core;
    let at = base + BigInt(USER_STACK_SLOT);
    const pointers = argv.map((arg) => {
      at -= BigInt(arg.length + 1);
      mem.writeCString(at, arg);
      return at;
    });
    const words = [BigInt(argv.length), ...pointers, 0n, 0n, 0n, 0n];
    const sp = (at - BigInt(8 * words.length)) & ~15n;
    words.forEach((word, i) => {
      mem.writeU64(sp + BigInt(8 * i), word);
    });
    return sp;
  }

  #copyProcess(call: HostCall): bigint {
    const [parentRegs, newSp, flags] = call.args;
    const parent = this.#core.currentOf(call);
    const { mem } = this.#core;
    let child: TaskStruct;
    try {
      child = this.#alloc();
    } catch (error) {
      return negErrno(errnoOf(error));
    }
    const own = ['stack', 'stack_canary', '__state', 'thread_sp', 'patch_state', 'on_cpu', 'on_rq'] as const;
    const kept = own.map((field) => mem.readU64(child.addr + BigInt(this.#taskStruct[field] & ~7)));
    mem.writeBytes(child.addr, mem.readBytes(parent.addr, this.#core.kernel.structs.task_struct.size));
    own.forEach((field, i) => {
      mem.writeU64(child.addr + BigInt(this.#taskStruct[field] & ~7), kept[i]);
    });
    this.#resetCopied(child, parent);
    const regs = this.#copyThread(child, 0n, 0n);
    mem.writeBytes(regs, mem.readBytes(parentRegs, this.#core.kernel.structs.pt_regs.size));
    this.#core.arch.threads.forked(mem, regs, newSp);
    const shared = (flags & BigInt(CLONE_VM)) !== 0n;
    try {
      this.#copyMm(parent, child, regs, shared);
      this.#admit(child, parent, true);
    } catch (error) {
      const errno = errnoOf(error);
      this.freeStack(child);
      this.#mm.drop(child);
      this.#core.slab.free(child.addr);
      return negErrno(errno);
    }
    return child.addr;
  }

  #resetCopied(child: TaskStruct, parent: TaskStruct): void {
    child.comm = parent.comm;
    child.cpu = parent.cpu;
    child.onCpu = 0;
    child.onRq = 0;
    child.flags = (parent.flags & ~this.#constants.PF_WQ_WORKER) | this.#constants.PF_FORKNOEXEC;
    for (const tif of ['TIF_NEED_RESCHED', 'TIF_SIGPENDING', 'TIF_NOTIFY_SIGNAL'] as const)
      child.clearTif(tif);
    this.#core.mem.writeU32(child.addr + BigInt(this.#taskStruct.usage), 2);
    for (const field of ['trace_recursion', 'mm', 'active_mm'] as const)
      this.#core.mem.writeU64(child.addr + BigInt(this.#taskStruct[field]), 0n);
  }

  /** copy_mm(). @throws KernelError ENOMEM */
  #copyMm(parent: TaskStruct, child: TaskStruct, regs: Addr, shared: boolean): void {
    if (shared) {
      this.#mm.share(child, parent);
      return;
    }
    this.#mm.dup(child, parent);
    const [from, to] = [parent, child].map((task) => this.#mm.stackOf(this.#mm.of(task)).base);
    if (from !== to) this.#core.arch.threads.moveUserStack(this.#core.mem, regs, from, USER_STACK_SLOT, to);
  }

  #wakeUpNewTask(call: HostCall): number {
    const task = this.#sched.taskAt(call.args[0]);
    this.#sched.wakeUpNewTask(task);
    return task.pid;
  }

  /** free_thread_stack(): the kernel stack of a task that never runs again. */
  freeStack(task: TaskStruct): void {
    if (task.stackSlot < 0) return;
    this.#core.mem.unmap(task.stackBase, THREAD_SIZE);
    this.#freeStacks.push(task.stackSlot);
    task.stackSlot = -1;
  }

  /** exit_mm() */
  exitMm(task: TaskStruct): void {
    this.#mm.exit(task);
  }
}
