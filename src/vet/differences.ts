// How two pictures of a machine differ, in words: what is there that was not, and what is gone.

type Picture = Readonly<Record<string, unknown>>;

/** A line for each thing; none where they are the same. */
export function differences(before: Picture, after: Picture): string[] {
  return Object.keys(after).flatMap((what) => lines(what, before[what], after[what]));
}

function lines(what: string, before: unknown, after: unknown): string[] {
  if (JSON.stringify(before) === JSON.stringify(after)) return [];
  if (Array.isArray(before) && Array.isArray(after)) {
    return [
      ...without(after, before).map((one) => `${what}: ${one} is left`),
      ...without(before, after).map((one) => `${what}: ${one} is gone`),
    ];
  }
  if (isRecord(before) && isRecord(after)) {
    return [...new Set([...Object.keys(before), ...Object.keys(after)])].flatMap((key) =>
      isSame(before[key], after[key]) ? [] : [`${what}: ${entry(key, before[key], after[key])}`],
    );
  }
  return [`${what}: ${String(before)} before, ${String(after)} now`];
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Text that lies at another address now has other branches. */
function isSame(before: unknown, after: unknown): boolean {
  if (typeof before !== 'string' || typeof after !== 'string') return before === after;
  return before === after || before.split(' ')[0] !== after.split(' ')[0];
}

function entry(key: string, before: unknown, after: unknown): string {
  if (typeof before === 'string' || typeof after === 'string') return `${key} is not as before`;
  return `${key} bytes: ${Number(before ?? 0)} before, ${Number(after ?? 0)} now`;
}

function without(list: readonly unknown[], other: readonly unknown[]): unknown[] {
  const rest = [...other];
  return list.filter((one) => {
    const at = rest.indexOf(one);
    if (at >= 0) rest.splice(at, 1);
    return at < 0;
  });
}
