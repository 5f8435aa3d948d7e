// The end of tasks, waiting for it, and signals. Mirrors kernel/exit.c and kernel/signal.c.
//
// A dead task's stack is given back only after the CPU has left it (finish_task_switch); its
// task_struct when nobody waits for it.

import { ptRegsOffset } from '../arch/pt_regs.ts';
import type { Addr } from '../guest/addr.ts';
import type { HostCall, HostGenerator } from '../guest/hostcall.ts';
import type { KernelCore } from '../kernel/core.ts';
import { negErrno } from '../kernel/core.ts';
import type { Constants, Structs } from '../kernel/description.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import { UAPI } from '../kernel/uapi.ts';
import type { Sched } from './core.ts';
import type { Fork } from './fork.ts';
import type { Locking } from './locking.ts';

const { ECHILD, ESRCH, EINVAL, EFAULT, ERESTARTSYS, SIGKILL } = UAPI;
/**
 * Those of which the default is the end, at once: complete_signal() makes SIGKILL of them for the whole group. One with a core is
 * dealt with by the task itself; others stop it or are nothing.
 */
const ENDS_AT_ONCE: ReadonlySet<number> = new Set([1, 2, SIGKILL, 10, 12, 13, 14, 15, 16, 26, 27, 29, 30]);
const FIRST_REAL_TIME = 32;
/** Of SIGKILL in a sigset_t. */
const KILLED = 1 << (SIGKILL - 1);
const WNOHANG = 1;
/** And WUNTRACED, WCONTINUED, __WNOTHREAD, __WALL, __WCLONE. */
const WAIT_OPTIONS = WNOHANG | 2 | 8 | 0x20000000 | 0x40000000 | 0x80000000;
const INT_MIN = -0x80000000;
/** do_wait_children: the caller sleeps and asks again (asm/x86_64/exit.s). */
const WAIT_SLEEP = -1000;

/** Of a task that is there: the scheduler's, and one of who forked it. */
const OWN_REFERENCES = 2;

export class Exit {
  readonly #core: KernelCore;
  readonly #constants: Constants;
  readonly #taskStruct: Structs['task_struct']['fields'];
  /** Offsets of a system call's arguments in struct pt_regs. */
  readonly #syscallArgs: readonly bigint[];
  readonly #sched: Sched;
  readonly #fork: Fork;
  readonly #locking: Locking;
  /** Exit status of dead tasks whose parent may wait for them, and the parent. */
  readonly #zombies = new Map<TaskStruct, TaskStruct>();
  readonly #pendingSignals = new Map<TaskStruct, number[]>();
  readonly #dead = new Set<TaskStruct>();
  /** Gone, while others have references to their structs: functions of a real kernel take such. */
  readonly #referenced = new Map<Addr, TaskStruct>();
  /** Run in the dying task, in order: files, livepatch, whoever keeps something per task. May call guest code. */
  readonly onExit: ((task: TaskStruct, code: number) => HostGenerator<void> | void)[] = [];
  /** Its task_struct goes. */
  readonly onFree: ((task: TaskStruct) => void)[] = [];

