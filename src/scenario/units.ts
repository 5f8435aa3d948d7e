// Quantities as people write them in a scenario: durations of virtual time and sizes of memory.
//
// Invariant: a duration is a whole number of nanoseconds; parseDuration(formatDuration(t)) is t to the
// precision that is printed.

const NS = { ns: 1, us: 1e3, ms: 1e6, s: 1e9, m: 60e9 } as const;
const BYTES = { B: 1, KiB: 1 << 10, MiB: 1 << 20, GiB: 1 << 30 } as const;
/** Beyond it a number of ns is no longer exact. */
const MAX_NS = Number.MAX_SAFE_INTEGER;

/** `250ms`, `1.5s`, `10us` in ns. @returns undefined for anything else: a bare number has no unit. */
export function parseDuration(text: string): number | undefined {
  const found = /^(\d+(?:\.\d+)?) ?(ns|us|ms|s|m)$/.exec(text.trim());
  if (!found) return undefined;
  const ns = Math.round(Number(found[1]) * NS[found[2] as keyof typeof NS]);
  return ns <= MAX_NS ? ns : undefined;
}

/** `64MiB` in bytes; undefined for anything else. */
export function parseSize(text: string): number | undefined {
  const found = /^(\d+) ?(B|KiB|MiB|GiB)$/.exec(text.trim());
  return found ? Number(found[1]) * BYTES[found[2] as keyof typeof BYTES] : undefined;
}

/** Three digits at most and the unit that suits: `1.52s`, `60ms`, `812us`. */
export function formatDuration(ns: number): string {
  for (const unit of ['s', 'ms', 'us'] as const) {
    if (ns < NS[unit]) continue;
    const value = ns / NS[unit];
    // toPrecision would turn 1234 into 1.23e+3.
    const text = value >= 100 ? String(Math.round(value)) : String(Number(value.toPrecision(3)));
    return `${text}${unit}`;
  }
  return ns === 0 ? '0' : `${Math.round(ns)}ns`;
}
