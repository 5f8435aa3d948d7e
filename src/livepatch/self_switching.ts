// Where a task asks by itself whether it may switch, and how that is turned on for the time of a transition.
// Mirrors klp_cond_resched_enable() and klp_cond_resched_disable() of 6.4 to 6.15 (sched_dynamic_klp_enable() of
// kernel/sched/core.c) and the static key of klp_sched_try_switch() from 6.16 on.
//
// Invariant: outside of a transition no task pays for it: the static call, or the branch, leads past it.

import type { HostGenerator } from '../guest/hostcall.ts';
import type { KernelCore } from '../kernel/core.ts';
import type { SwitchWay } from '../kernel/events.ts';
import { holds, type Since } from '../kernel/release.ts';
import { LIVEPATCH } from './since.ts';

interface Place {
  readonly since: Since;
  readonly way: SwitchWay;
  /** Functions of the guest that turn it on and off, and what they are called with, by their symbols. */
  readonly enable: string;
  readonly disable: string;
  readonly arg?: string;
}

const PLACES: readonly Place[] = [
  {
    since: LIVEPATCH.inCondResched,
    way: 'cond_resched',
    enable: 'sched_dynamic_klp_enable',
    disable: 'sched_dynamic_klp_disable',
  },
  {
    since: LIVEPATCH.inSchedule,
    way: 'freezable sleep',
    enable: 'static_key_enable',
    disable: 'static_key_disable',
    arg: 'klp_sched_try_switch_key',
  },
];

export class SelfSwitching {
  readonly #core: KernelCore;
  readonly #place: Place | undefined;

  constructor(core: KernelCore) {
    this.#core = core;
    this.#place = PLACES.find(({ since }) => holds(core.kernel, since));
  }

  get way(): SwitchWay | undefined {
    return this.#place?.way;
  }

  *enable(): HostGenerator<void> {
    if (this.#place) yield* this.#call(this.#place.enable, this.#place);
  }

  *disable(): HostGenerator<void> {
    if (this.#place) yield* this.#call(this.#place.disable, this.#place);
  }

  *#call(name: string, { arg }: Place): HostGenerator<void> {
    const { symbols } = this.#core;
    yield { call: symbols.require(name), args: arg === undefined ? [] : [symbols.require(arg)] };
  }
}