  constructor(core: KernelCore, sched: Sched, fork: Fork, locking: Locking) {
    this.#core = core;
    this.#constants = core.kernel.constants;
    this.#taskStruct = core.kernel.structs.task_struct.fields;
    const { ptRegs } = core.arch;
    this.#syscallArgs = ptRegs.syscallArgs.map((name) => BigInt(ptRegsOffset(ptRegs, name)));
    this.#sched = sched;
    this.#fork = fork;
    this.#locking = locking;
    sched.fatalSignalPending = (task) => this.#fatalSignalPending(task);
    sched.onTaskDead = (task) => this.#putTaskStack(task);
    const exitNotify = (call: HostCall) => this.#exitNotify(call);
    const getSignal = (call: HostCall) => this.#getSignal(call);
    core.host.offerAll({ __put_task_struct: ({ args: [task] }) => this.#putTaskStruct(task) });
    core.host.defineAll({
      exit_notify: exitNotify,
      do_wait_children: (call) => this.#doWait(call),
      kill_something_info: (call) => this.#kill(call),
      get_signal: getSignal,
    });
  }

  *#exitNotify(call: HostCall): HostGenerator<void> {
    const task = this.#core.currentOf(call);
    const code = Number(call.args[0]);
    task.flags |= this.#constants.PF_EXITING;
    this.#core.mem.writeU32(task.addr + BigInt(this.#taskStruct.exit_code), code >>> 0);
    for (const hook of this.onExit) {
      const more = hook(task, code);
      if (more) yield* more;
    }
    this.#locking.forget(task);
    this.#fork.exitMm(task);
    this.#pendingSignals.delete(task);
    this.#forgetOriginalParent(task);
    const parent = this.#parentOf(task);
    this.#core.events.emit({ type: 'task', what: 'exit', pid: task.pid, comm: task.comm, code });
    this.#dead.add(task);
    if (parent && parent.pid > 2 && !parent.isKthread && !task.isKthread) {
      this.#zombies.set(task, parent);
      this.#core.mem.writeU32(task.addr + BigInt(this.#taskStruct.exit_state), this.#constants.EXIT_ZOMBIE);
      this.#sched.wakeUpState(parent, this.#constants.TASK_INTERRUPTIBLE);
    } else this.#core.tasks.unlink(task);
  }

  /** forget_original_parent(): children go to init, which takes note of those that have ended. */
  #forgetOriginalParent(task: TaskStruct): void {
    for (const [child, parent] of this.#zombies) if (parent === task) this.#release(child);
    const { mem, tasks } = this.#core;
    const init = tasks.byPid(1);
    for (const child of init ? tasks.processes() : []) {
      if (this.#parentOf(child) !== task) continue;
      for (const field of ['real_parent', 'parent'] as const)
        mem.writeU64(child.addr + BigInt(this.#taskStruct[field]), (init as TaskStruct).addr);
    }
  }

  #parentOf(task: TaskStruct): TaskStruct | undefined {
    return this.#core.tasks.byAddr(this.#core.mem.readU64(task.addr + BigInt(this.#taskStruct.real_parent)));
  }

  /** finish_task_switch() of the next task: the dead one's stack is free. */
  #putTaskStack(task: TaskStruct): void {
    this.#fork.freeStack(task);
    if (!this.#zombies.has(task)) this.#freeTask(task);
  }

  /** release_task(). Its memory is there until it has left its stack. */
  #release(task: TaskStruct): void {
    this.#zombies.delete(task);
    this.#core.tasks.unlink(task);
    if (task.stackSlot < 0) this.#freeTask(task);
  }

  #freeTask(task: TaskStruct): void {
    if (!this.#dead.delete(task)) return;
    this.#core.tasks.forget(task);
    const { usage } = this.#core.kernel.structs.task_struct.fields;
    const at = task.addr + BigInt(usage);
    const others = this.#core.mem.readU32(at) - OWN_REFERENCES;
    if (others <= 0) {
      this.#freeStruct(task);
      return;
    }
    this.#core.mem.writeU32(at, others);
    this.#referenced.set(task.addr, task);
  }

  /** __put_task_struct(): nobody has it any longer. */
  #putTaskStruct(addr: Addr): void {
    const task = this.#referenced.get(addr);
    if (!task) return;
    this.#referenced.delete(addr);
    this.#freeStruct(task);
  }

  #freeStruct(task: TaskStruct): void {
    for (const hook of this.onFree) hook(task);
    this.#core.slab.free(task.addr);
  }

  /** Zombies are in the task list; a parent may have them while they are on their way to leave their stack. */
  isZombie(task: TaskStruct): boolean {
    return this.#zombies.has(task);
  }

