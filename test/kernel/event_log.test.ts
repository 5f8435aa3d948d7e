// The log of events: who is told of what.

import { describe, expect, it } from 'vitest';
import { type EventBody, EventLog, type EventType } from '../../src/kernel/events.ts';

const NOTE: EventBody = { type: 'note', text: 'said' };
const ASIDE: readonly EventBody[] = [
  { type: 'klp_module', what: 'coming', module: 'm' },
  { type: 'klp_object', what: 'apply', patch: 'p', object: 'm' },
  { type: 'klp_relocs', what: 'clear', patch: 'p', object: 'm', count: 2 },
];

function told(types?: readonly EventType[]): { events: EventLog; seen: EventType[]; end: () => void } {
  const events = new EventLog(() => ({ t: 1, cpu: 0 }));
  const seen: EventType[] = [];
  const end = events.subscribe(({ type }) => void seen.push(type), types);
  return { events, seen, end };
}

describe('kinds for measurements', () => {
  it('are in no trace: a sink that names no types sees everything else', () => {
    const { events, seen } = told();
    for (const body of [...ASIDE, NOTE]) events.emit(body);
    expect(seen).toEqual(['note']);
    expect(ASIDE.map(({ type }) => events.listens(type))).toEqual([false, false, false]);
  });

  it('go to a sink that names them, also beside one that names none', () => {
    const { events, seen, end } = told(ASIDE.map(({ type }) => type));
    const all: EventType[] = [];
    events.subscribe(({ type }) => void all.push(type));
    for (const body of [...ASIDE, NOTE]) events.emit(body);
    expect(seen).toEqual(['klp_module', 'klp_object', 'klp_relocs']);
    expect(all).toEqual(['note']);
    end();
    expect(ASIDE.map(({ type }) => events.listens(type))).toEqual([false, false, false]);
  });
});
