// --perfetto: trace events by the format's own rules, and what they say, by the run's report.

import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import * as z from 'zod/mini';
import { loadScenario } from '../../src/scenario/parse.ts';
import type { RunReport } from '../../src/scenario/report.ts';
import { runScenario } from '../../src/scenario/runner.ts';
import { TimelineObserver } from '../../src/timeline/observer.ts';
import { traceEvents } from '../../src/timeline/perfetto.ts';

/** The Trace Event Format, as its document has it: what each phase must have. */
const track = { pid: z.int(), tid: z.int(), name: z.string() };
const ts = z.number().check(z.gte(0));
const args = z.record(z.string(), z.unknown());
const EVENT = z.discriminatedUnion('ph', [
  z.strictObject({
    ...track,
    ph: z.literal('M'),
    args: z.strictObject({ name: z.optional(z.string()), sort_index: z.optional(z.int()) }),
  }),
  z.strictObject({ ...track, ph: z.literal('X'), ts, dur: z.number().check(z.gte(0)), args }),
  z.strictObject({
    ...track,
    ph: z.literal('i'),
    ts,
    s: z.enum(['t', 'p', 'g']),
    cat: z.optional(z.string()),
    args,
  }),
  z.strictObject({ ...track, ph: z.literal('C'), ts, args: z.record(z.string(), z.number()) }),
  z.strictObject({ ...track, ph: z.literal('s'), ts, id: z.int(), cat: z.string() }),
  z.strictObject({
    ...track,
    ph: z.literal('f'),
    ts,
    id: z.int(),
    cat: z.string(),
    bp: z.literal('e'),
    args,
  }),
]);
type Event = z.infer<typeof EVENT>;
type Slice = Event & { ph: 'X' };

interface Traced {
  readonly events: readonly Event[];
  readonly slices: ReadonlyMap<string, Slice[]>;
  readonly report: RunReport;
}

async function traced(name: string): Promise<Traced> {
  const observer = new TimelineObserver();
  const file = join(import.meta.dirname, '../../fixtures/scenarios', `${name}.yaml`);
  const report = await runScenario(loadScenario(file), { observers: [observer] });
  const timeline = observer.finish();
  const text = JSON.stringify(timeline ? [...traceEvents(timeline)] : []);
  const events = z.array(EVENT).parse(JSON.parse(text));
  const byTrack = new Map<string, Slice[]>();
  for (const event of events) {
    if (event.ph !== 'X') continue;
    const key = `${event.pid}/${event.tid}`;
    const before = byTrack.get(key);
    if (before) before.push(event);
    else byTrack.set(key, [event]);
  }
  return { events, slices: byTrack, report };
}
const GROUPS = { cpus: 1, livepatch: 4 };

describe.each(['vmlinux', 'reversal', 'force'])('the trace events of %s.yaml', (name) => {
  const run = traced(name);

  it('overlap in no track', async () => {
    const { slices } = await run;
    expect(slices.size).toBeGreaterThan(10);
    for (const [key, all] of slices) {
      const inOrder = [...all].sort((a, b) => a.ts - b.ts);
      for (const [i, slice] of inOrder.slice(1).entries())
        expect(slice.ts, key).toBeGreaterThanOrEqual(inOrder[i].ts + inOrder[i].dur - 1e-6);
    }
  });

  it('have every CPU busy with one task at each moment', async () => {
    const { slices, events } = await run;
    const end = Math.max(...events.map((event) => ('ts' in event ? event.ts : 0)));
    for (const [key, all] of slices) {
      if (!key.startsWith(`${GROUPS.cpus}/`)) continue;
      const busy = all.reduce((sum, { dur }) => sum + dur, 0);
      const [first] = all;
      expect(first.ts, key).toBe(0);
      expect(busy, key).toBeGreaterThan(0.99 * end);
    }
  });

  it('have a flow from a transition to each task that it switched, both ends in slices', async () => {
    const { slices, events, report } = await run;
    const within = (event: Event & { ph: 's' | 'f' }): boolean =>
      (slices.get(`${event.pid}/${event.tid}`) ?? []).some(
        ({ ts, dur }) => event.ts >= ts && event.ts <= ts + dur + 1e-6,
      );
    const starts = events.filter((event) => event.ph === 's');
    const ends = events.filter((event) => event.ph === 'f');
    expect(new Set(starts.map(({ id }) => id)).size).toBe(starts.length);
    expect(ends.map(({ id }) => id)).toEqual(starts.map(({ id }) => id));
    for (const flow of [...starts, ...ends]) expect(within(flow), JSON.stringify(flow)).toBe(true);
    const told = report.transitions.reduce((sum, { switches, born }) => sum + switches.length + born, 0);
    expect(ends.length).toBe(told);
  });

  it('count the tasks that are left down to none, where the report says that a transition completed', async () => {
    const { events, report } = await run;
    const counters = events.filter((event) => event.ph === 'C');
    for (const { args } of counters) expect(args.tasks).toBeGreaterThanOrEqual(0);
    const patching = events.filter(
      (event): event is Slice => event.ph === 'X' && event.pid === GROUPS.livepatch,
    );
    expect(patching.map(({ name, args: { outcome, forced } }) => [name, outcome, forced])).toEqual(
      report.transitions.map(({ target, outcome, forced }) => [
        target === 1 ? 'patching' : 'unpatching',
        outcome,
        forced,
      ]),
    );
    for (const { ts, dur, args } of patching) {
      const here = counters.filter((counter) => counter.ts >= ts && counter.ts <= ts + dur);
      if (args.outcome === 'complete') expect(here.at(-1)?.args.tasks).toBe(0);
    }
  });
});
