// Who notices that a CPU or a task is stuck: soft and hard lockups, hung tasks.
// Mirrors kernel/watchdog.c, watchdog_hld.c and hung_task.c, in virtual time and with their defaults.
//
// Invariant: no CPU keeps others from running, and no task sleeps in D state, for long without a line in the log.
// A hard lockup is the end, as with nmi_watchdog=panic: nobody is there to reset the machine.

import type { Addr } from '../../guest/addr.ts';
import type { KernelCore } from '../../kernel/core.ts';
import type { Constants } from '../../kernel/description.ts';
import { KERN_EMERG, KERN_ERR, KERN_INFO } from '../../kernel/printk.ts';
import { printTainted } from '../../kernel/taint.ts';
import type { TaskStruct } from '../../kernel/task_struct.ts';
import type { Sched } from '../../sched/core.ts';
import type { Cpu } from '../cpu/cpu.ts';
import { kernelVersion, type Oops } from './oops.ts';

const SECOND = 1e9;
/** watchdog_thresh: a soft lockup is twice as long, and is looked for five times in that. */
const WATCHDOG_THRESH = 10;
const SAMPLE_NS = (WATCHDOG_THRESH * 2 * SECOND) / 5;
/** get_timestamp() counts these: about a second. */
const STAMP_NS = 2 ** 30;
/** CONFIG_DEFAULT_HUNG_TASK_TIMEOUT, and how many reports there are at all. */
const HUNG_TASK_TIMEOUT = 120;
const HUNG_TASK_WARNINGS = 10;

interface CpuWatch {
  /** When somebody else could last have run, and when a lockup was last reported. In stamps. */
  touched: number;
  reported: number;
  /** Next sample (virtual ns). */
  sample: number;
  /** Since when timer interrupts wait (the CPU's clock); undefined while they are taken. */
  missedSince: number | undefined;
  /** The last period of the NMI in which it was looked at. */
  nmi: number;
}

interface Sleep {
  switches: number;
  since: number;
}

export class Watchdog {
  readonly #core: KernelCore;
  readonly #threadFlagsAt: bigint;
  readonly #realParentAt: bigint;
  readonly #sched: Sched;
  readonly #oops: Oops;
  readonly #cpus: CpuWatch[] = [];
  readonly #sleeps = new WeakMap<TaskStruct, Sleep>();
  #hungCheck = HUNG_TASK_TIMEOUT * SECOND;
  #warnings = HUNG_TASK_WARNINGS;

  constructor(core: KernelCore, sched: Sched, oops: Oops) {
    this.#core = core;
    this.#threadFlagsAt = BigInt(core.kernel.structs.task_struct.fields.thread_info_flags);
    this.#realParentAt = BigInt(core.kernel.structs.task_struct.fields.real_parent);
    this.#sched = sched;
    this.#oops = oops;
    for (let id = 0; id < core.cpus; id++) {
      this.#cpus.push({ touched: 0, reported: 0, sample: SAMPLE_NS, missedSince: undefined, nmi: 0 });
    }
    sched.onSchedule = (cpu) => this.#touch(this.#cpus[cpu]);
    core.host.keeps('watchdog', this);
  }

