// What loadavg_proc_show() of a kernel's image reads: /proc/loadavg is shown by the kernel's own code. Mirrors calc_global_load()
// of kernel/sched/loadavg.c, and the counts of fork and the run queues.
//
// Invariant: what native code reads lies in guest memory alone, where the kernel has it.

import type { FileSystem } from '../../fs/filesystem.ts';
import type { Addr } from '../../guest/addr.ts';
import type { KernelCore } from '../../kernel/core.ts';
import type { TaskStruct } from '../../kernel/task_struct.ts';
import type { Sched } from '../../sched/core.ts';
import type { Fork } from '../../sched/fork.ts';

/** LOAD_FREQ: 5 s and a tick. */
const PERIOD_NS = 5.004e9;
const FSHIFT = 11n;
const FIXED_1 = 1n << FSHIFT;
/** EXP_1, EXP_5, EXP_15 */
const DECAYS = [1884n, 2014n, 2037n];

/** calc_load() */
export function decayed(load: bigint, decay: bigint, active: bigint): bigint {
  const newer = load * decay + active * (FIXED_1 - decay) + (active >= load ? FIXED_1 - 1n : 0n);
  return newer >> FSHIFT;
}

interface Places {
  readonly avenrun: Addr;
  readonly threads: Addr;
  readonly lastPid: Addr;
  readonly initPid: Addr;
  readonly threadPid: bigint;
  readonly running: (cpu: number) => Addr;
}

/** undefined where no kernel's image has them all. */
function placesOf({ symbols, kernel, percpu }: KernelCore): Places | undefined {
  const [avenrun, threads, namespace, initPid, queues, shows] = [
    'avenrun',
    'nr_threads',
    'init_pid_ns',
    'init_struct_pid',
    'runqueues',
    'loadavg_proc_show',
  ].map((name) => symbols.lookupName(name));
  const { task_struct, rq, pid_namespace, idr } = kernel.structs;
  const threadPid = task_struct.fields.thread_pid;
  if (avenrun === undefined || threads === undefined || namespace === undefined || initPid === undefined)
    return undefined;
  if (queues === undefined || shows === undefined || threadPid === undefined) return undefined;
  if (!rq || !pid_namespace || !idr) return undefined;
  return {
    avenrun,
    threads,
    lastPid: namespace + BigInt(pid_namespace.fields.idr + idr.fields.idr_next),
    initPid,
    threadPid: BigInt(threadPid),
    running: (cpu) => BigInt.asUintN(64, percpu.base[cpu] + queues + BigInt(rq.fields.nr_running)),
  };
}

export function keepLoadavg(core: KernelCore, { proc }: FileSystem, sched: Sched, fork: Fork): void {
  const places = placesOf(core);
  if (!places) return;
  const { mem, tasks, clock } = core;
  fork.onNew.push((task) => {
    mem.writeU64(task.addr + places.threadPid, places.initPid);
    mem.writeU32(places.lastPid, task.pid + 1);
    mem.writeU32(places.threads, tasks.size);
  });
  sched.onPicked = (cpu, running) => {
    mem.writeU32(places.running(cpu), running);
    mem.writeU32(places.threads, tasks.size);
  };
  proc.createSingle('loadavg', 'loadavg_proc_show', { permanent: true });
  let next = PERIOD_NS;
  core.host.keeps('loadavg', {
    keep: () => next,
    restore: (kept: number) => {
      next = kept;
    },
  });
  sched.onTick = () => {
    const periods = Math.floor((clock.now() - next) / PERIOD_NS) + 1;
    if (periods <= 0) return;
    next += periods * PERIOD_NS;
    const all = [...tasks.processes()];
    const asleep = all.filter((task) => isUninterruptible(core, task)).length;
    const running = all.filter(({ state }) => state === core.kernel.constants.TASK_RUNNING).length;
    // No tick comes to a CPU that is idle: in the time that was missed nothing ran.
    for (let i = 1; i <= periods; i++) step(asleep + (i === periods ? running : 0));
  };
  const step = (active: number): void =>
    DECAYS.forEach((decay, i) => {
      const at = places.avenrun + BigInt(8 * i);
      mem.writeU64(at, decayed(mem.readU64(at), decay, BigInt(active) * FIXED_1));
    });
}

/** It counts as load, too: TASK_IDLE is what does not. */
const isUninterruptible = ({ kernel: { constants } }: KernelCore, { state }: TaskStruct): boolean =>
  (state & (constants.TASK_UNINTERRUPTIBLE | constants.TASK_NOLOAD)) === constants.TASK_UNINTERRUPTIBLE;
