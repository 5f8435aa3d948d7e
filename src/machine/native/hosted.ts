// Which symbols of the machine's own text and data stand for those of a real kernel, and how.
//
// A function of both is *hosted*: the real one's entry jumps to ours, and the symbol's address is ours, so that there is
// one live body whoever calls it. A few are *native*: what refers to ours goes to the real one. Data that both have is the
// real kernel's, with what ours begins with, so that native and hosted code see one of it.
//
// Invariant: a name is one object or none; of a name that the real kernel has several times that one is taken which is
// said, or none.

import type { AsmImage, AsmSymbol } from '../../asm/assembler.ts';
import type { Addr } from '../../guest/addr.ts';
import type { NativeKernel } from './native_kernel.ts';

/** Functions of both of which the real one runs. */
const NATIVE_FUNCTIONS: ReadonlySet<string> = new Set(['cmdline_proc_show', 'version_proc_show']);
/** What fentry sites call on disk. */
const NATIVE_CODE: ReadonlySet<string> = new Set(['__fentry__']);
/**
 * Static functions that the real kernel has several of by their names: beside which other symbol of the same .c file the
 * one is that ours stands for.
 */
const BESIDE: ReadonlyMap<string, string> = new Map([
  ['enabled_show', 'klp_enable_patch'],
  ['enabled_store', 'klp_enable_patch'],
  ['force_store', 'klp_enable_patch'],
  ['m_show', 'modules_open'],
  ['s_show', 'kallsyms_open'],
  ['proc_single_open', 'proc_seq_open'],
  ['default_read_file', 'debugfs_create_u8'],
  ['default_write_file', 'debugfs_create_u8'],
]);
/** Marks where text begins and ends, which are no functions. */
const MARK = /_(?:start|end)$/;
/** jmp rel32 */
const JUMP_SIZE = 5;
const PERCPU = '.data..percpu';
const WRITABLE: ReadonlySet<string> = new Set(['.data', '.bss', PERCPU]);

interface NativeSymbol {
  readonly addr: Addr;
  readonly size: number;
  readonly isPercpu: boolean;
}

export interface Hosting {
  /** Symbols that are where the real kernel has them, by name. */
  readonly places: ReadonlyMap<string, Addr>;
  /** Functions whose real entry jumps to ours: of each where that is. */
  readonly jumps: ReadonlyMap<string, Addr>;
  /** Addresses of real symbols, by name, that ours are instead: of what is jumped away from, and of data that is ours alone. */
  readonly ours: ReadonlyMap<string, Addr>;
  /** Bytes of the real functions that are jumped away from, by address. */
  readonly replaced: readonly { readonly addr: Addr; readonly size: number }[];
}

/** @param image ours, in any place */
export function hostingOf(image: AsmImage, native: NativeKernel): Hosting {
  const unique = uniqueSymbols(native);
  const places = new Map<string, Addr>();
  const jumps = new Map<string, Addr>();
  const ours = new Map<string, Addr>();
  const replaced: { addr: Addr; size: number }[] = [];
  const counts = new Map<string, number>();
  for (const { name } of image.symbols) counts.set(name, (counts.get(name) ?? 0) + 1);
  for (const symbol of image.symbols) {
    const real = unique.get(symbol.name);
    if (!real || counts.get(symbol.name) !== 1) continue;
    if (isData(symbol)) {
      if (real.isPercpu === (symbol.section === PERCPU) && symbol.size <= real.size)
        places.set(symbol.name, real.addr);
    } else if (isFunction(symbol)) {
      if (NATIVE_FUNCTIONS.has(symbol.name) || NATIVE_CODE.has(symbol.name))
        places.set(symbol.name, real.addr);
      else if (real.size >= JUMP_SIZE) {
        jumps.set(symbol.name, real.addr);
        replaced.push({ addr: real.addr, size: real.size });
      }
    }
  }
  for (const { name, section } of image.symbols) {
    const isKernel = !section.startsWith('.user') && section !== PERCPU;
    const real = unique.get(name);
    if (isKernel && real && !places.has(name)) ours.set(name, real.addr);
  }
  replaced.sort((a, b) => (a.addr < b.addr ? -1 : 1));
  return { places, jumps, ours, replaced };
}

/** Labels, as of a name for another one's first word, count as what they stand in. */
const isData = ({ section, name, global }: AsmSymbol): boolean =>
  WRITABLE.has(section) && global && !name.startsWith('__bug_table_') && !name.startsWith('__ex_table_');

const isFunction = ({ section, type, name }: AsmSymbol): boolean =>
  section === '.text' && (type === 'func' || type === 'code') && !MARK.test(name);

/** By name, those of which there is one, or one of several that BESIDE tells. */
function uniqueSymbols({ symbols }: NativeKernel): ReadonlyMap<string, NativeSymbol> {
  const { names } = symbols;
  const first = new Map<string, number>();
  const several = new Map<string, number[]>();
  for (let i = 0; i < names.length; i++) {
    const before = first.get(names[i]);
    if (before === undefined) first.set(names[i], i);
    else several.set(names[i], [...(several.get(names[i]) ?? [before]), i]);
  }
  const found = new Map<string, NativeSymbol>();
  for (const [name, i] of first) if (!several.has(name)) found.set(name, symbolAt(symbols, i));
  for (const [name, beside] of BESIDE) {
    const anchor = found.get(beside);
    const all = several.get(name)?.map((i) => symbolAt(symbols, i)) ?? [];
    const distance = ({ addr }: NativeSymbol): number => Math.abs(Number(addr - (anchor?.addr ?? 0n)));
    if (anchor && all.length > 0)
      found.set(
        name,
        all.reduce((a, b) => (distance(b) < distance(a) ? b : a)),
      );
  }
  return found;
}

/** Its size reaches to the next address that has a symbol. */
function symbolAt({ low, high, types, names }: NativeKernel['symbols'], i: number): NativeSymbol {
  let next = i + 1;
  while (next < names.length && low[next] === low[i] && high[next] === high[i]) next++;
  const size = next < names.length && high[next] === high[i] ? low[next] - low[i] : 0;
  const isPercpu = isAbsolute(types[i]) && high[i] === 0;
  return { addr: (BigInt(high[i]) << 32n) | BigInt(low[i]), size, isPercpu };
}

const isAbsolute = (type: number): boolean => type === 'A'.charCodeAt(0) || type === 'a'.charCodeAt(0);