  /** Where it has not looked for hung tasks yet. */
  keep(): readonly CpuWatch[] | undefined {
    return this.#hungCheck === HUNG_TASK_TIMEOUT * SECOND && this.#warnings === HUNG_TASK_WARNINGS
      ? this.#cpus
      : undefined;
  }
  restore(kept: readonly CpuWatch[]): void {
    this.#cpus.forEach((watch, cpu) => {
      Object.assign(watch, kept[cpu]);
    });
  }

  #stamp(): number {
    return Math.floor(this.#core.clock.now() / STAMP_NS);
  }

  #touch(watch: CpuWatch): void {
    watch.touched = this.#stamp();
    watch.reported = watch.touched;
  }

  /** watchdog_timer_fn(), in the timer interrupt of a CPU. `regs`: what it interrupted. */
  tick(cpu: number, regs: Addr): void {
    const watch = this.#cpus[cpu];
    watch.missedSince = undefined;
    if (this.#othersCouldRun(cpu)) this.#touch(watch);
    const now = this.#core.clock.now();
    if (now >= this.#hungCheck) this.checkHungTasks();
    if (now < watch.sample) return;
    watch.sample = now + SAMPLE_NS;
    const stamp = this.#stamp();
    if (stamp <= watch.reported + 2 * WATCHDOG_THRESH) return;
    watch.reported = stamp;
    this.#softLockup(cpu, stamp - watch.touched, regs);
  }

  /** Whether the stopper thread, which the kernel's watchdog waits for, would run after this interrupt. */
  #othersCouldRun(cpu: number): boolean {
    const count = this.#oops.preemptCount(cpu);
    return (
      count === this.#core.kernel.constants.HARDIRQ_OFFSET ||
      (this.#core.current(cpu).isIdle && (count & this.#core.kernel.constants.SOFTIRQ_MASK) === 0)
    );
  }

  #softLockup(cpu: number, seconds: number, regs: Addr): void {
    const { printk } = this.#core;
    const task = this.#core.current(cpu);
    const what = `BUG: soft lockup - CPU#${cpu} stuck for ${seconds}s! [${task.comm}:${task.pid}]`;
    printk.log(KERN_EMERG, `watchdog: ${what}`);
    this.#oops.printModules();
    this.#oops.showRegs(cpu, this.#oops.regsAt(regs));
    this.#core.taints |= 1 << this.#core.kernel.constants.TAINT_SOFTLOCKUP;
  }

  /** A tick came due on a CPU that has not taken the one before. @throws GuestPanic when that has lasted too long. */
  tickMissed(cpu: Cpu): void {
    const watch = this.#cpus[cpu.id];
    watch.missedSince ??= cpu.clock;
    const nmi = Math.floor(cpu.clock / (WATCHDOG_THRESH * SECOND));
    if (nmi === watch.nmi) return;
    watch.nmi = nmi;
    if (cpu.clock - watch.missedSince < WATCHDOG_THRESH * SECOND) return;
    const regs = this.#oops.currentRegs(cpu);
    this.#core.printk.log(KERN_EMERG, `NMI watchdog: Watchdog detected hard LOCKUP on cpu ${cpu.id}`);
    this.#oops.printModules();
    this.#oops.showRegs(cpu.id, regs);
    this.#oops.panic(cpu.id, 'Hard LOCKUP', regs);
  }

  /** When tasks that sleep in D state are looked at next (virtual ns); undefined when there is no such task. */
  nextHungCheck(): number | undefined {
    for (const task of this.#core.tasks.processes())
      if (isBlocked(this.#core.kernel.constants, task)) return this.#hungCheck;
    return undefined;
  }

  /** check_hung_uninterruptible_tasks() */
  checkHungTasks(): void {
    const now = this.#core.clock.now();
    const period = HUNG_TASK_TIMEOUT * SECOND;
    this.#hungCheck = (Math.floor(now / period) + 1) * period;
    for (const task of this.#core.tasks.processes())
      if (isBlocked(this.#core.kernel.constants, task)) this.#checkHungTask(task, now);
  }

  #checkHungTask(task: TaskStruct, now: number): void {
    const switches = this.#sched.voluntarySwitches(task);
    if (switches === 0) return;
    const sleep = this.#sleeps.get(task);
    if (!sleep || sleep.switches !== switches) {
      this.#sleeps.set(task, { switches, since: now });
      return;
    }
    if (now - sleep.since < HUNG_TASK_TIMEOUT * SECOND || this.#warnings === 0) return;
    this.#warnings--;
    const { printk } = this.#core;
    const seconds = Math.floor((now - sleep.since) / SECOND);
    printk.err(`INFO: task ${task.comm}:${task.pid} blocked for more than ${seconds} seconds.`);
    printk.err(
      `      ${printTainted(this.#core)} ${kernelVersion(this.#core)}${this.#core.kernel.packageId}`,
    );
    printk.log(KERN_ERR, '"echo 0 > /proc/sys/kernel/hung_task_timeout_secs" disables this message.');
    this.#showTask(task);
  }

  /** sched_show_task() */
  #showTask(task: TaskStruct): void {
    const { mem, tasks, printk } = this.#core;
    const parent = tasks.byAddr(mem.readU64(task.addr + this.#realParentAt))?.pid ?? 0;
    const flags = mem
      .readU64(task.addr + this.#threadFlagsAt)
      .toString(16)
      .padStart(8, '0');
    const ids = `stack:${'0'.padEnd(5)} pid:${String(task.pid).padEnd(5)} ppid:${String(parent).padEnd(6)}`;
    printk.log(KERN_INFO, `task:${task.comm.padEnd(15)} state:D ${ids} flags:0x${flags}`);
    for (const line of this.#oops.workerInfo(task)) printk.log(KERN_INFO, line);
    for (const line of this.#oops.showStack(task)) printk.log(KERN_INFO, line);
  }
}

function isBlocked(
  { TASK_UNINTERRUPTIBLE, TASK_WAKEKILL, TASK_NOLOAD }: Constants,
  task: TaskStruct,
): boolean {
  return (task.state & TASK_UNINTERRUPTIBLE) !== 0 && (task.state & (TASK_WAKEKILL | TASK_NOLOAD)) === 0;
}
