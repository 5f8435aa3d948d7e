// Functions of a real kernel that run natively where the machine has its own: both are called on the same inputs, drawn anew
// for each, and what they return and leave in memory is the same.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Addr } from '../../src/guest/addr.ts';
import type { GuestMemory } from '../../src/guest/memory.ts';
import { Machine } from '../../src/machine/machine.ts';
import { vmlinuzOf } from '../vmlinuz/debian_kernels.ts';
import { runInTask } from './in_task.ts';

const SIZE = 64;
const CASES = 60;

/** What a call is given: two texts, at `a` and `b`, room for results behind them, and a number. */
interface Given {
  readonly texts: readonly [string, string];
  readonly n: number;
}
/** Where they are. */
interface Places {
  readonly a: Addr;
  readonly b: Addr;
  readonly n: number;
  /** A page. */
  readonly page: Addr;
  /** struct kernel_param of a number at b, of a string whose address is a variable, and of a struct kparam_string. */
  readonly number: Addr;
  readonly charp: Addr;
  readonly string: Addr;
}
type Args = (places: Places) => readonly (bigint | number)[];
/**
 * What is compared of the result, where it is no number of 64 bits: `copy` is memory of its own, of which the text is told, or
 * `n` bytes; `charp` the text that the variable has then.
 */
type Result = 'long' | 'int' | 'sign' | 'place' | 'copy' | 'bytes' | 'charp';

/** Where things lie behind the second text. */
const [VARIABLE, KPARAM_STRING, PARAMS, LIST] = [300n, 320n, 600n, 340n];
const NUMBERS = 'byte short ushort int uint long ulong ullong hexint bool invbool'.split(' ');

const text = fc.string({ unit: fc.constantFrom('a', 'b', 'c', ' ', '\xe4'), maxLength: 20 });
const number = fc.oneof(
  fc.bigInt({ min: -(1n << 65n), max: 1n << 65n }).map(String),
  fc.integer({ min: -70_000, max: 70_000 }).map(String),
  fc.nat().map((n) => `0x${n.toString(16)}\n`),
  fc.constantFrom('', '-', '+7', '017', '0x', '1 2', '99z', 'y', 'on', 'off', 'N', '1'),
);
const anything = fc.oneof(text, number);

const two: Args = ({ a, b }) => [a, b];
const counted: Args = ({ a, b, n }) => [a, b, n];
const parsed: Args = ({ a, b }) => [a, 0, b];
const printed =
  (format: string, ...more: (bigint | number)[]): Args =>
  ({ a, b, n }) => [b + 100n, n, b + FORMATS[format], a, ...more];
/** Formats lie behind the second text. */
const FORMATS: Readonly<Record<string, bigint>> = { '%s|%d %08lx\n': 400n, '%-9.3s%u%%%c': 440n };

