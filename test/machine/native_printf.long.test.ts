// vsnprintf() of a real kernel is its own code: formats, drawn anew, are given to it and to the machine's, in one machine with
// the same arguments, and make the same text. What only the kernel has is held to what it says of it.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Addr } from '../../src/guest/addr.ts';
import type { HostGenerator } from '../../src/guest/hostcall.ts';
import { type FormatContext, vsprintf } from '../../src/kernel/vsprintf.ts';
import { Machine } from '../../src/machine/machine.ts';
import { vmlinuzOf } from '../vmlinuz/debian_kernels.ts';
import { runInTask } from './in_task.ts';

const CASES = 400;
const BUFFER = 512;

/** What a conversion takes: a number, or what lies at one of the places below. */
type Given = bigint | { readonly place: string };
interface Piece {
  readonly text: string;
  readonly args: readonly Given[];
}

const TEXTS: Readonly<Record<string, string>> = {
  empty: '',
  short: 'abc',
  long: 'w\xe4r es so, w\xfcrde es sein',
};
/** Addresses that %pS is asked about: of a function of the kernel, of hosted ones, of what has no name. */
const CODE: readonly string[] = ['vsnprintf', 'kfree', '_printk', 'schedule', 'klp_enable_patch'];

const flags = fc.subarray(['-', '+', ' ', '#', '0']).map((all) => all.join(''));
const count = fc.oneof(fc.constant(''), fc.nat(30).map(String));
const dotted = fc.oneof(
  fc.constant(''),
  fc.nat(20).map((n) => `.${n}`),
);
const word = fc.oneof(fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), fc.nat(300).map(BigInt));
const number = fc
  .tuple(
    flags,
    count,
    dotted,
    fc.constantFrom('', 'hh', 'h', 'l', 'll', 'z', 't'),
    fc.constantFrom(...'diuxXo'),
    word,
  )
  .map(([flag, width, precision, size, type, value]) => ({
    text: `%${flag}${width}${precision}${size}${type}`,
    args: [value],
  }));
const starred = fc
  .tuple(fc.integer({ min: -30, max: 30 }), fc.integer({ min: -3, max: 20 }), word)
  .map(([width, precision, value]) => ({
    text: '%*.*d',
    args: [BigInt.asUintN(64, BigInt(width)), BigInt.asUintN(64, BigInt(precision)), value],
  }));
const string = fc
  .tuple(
    fc.constantFrom('', '-'),
    count,
    dotted,
    fc.constantFrom<Given>(
      ...Object.keys(TEXTS).map((place) => ({ place })),
      0n,
      7n,
      -22n & 0xffff_ffff_ffff_ffffn,
    ),
  )
  .map(([flag, width, precision, value]) => ({ text: `%${flag}${width}${precision}s`, args: [value] }));
const letter = fc
  .tuple(fc.constantFrom('', '-'), count, fc.integer({ min: 1, max: 255 }))
  .map(([flag, width, c]) => ({ text: `%${flag}${width}c`, args: [BigInt(c)] }));
const symbol = fc
  .tuple(fc.constantFrom('S', 's', 'B', 'SR'), count, fc.constantFrom(...CODE), fc.nat(40))
  .map(([kind, width, name, offset]) => ({
    text: `%${width}p${kind}`,
    args: [{ place: `${name}+${offset}` }],
  }));
const nameless = fc
  .tuple(fc.constantFrom('S', 's', 'B'), fc.constantFrom(0n, 5n, 0xffff_8000_0000_0000n))
  .map(([kind, value]) => ({ text: `%p${kind}`, args: [value] }));
const bytes = fc
  .tuple(fc.constantFrom('%pM', '%pm', '%20pM', '%6ph', '%3phC', '%5phD', '%70phN', '%pa', '%pGg'))
  .map(([text]) => ({ text, args: [{ place: 'bytes' }] }));
const raw = fc
  .tuple(fc.constantFrom('%px', '%20px', '%-20px|'), word)
  .map(([text, value]) => ({ text, args: [value] }));
const error = fc
  .oneof(fc.nat(140), fc.integer({ min: 510, max: 531 }))
  .map((n) => ({ text: '%pe', args: [BigInt.asUintN(64, -1n - BigInt(n))] }));
