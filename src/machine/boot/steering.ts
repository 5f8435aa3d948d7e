// What does to a machine what a schedule says, put together.

import type { KernelCore } from '../../kernel/core.ts';
import type { Livepatch } from '../../livepatch/core.ts';
import type { Executor } from '../cpu/executor.ts';
import type { HostCallDispatch } from '../cpu/hostcall_dispatch.ts';
import type { Smp } from '../cpu/smp.ts';
import { Steering } from '../cpu/steering.ts';
import { WaitingStores } from '../cpu/waiting_stores.ts';
import type { KernelParts } from './kernel_parts.ts';

interface Steered {
  readonly smp: Smp;
  readonly host: HostCallDispatch;
  readonly executor: Executor;
}

export function makeSteering(
  core: KernelCore,
  { sched, timers, fork }: Pick<KernelParts, 'sched' | 'timers' | 'fork'>,
  livepatch: Livepatch,
  { smp, host, executor }: Steered,
): Steering {
  const stores = new WaitingStores(core, livepatch, host, fork);
  return new Steering(core, smp, sched, timers, executor, stores);
}
