// Vector and x87 registers of a CPU, by the names of gdb's features org.gnu.gdb.i386.sse, .avx and .core. The core keeps the
// x87 registers as FXSAVE has them: Intel SDM volume 1, 10.5.1; the tag word is the one of FSAVE, 8.1.7.

import type { DebugRegister } from '../../debug.ts';
import { MXCSR, VECTOR_REGISTER, X87, ZMM } from '../core/layout.ts';
import type { CoreContext } from '../engine/core_context.ts';

const SIXTEEN = Array.from({ length: 16 }, (_, i) => i);
const EIGHT = SIXTEEN.slice(0, 8);

export const SSE_REGISTERS: readonly DebugRegister[] = [
  ...SIXTEEN.map((i) => ({ name: `xmm${i}`, bytes: 16 })),
  { name: 'mxcsr', bytes: 4 },
];
export const AVX_REGISTERS: readonly DebugRegister[] = SIXTEEN.map((i) => ({ name: `ymm${i}h`, bytes: 16 }));

/** Bytes of the state, little-endian. */
interface Place {
  readonly at: number;
  readonly bytes: number;
  /** What of a value can be written. */
  readonly mask?: bigint;
}

const X = X87 - ZMM;
const [STATUS, TAGS, REGISTERS] = [X + 2, X + 4, X + 32];
const PLACES: Readonly<Record<string, Place>> = Object.fromEntries([
  ...SIXTEEN.map((i): [string, Place] => [`xmm${i}`, { at: VECTOR_REGISTER * i, bytes: 16 }]),
  ...SIXTEEN.map((i): [string, Place] => [`ymm${i}h`, { at: VECTOR_REGISTER * i + 16, bytes: 16 }]),
  ...EIGHT.map((i): [string, Place] => [`st${i}`, { at: REGISTERS + 16 * i, bytes: 10 }]),
  // A reserved bit that is set would be refused by LDMXCSR.
  ['mxcsr', { at: MXCSR - ZMM, bytes: 4, mask: 0xffffn }],
  ['fctrl', { at: X, bytes: 2, mask: 0x1f7fn }],
  ['fstat', { at: STATUS, bytes: 2 }],
  ['fop', { at: X + 6, bytes: 2, mask: 0x7ffn }],
  ['fioff', { at: X + 8, bytes: 4 }],
  ['fiseg', { at: X + 12, bytes: 2 }],
  ['fooff', { at: X + 16, bytes: 4 }],
  ['foseg', { at: X + 20, bytes: 2 }],
]);

/** undefined: it is none of these. */
export function readVector({ vectors }: CoreContext, name: string): bigint | undefined {
  if (name === 'ftag') return tagWord(vectors);
  const place = Object.hasOwn(PLACES, name) ? PLACES[name] : undefined;
  return place && bytesAt(vectors, place);
}

/** @returns false for one that cannot be set */
export function writeVector({ vectors }: CoreContext, name: string, value: bigint): boolean {
  const place = Object.hasOwn(PLACES, name) ? PLACES[name] : undefined;
  if (!place) return false;
  const bits = place.mask === undefined ? value : value & place.mask;
  for (let i = 0; i < place.bytes; i++)
    vectors.setUint8(place.at + i, Number((bits >> BigInt(8 * i)) & 0xffn));
  return true;
}

function bytesAt(view: DataView, { at, bytes }: Place): bigint {
  let value = 0n;
  for (let i = bytes - 1; i >= 0; i--) value = (value << 8n) | BigInt(view.getUint8(at + i));
  return value;
}

/** FXSAVE has a bit for each register that is not empty; what is in it says the rest: 0 valid, 1 zero, 2 special, 3 empty. */
function tagWord(view: DataView): bigint {
  const top = (view.getUint8(STATUS + 1) >> 3) & 7;
  const full = view.getUint8(TAGS);
  return EIGHT.reduce((word, register) => {
    const stack = (register - top) & 7;
    const tag = (full >> register) & 1 ? tagOf(bytesAt(view, { at: REGISTERS + 16 * stack, bytes: 10 })) : 3n;
    return word | (tag << BigInt(2 * register));
  }, 0n);
}

function tagOf(value: bigint): bigint {
  const [exponent, significand] = [(value >> 64n) & 0x7fffn, BigInt.asUintN(64, value)];
  if (exponent === 0n && significand === 0n) return 1n;
  return exponent === 0x7fffn || significand >> 63n === 0n ? 2n : 0n;
}