const va = fc.constant({ text: '<%pV>', args: [{ place: 'va' }] });
const plain = fc.constantFrom('', 'a', ' = ', '100%%', '\n').map((text) => ({ text, args: [] }));
const piece: fc.Arbitrary<Piece> = fc.oneof(
  { weight: 3, arbitrary: number },
  starred,
  { weight: 2, arbitrary: string },
  letter,
  symbol,
  nameless,
  bytes,
  raw,
  error,
  va,
  plain,
);
const cases = fc.sample(
  fc.record({
    pieces: fc.array(piece, { minLength: 1, maxLength: 5 }),
    size: fc.constantFrom(0, 1, 9, 40, BUFFER),
  }),
  { numRuns: CASES, seed: 20_261_128 },
);

type Printed = readonly [format: string, length: number, text: string];

/** Runs a host's code in a task of a machine of that kernel. */
async function inMachine(kernel: string, run: (machine: Machine) => HostGenerator<void>): Promise<void> {
  const machine = await Machine.boot({ cpus: 1, kernel });
  expect(runInTask(machine, () => run(machine))).toBe(0);
  machine.close();
}

class Room {
  readonly #machine: Machine;
  readonly buffer: Addr;
  readonly format: Addr;
  readonly list: Addr;
  readonly #args: Addr;
  readonly #places = new Map<string, Addr>();

  constructor(machine: Machine) {
    this.#machine = machine;
    const { slab, mem, kernel } = machine.inspect.core;
    this.buffer = slab.alloc(BUFFER, 'test');
    this.format = slab.alloc(1024, 'test');
    this.list = slab.alloc(24, 'test');
    this.#args = slab.alloc(256, 'test');
    for (const [place, text] of Object.entries(TEXTS)) {
      const at = slab.alloc(64, 'test');
      mem.writeCString(at, text);
      this.#places.set(place, at);
    }
    const at = slab.alloc(128, 'test');
    mem.writeBytes(
      at,
      Uint8Array.from({ length: 128 }, (_, i) => (i * 37 + 5) & 0xff),
    );
    // GFP_KERNEL, in what %pGg reads of it.
    mem.writeU32(at, 0xcc0);
    this.#places.set('bytes', at);
    const { fmt, va } = kernel.structs.va_format.fields;
    const inner = slab.alloc(256, 'test');
    mem.writeCString(inner, '%s:%d');
    mem.writeU64(inner + 64n + BigInt(fmt), inner);
    mem.writeU64(inner + 64n + BigInt(va), inner + 96n);
    mem.writeU64(inner + 160n, this.#places.get('short') as Addr);
    mem.writeU64(inner + 168n, 77n);
    this.#listOf(inner + 96n, inner + 160n);
    this.#places.set('va', inner + 64n);
  }

  at(place: string): Addr {
    return this.#places.get(place) as Addr;
  }

  /** va_list of the ABI: no registers are left, and all is in memory. */
  #listOf(list: Addr, args: Addr): void {
    const { mem } = this.#machine.inspect.core;
    mem.writeU32(list, 48);
    mem.writeU32(list + 4n, 304);
    mem.writeU64(list + 8n, args);
    mem.writeU64(list + 16n, 0n);
  }

