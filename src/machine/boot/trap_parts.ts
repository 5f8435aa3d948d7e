// What goes wrong in the kernel, and what notices it.

import type { KernelCore } from '../../kernel/core.ts';
import type { Smp } from '../cpu/smp.ts';
import { ExceptionSites } from '../traps/exception_sites.ts';
import { Oops } from '../traps/oops.ts';
import { Traps } from '../traps/traps.ts';
import { UnsetObject } from '../traps/unset_object.ts';
import { Watchdog } from '../traps/watchdog.ts';
import type { Traces } from '../truth/traces.ts';
import { onTick } from './hooks.ts';
import type { KernelImage } from './image.ts';
import type { KernelParts } from './kernel_parts.ts';
import type { PatchingParts } from './patching.ts';

/** Exceptions, what is said of them, and what notices that nothing happens any more. */
export function trapParts(
  core: KernelCore,
  smp: Smp,
  { workqueue, exit, sched, timers, format }: KernelParts,
  { moduleList, ftrace }: PatchingParts,
  { stackTrace, shadow }: Traces,
  image: KernelImage,
) {
  const origins = core.arch.code?.origins;
  const unset = image.real && origins && shadow && new UnsetObject(core, image.real, origins, shadow);
  const oops = new Oops(core, smp.cpus, moduleList, stackTrace, workqueue, unset);
  const sites = new ExceptionSites(core, image, moduleList, ftrace, shadow);
  const traps = new Traps(core, smp.cpus, sites, oops, exit, format);
  const watchdog = new Watchdog(core, sched, oops);
  onTick(core, smp, timers, sched, watchdog);
  return { oops, traps, watchdog };
}
