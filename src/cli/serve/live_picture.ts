// What happens in a live machine, collected for those who look at it.

import type { EventType, KernelEvent } from '../../kernel/events.ts';
import type { Machine } from '../../machine/machine.ts';
import { jsonValue } from '../../scenario/trace.ts';
import type { LiveHappened } from '../../timeline/live_format.ts';
import { PictureObserver } from '../../timeline/picture.ts';

/** What a picture is made of. */
const DRAWN: readonly EventType[] = [
  ...(['sched', 'task', 'transition', 'patch_state', 'blocked'] as const),
  ...(['poke', 'printk', 'ftrace', 'module', 'oops', 'gap', 'hole', 'int3'] as const),
];

export class LivePicture extends PictureObserver {
  /** Drawn of this machine in all. */
  count = 0;
  #events: unknown[] = [];

  /** @param machine that has executed nothing but its boot */
  constructor(machine: Machine) {
    super();
    this.begin(machine);
    machine.events.subscribe((event) => this.event(event), DRAWN);
  }

  override event(event: KernelEvent): void {
    super.event(event);
    this.count++;
    this.#events.push(JSON.parse(JSON.stringify(event, jsonValue)));
  }

  /** What has happened since it was asked before; undefined for nothing. */
  async take(): Promise<LiveHappened | undefined> {
    await this.flush();
    this.ended();
    const { slept, sites } = this;
    const happened = { events: this.#events, slept: slept.splice(0), sites: sites.splice(0) };
    this.#events = [];
    return happened.events.length + happened.slept.length + happened.sites.length > 0 ? happened : undefined;
  }
}
