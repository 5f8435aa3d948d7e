// The kernel's format language, over arguments as guest code passes them.
// Mirrors lib/vsprintf.c: format_decode, number, string, pointer, vsnprintf.
//
// Text is a string of latin1 characters, one a guest byte. The whole result is returned; who has a
// buffer cuts it (vsnprintf's return value is the length before the cut).

import type { ArgSource, Varargs } from '../arch/varargs.ts';
import type { Addr } from '../guest/addr.ts';
import { type GuestMemory, GuestMemoryError } from '../guest/memory.ts';
import type { KernelDescription } from './description.ts';
import { errnoName } from './errno.ts';
import { gfpFlagsText } from './gfp.ts';
import type { Kallsyms } from './kallsyms.ts';

export interface FormatContext {
  readonly mem: GuestMemory;
  readonly kernel: Pick<KernelDescription, 'structs' | 'constants'>;
  readonly symbols: Kallsyms;
  /** How guest code passes what a format takes. */
  readonly varargs: Varargs;
  /** Key of the hash that plain %p prints; 32 bits. */
  readonly ptrKey: number;
}

const LEFT = 2;
const PLUS = 4;
const SPACE = 8;
const ZEROPAD = 16;
const SPECIAL = 64;
const FLAG: Readonly<Record<string, number>> = {
  '-': LEFT,
  '+': PLUS,
  ' ': SPACE,
  '#': SPECIAL,
  '0': ZEROPAD,
};

const FIELD_WIDTH_MAX = (1 << 23) - 1;
const PRECISION_MAX = (1 << 15) - 1;

interface Spec {
  flags: number;
  /** -1: none given. */
  width: number;
  /** -1: none given. */
  precision: number;
}

/** The text that vsnprintf() makes of a format and its arguments. */
export function vsprintf(ctx: FormatContext, format: string, args: ArgSource): string {
  return new Formatter(ctx, format, args).run();
}

/** The same, for a format in guest memory. A bad format pointer prints as the kernel's %s of it. */
export function vsprintfGuest(ctx: FormatContext, format: Addr, args: ArgSource): string {
  return vsprintf(ctx, guestString(ctx.mem, format) ?? '(efault)', args);
}

class Formatter {
  readonly #ctx: FormatContext;
  readonly #fmt: string;
  readonly #args: ArgSource;
  #at = 0;

  constructor(ctx: FormatContext, fmt: string, args: ArgSource) {
    this.#ctx = ctx;
    this.#fmt = fmt;
    this.#args = args;
  }

  run(): string {
    let out = '';
    for (;;) {
      const percent = this.#fmt.indexOf('%', this.#at);
      if (percent < 0) return out + this.#fmt.slice(this.#at);
      out += this.#fmt.slice(this.#at, percent);
      this.#at = percent + 1;
      const piece = this.#conversion();
      // An unknown conversion leaves format and arguments out of step: the kernel stops there too.
      if (piece === undefined) return out;
      out += piece;
    }
  }

