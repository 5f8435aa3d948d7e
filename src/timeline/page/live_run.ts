// A run that goes on, as it is told of: what has happened up to now is a run that is looked at as any other.

import type { KernelEvent } from '../../kernel/events.ts';
import type { LiveHappened, LiveMessage } from '../live_format.ts';
import { pageData } from '../page_data.ts';
import { Timeline } from '../timeline.ts';
import { Run } from './run.ts';

type Begin = Extract<LiveMessage, { begin: unknown }>['begin'];

/** What is bytes in events. */
const BYTES: ReadonlySet<string> = new Set(['before', 'after']);

export class LiveRun {
  readonly #begin: Begin;
  readonly #timeline: Timeline;
  readonly #slept: LiveHappened['slept'][number][] = [];
  readonly #sites: LiveHappened['sites'][number][] = [];

  constructor(begin: Begin) {
    this.#begin = begin;
    this.#timeline = new Timeline(begin.tasks, begin.cpus);
  }

  happened({ events, slept, sites }: LiveHappened): void {
    for (const event of events) this.#timeline.record(revived(event));
    this.#slept.push(...slept);
    this.#sites.push(...sites);
  }

  /** @param now virtual ns */
  upTo(now: number, failure: string | undefined): Run {
    this.#timeline.finish(now);
    const { title, machine } = this.#begin;
    const outcome = { ok: failure === undefined, text: failure ?? '' };
    const told = { title, about: '', machine, outcome, failed: failure !== undefined };
    return new Run(pageData(this.#timeline, { slept: this.#slept, sites: this.#sites }, told));
  }
}

function revived(event: unknown): KernelEvent {
  const entries = Object.entries(event as object).map(([key, value]) => [
    key,
    BYTES.has(key) && typeof value === 'string' ? bytesOf(value) : value,
  ]);
  return Object.fromEntries(entries) as KernelEvent;
}

const bytesOf = (text: string): Uint8Array =>
  Uint8Array.from(text === '' ? [] : text.split(' '), (hex) => Number.parseInt(hex, 16));