  #doWait(call: HostCall): bigint | number {
    const { mem } = this.#core;
    const task = this.#core.currentOf(call);
    const want = Number(BigInt.asIntN(32, this.#syscallArg(call, 0)));
    const options = Number(BigInt.asIntN(32, this.#syscallArg(call, 2)));
    if ((options & ~WAIT_OPTIONS) !== 0) return negErrno(EINVAL);
    if (want === INT_MIN) return negErrno(ESRCH);
    // 0: of the caller's group, which all its children are of: there is no system call that makes another.
    const any = want === -1 || want === 0;
    const mine = (child: TaskStruct) => this.#parentOf(child) === task && (any || child.pid === want);
    const children = [...this.#core.tasks.processes()].filter((t) => !t.isKthread && mine(t));
    const gone = children.find((child) => this.#zombies.has(child));
    if (gone) {
      task.state = this.#constants.TASK_RUNNING;
      const status = this.#syscallArg(call, 1);
      const code = mem.readU32(gone.addr + BigInt(this.#taskStruct.exit_code));
      const pid = gone.pid;
      this.#release(gone);
      return status === 0n || mem.writeUserU32(status, code) ? pid : negErrno(EFAULT);
    }
    if (children.length === 0) {
      task.state = this.#constants.TASK_RUNNING;
      return negErrno(ECHILD);
    }
    if (options & WNOHANG) return 0;
    if (task.testTif('TIF_SIGPENDING') || task.testTif('TIF_NOTIFY_SIGNAL')) {
      task.state = this.#constants.TASK_RUNNING;
      return negErrno(ERESTARTSYS);
    }
    task.state = this.#constants.TASK_INTERRUPTIBLE;
    return BigInt.asUintN(64, BigInt(WAIT_SLEEP));
  }

  /** Of the system call whose struct pt_regs a host function was given. */
  #syscallArg(call: HostCall, index: number): bigint {
    return this.#core.mem.readU64(call.args[0] + this.#syscallArgs[index]);
  }

  #kill(call: HostCall): bigint | number {
    const pid = Number(BigInt.asIntN(32, this.#syscallArg(call, 0)));
    const sig = Number(BigInt.asIntN(32, this.#syscallArg(call, 1)));
    const task = this.#core.tasks.byPid(pid);
    if (!task) return negErrno(ESRCH);
    if (sig < 0 || sig > 64) return negErrno(EINVAL);
    if (sig > 0) this.sendSignal(task, sig);
    return 0;
  }

  /** send_sig(): no user task has handlers, so any signal ends it at its next kernel exit. */
  sendSignal(task: TaskStruct, sig: number): void {
    if (task.isKthread) return;
    const pending = this.#pendingSignals.get(task) ?? [];
    this.#pendingSignals.set(task, [...pending, sig]);
    task.setTif('TIF_SIGPENDING');
    if (endsAtOnce(sig)) this.#setKilled(task);
    const states = endsAtOnce(sig)
      ? this.#constants.TASK_INTERRUPTIBLE | this.#constants.TASK_WAKEKILL
      : this.#constants.TASK_INTERRUPTIBLE;
    if (!this.#sched.wakeUpState(task, states)) this.#sched.kickProcess(task);
  }

  /** complete_signal(): the thread's own SIGKILL, which guest code looks for as well. */
  #setKilled(task: TaskStruct): void {
    const { mem } = this.#core;
    const at = task.addr + BigInt(this.#taskStruct.pending_signal);
    mem.writeU32(at, mem.readU32(at) | KILLED);
  }

  /** fatal_signal_pending(): what ends a sleep that nothing else does. */
  #fatalSignalPending(task: TaskStruct): boolean {
    return (this.#core.mem.readU32(task.addr + BigInt(this.#taskStruct.pending_signal)) & KILLED) !== 0;
  }

  /** get_signal(): clears TIF_NOTIFY_SIGNAL; a pending signal is fatal. */
  *#getSignal(call: HostCall): HostGenerator<number> {
    const task = this.#core.currentOf(call);
    task.clearTif('TIF_NOTIFY_SIGNAL');
    const sig = this.#pendingSignals.get(task)?.shift();
    if (sig === undefined) {
      task.clearTif('TIF_SIGPENDING');
      return 0;
    }
    yield { call: this.#core.symbols.require('do_group_exit'), args: [sig] };
    return 0;
  }
}

const endsAtOnce = (sig: number): boolean => ENDS_AT_ONCE.has(sig) || sig >= FIRST_REAL_TIME;