  #conversion(): string | undefined {
    const spec = this.#spec();
    const qualifier = this.#qualifier();
    const conversion = this.#fmt[this.#at++];
    switch (conversion) {
      case '%':
        return '%';
      case 'c':
        return widen(String.fromCharCode(Number(this.#args() & 0xffn)), spec);
      case 's':
        return this.#string(this.#args(), spec);
      case 'p':
        return this.#pointer(this.#args(), spec);
      case 'd':
      case 'i':
        return number(BigInt.asIntN(bits(qualifier), this.#args()), 10, spec, true);
      case 'u':
        return number(BigInt.asUintN(bits(qualifier), this.#args()), 10, spec, false);
      case 'o':
        return number(BigInt.asUintN(bits(qualifier), this.#args()), 8, spec, false);
      case 'x':
        return number(BigInt.asUintN(bits(qualifier), this.#args()), 16, spec, false);
      case 'X':
        return number(BigInt.asUintN(bits(qualifier), this.#args()), 16, spec, false).toUpperCase();
      default:
        return undefined;
    }
  }

  #spec(): Spec {
    const spec: Spec = { flags: 0, width: -1, precision: -1 };
    for (let flag = FLAG[this.#fmt[this.#at]]; flag !== undefined; flag = FLAG[this.#fmt[this.#at]]) {
      spec.flags |= flag;
      this.#at++;
    }
    const width = this.#count();
    if (width !== undefined) {
      if (width < 0) spec.flags |= LEFT;
      spec.width = Math.min(Math.abs(width), FIELD_WIDTH_MAX);
    }
    if (this.#fmt[this.#at] === '.') {
      this.#at++;
      // As in the kernel, a lone '.' leaves the precision unset.
      const precision = this.#count();
      if (precision !== undefined) spec.precision = Math.min(Math.max(precision, 0), PRECISION_MAX);
    }
    return spec;
  }

  /** A number, or '*' for the next argument. */
  #count(): number | undefined {
    if (this.#fmt[this.#at] === '*') {
      this.#at++;
      return Number(BigInt.asIntN(32, this.#args()));
    }
    const digits = /^\d+/.exec(this.#fmt.slice(this.#at, this.#at + 12))?.[0];
    if (digits === undefined) return undefined;
    this.#at += digits.length;
    return Number(digits);
  }

  #qualifier(): string {
    const match = /^(?:hh|h|ll|l|L|z|t)/.exec(this.#fmt.slice(this.#at, this.#at + 2));
    this.#at += match?.[0].length ?? 0;
    return match?.[0] ?? '';
  }

  #string(addr: Addr, spec: Spec): string {
    const bad = checkPointer(addr);
    if (bad) return errorString(bad, spec);
    const text = guestString(this.#ctx.mem, addr, spec.precision);
    return text === undefined ? errorString('(efault)', spec) : widen(text, spec);
  }

  #pointer(ptr: Addr, spec: Spec): string {
    const suffix = /^[0-9A-Za-z]*/.exec(this.#fmt.slice(this.#at))?.[0] ?? '';
    this.#at += suffix.length;
    const { symbols } = this.#ctx;
    switch (suffix[0]) {
      case 'S':
        return widen(symbols.format(ptr), spec);
      case 's':
        return widen(symbolName(symbols, ptr), spec);
      case 'B':
        return widen(symbols.formatReturn(ptr), spec);
      case 'x':
        return pointerString(ptr, spec);
      case 'V':
        return this.#vaFormat(ptr, spec);
      case 'h':
        return this.#hexString(ptr, suffix[1], spec);
      case 'm':
      case 'M':
        return this.#bytes(ptr, 6, suffix[0] === 'M' ? ':' : '', spec);
      case 'e':
        return isErr(ptr) ? errPtr(ptr, spec) : this.#hashed(ptr, spec);
      case 'a':
        return this.#addressVal(ptr, suffix[1], spec);
      case 'G':
        return suffix[1] === 'g' ? this.#gfpFlags(ptr, spec) : this.#hashed(ptr, spec);
      default:
        return this.#hashed(ptr, spec);
    }
  }

  /** %pGg: a gfp_t by its address. */
  #gfpFlags(ptr: Addr, spec: Spec): string {
    const bad = checkPointer(ptr);
    const { mem, kernel } = this.#ctx;
    return bad ? errorString(bad, spec) : widen(gfpFlagsText(kernel.constants, mem.readU32(ptr)), spec);
  }

  /** %pV: struct va_format, a format and the va_list of its arguments. */
  #vaFormat(ptr: Addr, spec: Spec): string {
    const bad = checkPointer(ptr);
    if (bad) return errorString(bad, spec);
    const { mem, kernel, varargs } = this.#ctx;
    const { fmt, va } = kernel.structs.va_format.fields;
    const args = varargs.vaCopy(mem, mem.readU64(ptr + BigInt(va)));
    return vsprintfGuest(this.#ctx, mem.readU64(ptr + BigInt(fmt)), args);
  }

  /** %*ph: the field width is a number of bytes, 64 at most. */
  #hexString(ptr: Addr, separator: string | undefined, spec: Spec): string {
    if (spec.width === 0) return '';
    const bad = checkPointer(ptr);
    if (bad) return errorString(bad, spec);
    const between = separator === 'C' ? ':' : separator === 'D' ? '-' : separator === 'N' ? '' : ' ';
    const count = Math.min(spec.width > 0 ? spec.width : 1, 64);
    return this.#bytes(ptr, count, between, { flags: 0, width: -1, precision: -1 });
  }

  #bytes(ptr: Addr, count: number, between: string, spec: Spec): string {
    const bad = checkPointer(ptr);
    if (bad) return errorString(bad, spec);
    const bytes = [...this.#ctx.mem.view(ptr, count)];
    return widen(bytes.map((b) => b.toString(16).padStart(2, '0')).join(between), spec);
  }

  /** %pa, %pap, %pad: what the pointer points at, a physical or DMA address. */
  #addressVal(ptr: Addr, _kind: string | undefined, spec: Spec): string {
    const bad = checkPointer(ptr);
    if (bad) return errorString(bad, spec);
    return specialHex(this.#ctx.mem.readU64(ptr), 18);
  }

  /** Plain %p: a hash of the pointer, except for NULL and error pointers. */
  #hashed(ptr: Addr, spec: Spec): string {
    if (ptr === 0n || isErr(ptr)) return pointerString(ptr, spec);
    return pointerString(BigInt(hashPointer(ptr, this.#ctx.ptrKey)), spec);
  }
}

/** A 32-bit hash of a pointer: the same for the same key, in the place of the kernel's siphash. */
function hashPointer(ptr: Addr, key: number): number {
  let h = key >>> 0;
  for (const half of [Number(ptr & 0xffffffffn), Number((ptr >> 32n) & 0xffffffffn)]) {
    h = Math.imul(h ^ half, 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
    h ^= h >>> 16;
  }
  return h >>> 0;
}

function bits(qualifier: string): number {
  if (qualifier === 'hh') return 8;
  if (qualifier === 'h') return 16;
  return qualifier === '' ? 32 : 64;
}

/** number() of lib/vsprintf.c: sign, prefix, precision, field width. */
function number(value: bigint, base: 8 | 10 | 16, spec: Spec, signed: boolean): string {
  const negative = signed && value < 0n;
  const digits = (negative ? -value : value).toString(base);
  let sign = '';
  if (negative) sign = '-';
  else if (signed && spec.flags & PLUS) sign = '+';
  else if (signed && spec.flags & SPACE) sign = ' ';
  let prefix = '';
  if (spec.flags & SPECIAL && base === 16) prefix = '0x';
  else if (spec.flags & SPECIAL && base === 8 && value !== 0n) prefix = '0';
  const body = digits.padStart(spec.precision, '0');
  const room = spec.width - sign.length - prefix.length;
  if (spec.flags & LEFT) return sign + prefix + body.padEnd(room);
  if (spec.flags & ZEROPAD) return sign + prefix + body.padStart(room, '0');
  return (sign + prefix + body).padStart(spec.width);
}

/** widen_string(): pads to the field width. */
function widen(text: string, spec: Spec): string {
  return spec.flags & LEFT ? text.padEnd(spec.width) : text.padStart(spec.width);
}

function errorString(text: string, spec: Spec): string {
  return widen(text.slice(0, spec.precision === -1 ? 16 : spec.precision), spec);
}

function pointerString(ptr: Addr, spec: Spec): string {
  const wide = spec.width === -1 ? { ...spec, width: 16, flags: spec.flags | ZEROPAD } : spec;
  return number(BigInt.asUintN(64, ptr), 16, wide, false);
}

function specialHex(value: bigint, width: number): string {
  return number(value, 16, { flags: SPECIAL | ZEROPAD, width, precision: -1 }, false);
}

function errPtr(ptr: Addr, spec: Spec): string {
  const errno = Number(BigInt.asIntN(64, ptr));
  const name = errnoName(-errno);
  return name === undefined ? number(BigInt(errno), 10, spec, true) : widen(`-${name}`, spec);
}

/** %ps: the name and the module, no offset. */
export function symbolName(symbols: Kallsyms, ptr: Addr): string {
  const found = symbols.describe(ptr);
  if (!found) return `0x${BigInt.asUintN(64, ptr).toString(16)}`;
  return found.module === undefined ? found.name : `${found.name} [${found.module}]`;
}

function isErr(ptr: Addr): boolean {
  return BigInt.asIntN(64, ptr) < 0n && BigInt.asIntN(64, ptr) >= -4095n;
}

/** check_pointer_msg(): what is printed in the place of a pointer that cannot be followed. */
function checkPointer(ptr: Addr): string | undefined {
  if (ptr === 0n) return '(null)';
  if (ptr < 4096n || isErr(ptr)) return '(efault)';
  return undefined;
}

/** The string at an address, at most `precision` characters (-1: all); undefined where it is not mapped. */
function guestString(mem: GuestMemory, addr: Addr, precision = -1): string | undefined {
  try {
    return mem.readCString(addr, precision === -1 ? 1 << 16 : precision);
  } catch (error) {
    if (error instanceof GuestMemoryError) return undefined;
    throw error;
  }
}
