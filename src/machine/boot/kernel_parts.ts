// What stands on the core alone: the kernel's library, scheduler, time, heap, tasks and what they sleep on.
//
// Invariant: what a part is made from comes before it. Their order is that of the machine's first draw (the key of %p)
// and of their guest memory: with another, the same seed gives another trace.

import type { KernelCore } from '../../kernel/core.ts';
import { defineFormatCalls } from '../../kernel/format_calls.ts';
import { Kobjects } from '../../kernel/kobject.ts';
import { defineLib, formatContext } from '../../kernel/lib.ts';
import { defineParams } from '../../kernel/params.ts';
import { defineRandom } from '../../kernel/random_bytes.ts';
import { RealKobjects } from '../../kernel/real_kobject.ts';
import type { Sysfs } from '../../kernel/sysfs.ts';
import { defineMm } from '../../mm/mm.ts';
import { defineUsercopy } from '../../mm/usercopy.ts';
import { Sched } from '../../sched/core.ts';
import { Exit } from '../../sched/exit.ts';
import { Fork } from '../../sched/fork.ts';
import { Kthreads } from '../../sched/kthread.ts';
import { Locking } from '../../sched/locking.ts';
import { definePolicy } from '../../sched/policy.ts';
import { defineTime } from '../../sched/time.ts';
import { Timers } from '../../sched/timer.ts';
import { defineWait } from '../../sched/wait.ts';
import { Workqueue } from '../../sched/workqueue.ts';
import { Rcu } from '../cpu/rcu.ts';
import type { Smp } from '../cpu/smp.ts';
import type { MachineOptions } from '../options.ts';
import { kernelTexts } from './boot.ts';
import type { KernelImage } from './image.ts';

/** The kobjects of sysfs, the image's own kernel_kobj among them. A real kernel's own are made by its boot. */
export function kernelKobjects(core: KernelCore, sysfs: Sysfs, isReal: boolean): Kobjects {
  const kobjects = new Kobjects(core, sysfs, isReal ? new RealKobjects(core) : undefined);
  if (isReal) return kobjects;
  kobjects.register(core.mem.readU64(core.symbols.require('kernel_kobj')), '/kernel');
  return kobjects;
}

export type KernelParts = ReturnType<typeof kernelParts>;

export function kernelParts(
  core: KernelCore,
  smp: Smp,
  image: KernelImage,
  { seed, unwinder }: Required<MachineOptions>,
) {
  const sched = new Sched(core, smp);
  const format = formatContext(core);
  defineLib(core, format);
  defineFormatCalls(core);
  defineParams(core);
  const timers = new Timers(core, sched);
  const rcu = new Rcu(core, sched, timers, smp.cpus);
  const mm = defineMm(core, format, rcu);
  defineUsercopy(core, kernelTexts(image), mm);
  defineRandom(core, seed ^ 0x72616e64);
  defineTime(core, timers);
  defineWait(core, sched);
  const locking = new Locking(core, sched);
  const fork = new Fork(core, sched, unwinder === 'frame pointer');
  definePolicy(core);
  const exit = new Exit(core, sched, fork, locking);
  const kthreads = new Kthreads(core, sched, fork, exit, locking, format);
  const workqueue = new Workqueue(core, sched, timers, kthreads, format);
  return { format, sched, timers, rcu, mm, locking, fork, exit, kthreads, workqueue };
}
