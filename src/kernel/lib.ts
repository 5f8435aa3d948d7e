// printk and the library functions that guest code calls with formats and numbers in text.
// Mirrors kernel/printk/printk.c (_printk), lib/vsprintf.c, lib/kstrtox.c.
// Strings and memory functions of the guest are its own code: asm/x86_64/lib.s.

import type { ArgSource } from '../arch/varargs.ts';
import type { Addr } from '../guest/addr.ts';
import type { HostCall, HostFunction } from '../guest/hostcall.ts';
import type { GuestMemory } from '../guest/memory.ts';
import { type KernelCore, negErrno } from './core.ts';
import { KERN_INFO, KERN_WARNING } from './printk.ts';
import { holds, type Since } from './release.ts';
import { storeInteger } from './store_integer.ts';
import { UAPI } from './uapi.ts';
import { type FormatContext, vsprintfGuest } from './vsprintf.ts';
import { vsscanf } from './vsscanf.ts';

const INT_MAX = 0x7fffffffn;
/** A WARN() traps with its words, and its cut is at KERN_INFO: those of the machine's own text are told so, too. */
const CUT_IS_INFO: Since = { release: '6.19', seen: '7.3.4', not: '6.18.15' };

/** Writes text and a NUL into `size` bytes at buf, cut where it must be. @returns the uncut length. */
export function writeCut(mem: GuestMemory, buf: Addr, size: bigint, text: string): number {
  if (size <= 0n) return text.length;
  const room = size - 1n < BigInt(text.length) ? Number(size - 1n) : text.length;
  const bytes = new Uint8Array(room + 1);
  for (let i = 0; i < room; i++) bytes[i] = text.charCodeAt(i);
  mem.writeBytes(buf, bytes);
  return text.length;
}

/** What formats need to know of the kernel. The key of %p comes of the machine's seed. */
export function formatContext(core: KernelCore): FormatContext {
  const { mem, symbols, kernel, arch } = core;
  return { mem, kernel, symbols, varargs: arch.varargs, ptrKey: core.random.next() };
}

/** Defines the host functions that asm/x86_64/lib.s names; kasprintf() is with the heap, in src/mm. */
export function defineLib(core: KernelCore, ctx: FormatContext): void {
  core.host.defineAll({
    ...printkFunctions(core, ctx),
    ...formatFunctions(core, ctx),
    ...numberFunctions(core),
  });
}

function printkFunctions(core: KernelCore, ctx: FormatContext): Record<string, HostFunction> {
  const { mem, printk } = core;
  const cutLevel = holds(core.kernel, CUT_IS_INFO) ? KERN_INFO : KERN_WARNING;
  const emit = (format: Addr, args: ArgSource, level?: number): number =>
    printk.guest(vsprintfGuest(ctx, format, args), level);
  core.host.offerAll({
    // Of devices: who it is of is in the text, and once more in what /dev/kmsg has of it alone.
    vprintk_emit: ({ args: [, level, , format, list] }) =>
      emit(format, core.arch.varargs.vaList(mem, list), levelAsked(level)),
  });
  return {
    _printk: (call) => emit(call.args[0], core.arch.varargs.callArgs(mem, call, 1)),
    _printk_deferred: (call) => emit(call.args[0], core.arch.varargs.callArgs(mem, call, 1)),
    vprintk: (call) => emit(call.args[0], core.arch.varargs.vaList(mem, call.args[1])),
    // WARN(): the text comes before the ud2 that reports where.
    __warn_printk: (call) => {
      printk.log(cutLevel, '------------[ cut here ]------------');
      emit(call.args[0], core.arch.varargs.callArgs(mem, call, 1));
    },
    // Nothing is held back.
    ___ratelimit: () => 1,
  };
}

/** LOGLEVEL_DEFAULT and LOGLEVEL_SCHED leave it to the text. */
export function levelAsked(level: bigint): number | undefined {
  const asked = Number(BigInt.asIntN(32, level));
  return asked < 0 ? undefined : asked;
}

/** The text of a call, given where its format is and how many named arguments it has. */
type TextOf = (call: HostCall) => string;

function formatFunctions(core: KernelCore, ctx: FormatContext): Record<string, HostFunction> {
  const { mem } = core;
  const variadic =
    (fmt: number): TextOf =>
    (call) =>
      vsprintfGuest(ctx, call.args[fmt], core.arch.varargs.callArgs(mem, call, fmt + 1));
  const listed =
    (fmt: number): TextOf =>
    (call) =>
      vsprintfGuest(ctx, call.args[fmt], core.arch.varargs.vaList(mem, call.args[fmt + 1]));
  const bounded =
    (textOf: TextOf, result: (length: number, size: bigint) => number): HostFunction =>
    (call) => {
      const size = call.args[1];
      return size > INT_MAX ? 0 : result(writeCut(mem, call.args[0], size, textOf(call)), size);
    };
  // The n variants return what would have been written, the cn variants what was.
  const whole = (length: number): number => length;
  const written = (length: number, size: bigint): number =>
    BigInt(length) < size ? length : Math.max(Number(size) - 1, 0);
  const unbounded =
    (textOf: TextOf): HostFunction =>
    (call) =>
      writeCut(mem, call.args[0], INT_MAX, textOf(call));
  return {
    snprintf: bounded(variadic(2), whole),
    scnprintf: bounded(variadic(2), written),
    vsnprintf: bounded(listed(2), whole),
    vscnprintf: bounded(listed(2), written),
    sprintf: unbounded(variadic(1)),
    vsprintf: unbounded(listed(1)),
    sscanf: (call) => vsscanf(mem, call.args[0], call.args[1], core.arch.varargs.callArgs(mem, call, 2)),
    vsscanf: (call) => vsscanf(mem, call.args[0], call.args[1], core.arch.varargs.vaList(mem, call.args[2])),
  };
}