type Row = readonly [name: string, args: Args, result: Result];
const CALLS: readonly Row[] = [
  ['strlen', ({ a }) => [a], 'long'],
  ['strnlen', ({ a, n }) => [a, n], 'long'],
  ['strcmp', two, 'sign'],
  ['strncmp', counted, 'sign'],
  ['memcmp', counted, 'sign'],
  ['strchr', ({ a }) => [a, 0x62], 'place'],
  ['strrchr', ({ a }) => [a, 0x62], 'place'],
  ['strcpy', ({ a, b }) => [b + 100n, a], 'place'],
  ['strlcpy', ({ a, b, n }) => [b + 100n, a, n], 'long'],
  ['strncpy', ({ a, b, n }) => [b + 100n, a, n], 'place'],
  ['strscpy', ({ a, b, n }) => [b + 100n, a, n], 'long'],
  ['sized_strscpy', ({ a, b, n }) => [b + 100n, a, n], 'long'],
  ['memcpy', ({ a, b, n }) => [b + 100n, a, n], 'place'],
  ['memmove', ({ a, n }) => [a + 3n, a, n], 'place'],
  ['memset', ({ a, n }) => [a, 0x1e4, n], 'place'],
  ['_find_next_bit', ({ a, n }) => [a, 8 * n, n], 'long'],
  ['_kstrtol', parsed, 'int'],
  ['_kstrtoul', parsed, 'int'],
  ...['int', 'uint', 'll', 'ull', 's16', 'u16', 's8', 'u8'].map(
    (type) => [`kstrto${type}`, parsed, 'int'] as const,
  ),
  ['kstrtobool', two, 'int'],
  ...['ol', 'oul', 'oll', 'oull'].map(
    (type) => [`simple_strt${type}`, ({ a, b }: Places) => [a, b + 100n, 10], 'long'] as const,
  ),
  ['kstrdup', ({ a }) => [a, 0xcc0], 'copy'],
  ['kstrdup_const', ({ a }) => [a, 0xcc0], 'copy'],
  ['kstrndup', ({ a, n }) => [a, n, 0xcc0], 'copy'],
  ['kmemdup', ({ a, n }) => [a, n, 0xcc0], 'bytes'],
  ['kmemdup_noprof', ({ a, n }) => [a, n, 0xcc0], 'bytes'],
  ['kmemdup_nul', ({ a, n }) => [a, n, 0xcc0], 'copy'],
  ['kasprintf', ({ a, b, n }) => [0xcc0, b + FORMATS['%s|%d %08lx\n'], a, n, 7], 'copy'],
  ['__list_add_valid', ({ a, b }) => [a, b + LIST, b + LIST], 'int'],
  ['__list_del_entry_valid', ({ b }) => [b + LIST], 'int'],
  ['sysfs_emit', ({ a, b, n, page }) => [page, b + FORMATS['%s|%d %08lx\n'], a, n, 7], 'int'],
  ['sysfs_emit_at', ({ a, b, n, page }) => [page, 4090 - n, b + FORMATS['%s|%d %08lx\n'], a, n, 7], 'int'],
  ...NUMBERS.flatMap((type): Row[] => [
    [`param_set_${type}`, ({ a, number }) => [a, number], 'int'],
    [`param_get_${type}`, ({ page, number }) => [page, number], 'int'],
  ]),
  ['param_set_charp', ({ a, charp }) => [a, charp], 'charp'],
  ['param_get_charp', ({ page, charp }) => [page, charp], 'int'],
  ['param_set_copystring', ({ a, string }) => [a, string], 'int'],
  ['param_get_string', ({ page, string }) => [page, string], 'int'],
  ['snprintf', printed('%s|%d %08lx\n', -5, 0xbeefn), 'int'],
  ['scnprintf', printed('%-9.3s%u%%%c', 77, 0x5a), 'int'],
];

