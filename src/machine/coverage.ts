// Which functions and blocks of the guest's kernel and modules were executed, by the engine's own counts.
//
// A block begins at a function's entry, behind a branch and where one leads. It was executed when its first instruction was; what
// only pads a function is none.
//
// Invariant: it is of the code that is there when it is asked for; what was executed elsewhere (modules that are gone,
// trampolines, user programs) is counted as instructions, and in no function.

import {
  INSN_JUMP,
  INSN_JUMP_CONDITIONAL,
  INSN_JUMP_DYNAMIC,
  INSN_NOP,
  INSN_RETURN,
  INSN_TRAP,
} from '../arch/code.ts';
import type { Addr } from '../guest/addr.ts';
import { EngineError } from '../guest/engine.ts';
import type { KernelSymbol } from '../kernel/kallsyms.ts';
import type { Inspect } from './inspect.ts';

interface BlockCoverage {
  /** From the function's entry. */
  readonly offset: number;
  /** Times that its first instruction was executed. */
  readonly count: number;
}

export interface FunctionCoverage {
  readonly name: string;
  /** Undefined for the kernel's own. */
  readonly module?: string;
  readonly blocks: readonly BlockCoverage[];
}

export interface Coverage {
  readonly functions: readonly FunctionCoverage[];
  /** Different instructions that were executed, and how many of them in no function that is there. */
  readonly instructions: number;
  readonly elsewhere: number;
  /** There was room for all counts. */
  readonly complete: boolean;
}

/** Counts from now on. @throws EngineError for an engine that observes nothing */
export function startCoverage({ executor }: Inspect): void {
  if (!executor.observer)
    throw new EngineError('coverage takes the processor of our own: this engine counts nothing');
  executor.observer.count(true);
}

/** What was executed since. */
export function coverageOf({ core, executor }: Inspect): Coverage {
  const { executed = new Map<Addr, number>(), complete = false } = executor.observer?.counts() ?? {};
  const kernel = [...executed.keys()].filter((addr) => addr >> 63n !== 0n);
  let inside = 0;
  const functions: FunctionCoverage[] = [];
  for (const symbol of functionsOf(core.symbols.all())) {
    const found = blocksOf(core, symbol);
    if (!found) continue;
    inside += found.starts.filter((at) => executed.has(symbol.addr + BigInt(at))).length;
    const blocks = found.blocks.map((offset) => ({
      offset,
      count: executed.get(symbol.addr + BigInt(offset)) ?? 0,
    }));
    const { name, module } = symbol;
    functions.push({ name, ...(module === undefined ? {} : { module }), blocks });
  }
  return { functions, instructions: kernel.length, elsewhere: kernel.length - inside, complete };
}

type Symbol = KernelSymbol & { readonly module?: string };

/** Of several names of one place the first. */
function* functionsOf(symbols: Iterable<Symbol>): IterableIterator<Symbol> {
  const seen = new Set<Addr>();
  for (const symbol of symbols) {
    if (!/^[tTwW]$/.test(symbol.type) || sizeOf(symbol) === 0 || seen.has(symbol.addr)) continue;
    seen.add(symbol.addr);
    yield symbol;
  }
}

const sizeOf = ({ size, ownSize }: Symbol): number => ownSize ?? size;

/** Offsets of blocks and of instructions; undefined where there is no code. */
function blocksOf(
  { arch, mem }: Inspect['core'],
  symbol: Symbol,
): { readonly blocks: number[]; readonly starts: number[] } | undefined {
  const size = sizeOf(symbol);
  const insn = arch.code?.decoder();
  if (!insn || !mem.isMapped(symbol.addr, size)) return undefined;
  const bytes = new Uint8Array(size + arch.longestInsn);
  bytes.set(mem.readBytes(symbol.addr, size));
  const starts: number[] = [];
  const fillers = new Set<number>();
  const leaders = new Set([0]);
  for (let at = 0; at < size; ) {
    insn.decode(bytes, at);
    if (insn.length === 0) break;
    starts.push(at);
    const { type, target } = insn;
    if (type === INSN_NOP || type === INSN_TRAP) fillers.add(at);
    at += insn.length;
    if (type === INSN_JUMP || type === INSN_JUMP_CONDITIONAL) leaders.add(target);
    if (
      type === INSN_JUMP ||
      type === INSN_JUMP_CONDITIONAL ||
      type === INSN_JUMP_DYNAMIC ||
      type === INSN_RETURN
    )
      leaders.add(at);
  }
  const blocks = starts.filter((at, i) => leaders.has(at) && !isPadding(starts, i, leaders, fillers));
  return blocks.length > 0 ? { blocks, starts } : undefined;
}

/** Nothing but what fills room, up to the next block. */
function isPadding(
  starts: readonly number[],
  first: number,
  leaders: ReadonlySet<number>,
  fillers: ReadonlySet<number>,
): boolean {
  for (let i = first; i < starts.length && (i === first || !leaders.has(starts[i])); i++)
    if (!fillers.has(starts[i])) return false;
  return first > 0;
}