/** The digits at the start of a text in a base; base 0 reads 0x and 0 prefixes. */
export function leadingNumber(text: string, base: number): { value: bigint; rest: string; digits: number } {
  let digits = text;
  let radix = base;
  if (radix === 0) radix = /^0[xX][0-9a-fA-F]/.test(text) ? 16 : text.startsWith('0') ? 8 : 10;
  if (radix === 16 && /^0[xX]/.test(text)) digits = text.slice(2);
  let value = 0n;
  let n = 0;
  for (; n < digits.length; n++) {
    const digit = Number.parseInt(digits[n], 36);
    if (Number.isNaN(digit) || digit >= radix) break;
    value = value * BigInt(radix) + BigInt(digit);
  }
  return { value, rest: digits.slice(n), digits: n };
}

/** _kstrtoull(): the whole text must be one number, a final newline allowed. A number, or -errno. */
export function kstrtoull(text: string, base: number): bigint | number {
  const { value, rest, digits } = leadingNumber(text.startsWith('+') ? text.slice(1) : text, base);
  if (digits === 0) return -UAPI.EINVAL;
  if (value > 0xffff_ffff_ffff_ffffn) return -UAPI.ERANGE;
  if (rest !== '' && rest !== '\n') return -UAPI.EINVAL;
  return value;
}

/** kstrtoll() */
export function kstrtoll(text: string, base: number): bigint | number {
  const negative = text.startsWith('-');
  const value = kstrtoull(negative ? text.slice(1) : text, base);
  if (typeof value === 'number') return value;
  if (negative && text[1] === '+') return -UAPI.EINVAL;
  const signed = negative ? -value : value;
  return BigInt.asIntN(64, signed) === signed ? signed : -UAPI.ERANGE;
}

/** kstrtobool(): y Y t T 1 and n N f F 0, on and off in any case. */
export function kstrtobool(text: string): boolean | undefined {
  const word = text.slice(0, 2).toLowerCase();
  if (/^[yt1]/.test(word) || word === 'on') return true;
  if (/^[nf0]/.test(word) || word === 'of') return false;
  return undefined;
}

interface IntegerType {
  readonly bytes: number;
  readonly signed: boolean;
}

/** A number of a C type in text, or -errno. */
export function parseInteger(text: string, base: number, type: IntegerType): bigint | number {
  const value = type.signed ? kstrtoll(text, base) : kstrtoull(text, base);
  if (typeof value === 'number') return value;
  const bits = type.bytes * 8;
  const fits = (type.signed ? BigInt.asIntN(bits, value) : BigInt.asUintN(bits, value)) === value;
  return fits ? value : -UAPI.ERANGE;
}

const KSTRTO: Readonly<Record<string, IntegerType>> = {
  kstrtoull: { bytes: 8, signed: false },
  kstrtoll: { bytes: 8, signed: true },
  _kstrtoul: { bytes: 8, signed: false },
  _kstrtol: { bytes: 8, signed: true },
  kstrtouint: { bytes: 4, signed: false },
  kstrtoint: { bytes: 4, signed: true },
  kstrtou16: { bytes: 2, signed: false },
  kstrtos16: { bytes: 2, signed: true },
  kstrtou8: { bytes: 1, signed: false },
  kstrtos8: { bytes: 1, signed: true },
};

function numberFunctions(core: KernelCore): Record<string, HostFunction> {
  const { mem } = core;
  const functions: Record<string, HostFunction> = {};
  for (const [name, type] of Object.entries(KSTRTO)) {
    functions[name] = (call) => {
      const value = parseInteger(mem.readCString(call.args[0]), Number(call.args[1] & 0xffffffffn), type);
      if (typeof value === 'number') return negErrno(-value);
      storeInteger(mem, call.args[2], value, type.bytes);
      return 0;
    };
  }
  functions.kstrtobool = (call) => {
    const value = call.args[0] === 0n ? undefined : kstrtobool(mem.readCString(call.args[0], 8));
    if (value === undefined) return negErrno(UAPI.EINVAL);
    mem.writeU8(call.args[1], Number(value));
    return 0;
  };
  for (const name of ['simple_strtoull', 'simple_strtoul', 'simple_strtoll', 'simple_strtol']) {
    functions[name] = (call) => simpleStrto(mem, call, name.endsWith('toll') || name.endsWith('tol'));
  }
  return functions;
}

/** simple_strto*(cp, endp, base): as much as reads like a number; *endp is what follows. */
function simpleStrto(mem: GuestMemory, call: HostCall, signed: boolean): bigint {
  const [start, endp, base] = call.args;
  const text = mem.readCString(start);
  const negative = signed && text.startsWith('-');
  const { value, rest } = leadingNumber(negative ? text.slice(1) : text, Number(base & 0xffffffffn));
  if (endp !== 0n) mem.writeU64(endp, start + BigInt(text.length - rest.length));
  return BigInt.asUintN(64, negative ? -value : value);
}