/** Calls each function of those that a machine has with what is given, in a task of it. */
async function results(
  kernel: string | undefined,
  given: readonly Given[],
): Promise<ReadonlyMap<string, unknown[]>> {
  const machine = await Machine.boot({ cpus: 1, ...(kernel === undefined ? {} : { kernel }) });
  const { core } = machine.inspect;
  const found = new Map<string, unknown[]>();
  const room = core.slab.alloc(2048, 'test');
  const [a, b] = [room, room + 512n];
  const page = core.slab.alloc(4096, 'test');
  const { kernel_param, kparam_string, list_head } = core.kernel.structs;
  const places = { a, b, page, number: b + PARAMS, charp: b + PARAMS + 64n, string: b + PARAMS + 128n };
  const name = core.slab.alloc(8, 'test');
  core.mem.writeCString(name, 'named');
  const lay = (): void => {
    core.mem.fill(page, 4096, 0);
    const args = [b, b + VARIABLE, b + KPARAM_STRING];
    for (const [i, at] of [places.number, places.charp, places.string].entries()) {
      core.mem.fill(at, kernel_param.size, 0);
      core.mem.writeU64(at + BigInt(kernel_param.fields.name), name);
      core.mem.writeU64(at + BigInt(kernel_param.fields.arg), args[i]);
    }
    core.mem.writeU64(b + VARIABLE, 0n);
    core.mem.writeU32(b + KPARAM_STRING + BigInt(kparam_string.fields.maxlen), 9);
    core.mem.writeU64(b + KPARAM_STRING + BigInt(kparam_string.fields.string), b + 100n);
    for (const field of [list_head.fields.next, list_head.fields.prev])
      core.mem.writeU64(b + LIST + BigInt(field), b + LIST);
  };
  const status = runInTask(machine, function* () {
    for (const [name, args, result] of CALLS) {
      const fn = core.symbols.lookupName(name);
      if (fn === undefined) continue;
      const all: unknown[] = [];
      for (const { texts, n } of given) {
        core.mem.fill(room, 2048, 0x7e);
        lay();
        core.mem.writeCString(a, texts[0]);
        core.mem.writeCString(b, texts[1]);
        for (const [format, at] of Object.entries(FORMATS)) core.mem.writeCString(b + at, format);
        const value: bigint = BigInt(yield { call: fn, args: args({ ...places, n }) });
        // strscpy() copies words, so that there may be zeros behind the end.
        const copied = /strscpy/.test(name) && n > 0 ? core.mem.readCString(b + 100n) : undefined;
        if (copied !== undefined) core.mem.fill(b + 100n, 100, 0);
        const made = madeOf(core.mem, value, result, n, b + VARIABLE);
        core.mem.fill(b + PARAMS, 192, 0);
        const bytes = (copied ?? '') + Buffer.from(core.mem.readBytes(room, 2048)).toString('hex');
        all.push([made ?? shown(value, result, room), core.mem.readCString(page), pointers(bytes, room)]);
      }
      found.set(name, all);
    }
  });
  expect(status).toBe(0);
  machine.close();
  return found;
}

/** Of memory that was made: what is in it. The variable that has its address is emptied. */
function madeOf(
  mem: GuestMemory,
  value: bigint,
  result: Result,
  n: number,
  variable: Addr,
): readonly unknown[] | undefined {
  if (result === 'copy') return [mem.readCString(value)];
  // kmemdup() of nothing has no memory.
  if (result === 'bytes') return [n === 0 || Buffer.from(mem.readBytes(value, n)).toString('hex')];
  if (result !== 'charp') return undefined;
  const made = [BigInt.asIntN(32, value), mem.readCString(mem.readU64(variable))];
  mem.writeU64(variable, 0n);
  return made;
}

function shown(value: bigint, result: Result, room: Addr): string {
  if (result === 'place') return value === 0n ? 'null' : String(value - room);
  const int = BigInt.asIntN(32, value);
  if (result === 'sign') return String(int < 0n ? -1 : int > 0n ? 1 : 0);
  return String(result === 'int' ? int : BigInt.asIntN(64, value));
}

/** An end that simple_strtol() stores is an address: told by its place. */
function pointers(bytes: string, room: Addr): string {
  const high = Buffer.alloc(8);
  high.writeBigUInt64LE(room & ~0xfffn);
  return bytes.replaceAll(new RegExp(`(....)${high.toString('hex').slice(4)}`, 'g'), (_, low: string) => {
    const at = Buffer.from(low, 'hex').readUInt16LE(0) - Number(room & 0xffffn);
    return `<${at}>`;
  });
}

const given = fc.sample(fc.record({ texts: fc.tuple(anything, text), n: fc.nat(SIZE) }), {
  numRuns: CASES,
  seed: 20_261_128,
});

describe.each(['6.1', '6.12', '7.3'] as const)('functions of Debian %s that are native', (series) => {
  const kernel = vmlinuzOf(series);
  it.skipIf(!kernel)("do what the machine's own do", async () => {
    const [ours, theirs] = [await results(undefined, given), await results(kernel, given)];
    const names = [...theirs.keys()].filter((name) => ours.has(name));
    expect(names.length).toBeGreaterThan(60);
    for (const name of names) {
      // What 64 bits do not hold: later kernels have made another number of it, and then it is theirs.
      const same = (all: unknown[] = []): unknown[] =>
        name.startsWith('simple_') ? all.filter((_, i) => !/\d{19}/.test(given[i].texts[0])) : all;
      expect([name, same(theirs.get(name))]).toEqual([name, same(ours.get(name))]);
    }
  });
});