  #valueOf(given: Given): bigint {
    if (typeof given === 'bigint') return given;
    const [name, offset] = given.place.split('+');
    return this.#places.get(name) ?? this.#machine.inspect.core.symbols.require(name) + BigInt(offset);
  }

  /** Puts a format and its arguments there. @returns what the machine makes of them */
  put({ pieces, size }: (typeof cases)[number]): Printed {
    const { mem, kernel, symbols, arch } = this.#machine.inspect.core;
    const format = pieces.map(({ text }) => text).join('');
    mem.fill(this.buffer, BUFFER, 0x7e);
    mem.writeCString(this.format, format);
    const values = pieces.flatMap(({ args }) => args.map((given) => this.#valueOf(given)));
    for (const [i, value] of values.entries()) mem.writeU64(this.#args + BigInt(8 * i), value);
    this.#listOf(this.list, this.#args);
    const ctx: FormatContext = { mem, kernel, symbols, varargs: arch.varargs, ptrKey: 0 };
    let next = 0;
    const text = vsprintf(ctx, format, () => values[next++]);
    const there = size === 0 ? '' : `${text.slice(0, size - 1)}\0`;
    return [format, text.length, there.padEnd(BUFFER, '~').replace(/~+$/, '')];
  }

  printed(format: string, length: bigint): Printed {
    const bytes = this.#machine.inspect.core.mem.readBytes(this.buffer, BUFFER);
    return [
      format,
      Number(BigInt.asIntN(32, length)),
      Buffer.from(bytes).toString('latin1').replace(/~+$/, ''),
    ];
  }
}

describe.each(['6.1', '6.12', '7.3'] as const)("Debian %s's own vsnprintf()", (series) => {
  const kernel = vmlinuzOf(series);

  it.skipIf(!kernel)(
    "makes the text that the machine's makes, hosted functions' names among it",
    async () => {
      await inMachine(kernel as string, function* (machine) {
        const room = new Room(machine);
        const call = machine.inspect.core.symbols.require('vsnprintf');
        const ours: Printed[] = [];
        const theirs: Printed[] = [];
        for (const given of cases) {
          const printed = room.put(given);
          ours.push(printed);
          const length = yield { call, args: [room.buffer, given.size, room.format, room.list] };
          theirs.push(room.printed(printed[0], length));
        }
        expect(theirs).toEqual(ours);
      });
    },
  );

  it.skipIf(!kernel)('hashes what %p prints by the key that its boot drew', async () => {
    await inMachine(kernel as string, function* (machine) {
      const room = new Room(machine);
      const { mem, symbols } = machine.inspect.core;
      const pointer = symbols.require('init_task');
      const [, , before] = room.put({ pieces: [{ text: '%px', args: [pointer] }], size: BUFFER });
      expect(before).toBe(`${pointer.toString(16)}\0`);
      room.put({ pieces: [{ text: '%p', args: [pointer] }], size: BUFFER });
      const args = [room.buffer, BUFFER, room.format, room.list];
      const length = yield { call: symbols.require('vsnprintf'), args };
      const key = symbols.require('ptr_key');
      expect(Buffer.from(mem.readBytes(key, 16)).equals(Buffer.alloc(16))).toBe(false);
      const hash = yield { call: symbols.require('siphash_1u64'), args: [pointer, key] };
      const shown = (hash & 0xffff_ffffn).toString(16).padStart(16, '0');
      expect(room.printed('%p', length)).toEqual(['%p', 16, `${shown}\0`]);
    });
  });

  const record = series === '6.1' ? 991 : 1023;
  it.skipIf(!kernel)(
    `has kinds of %p that the machine's has not, and a message has ${record} characters`,
    async () => {
      await inMachine(kernel as string, function* (machine) {
        const room = new Room(machine);
        const { mem, symbols, printk } = machine.inspect.core;
        const call = symbols.require('_printk');
        const say = function* (text: string, ...args: (bigint | number)[]): HostGenerator<bigint> {
          mem.writeCString(room.format, text);
          return BigInt.asIntN(32, yield { call, args: [room.format, ...args] });
        };
        const at = room.at('bytes');
        const name = symbols.format(symbols.require('kfree'));
        const shown = `192.12.0.0 c00c0000-99be-e308-2d52-779cc1e60b30 6-7,10-11 ${name}`;
        const kfree = symbols.require('kfree');
        expect(yield* say('\x013%pI4 %pUb %*pbl %pS\n', at, at, 16, at, kfree)).toBe(BigInt(shown.length));
        expect(yield* say('%s%s\n', room.at('short'), room.at('long'))).toBe(27n);
        mem.fill(room.buffer, BUFFER, 0x61);
        mem.writeU8(room.buffer + BigInt(BUFFER - 1), 0);
        expect(yield* say('%s%s%s\n', room.buffer, room.buffer, room.buffer)).toBe(BigInt(record));
        expect(printk.records.slice(-3).map(({ level, text }) => [level, text])).toEqual([
          [3, shown],
          [4, 'abcw\xe4r es so, w\xfcrde es sein'],
          [4, 'a'.repeat(record)],
        ]);
      });
    },
  );
});
