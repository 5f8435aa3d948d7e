// The instructions of all text sections: their kinds, stack operations, and where they may go.
// Mirrors struct instruction of tools/objtool/include/objtool/check.h, in columns.
//
// Invariant: an instruction is its number, 0 being none; those of one section are consecutive
// and in order. Numbers from `count` on are the no-ops that fill up short replacements.

import { INSN_JUMP, INSN_JUMP_CONDITIONAL, INSN_JUMP_DYNAMIC } from '../arch/code.ts';
import { ObjtoolError } from './error.ts';
import type { CodeMark, ObjtoolInput } from './input.ts';

export * from '../arch/code.ts';

export const IN_DEAD_END = 1;
export const IN_HINT = 2;
export const IN_SAVE = 4;
export const IN_RESTORE = 8;
export const IN_VISITED = 16;
/** Not to be looked at: its function asked for that. */
export const IN_IGNORE = 32;
export const IN_IGNORE_ALTS = 64;
/** Has rows in `alts`. */
export const IN_ALTS = 128;
/** Has a row in `altGroups`. */
export const IN_ALT_GROUP = 256;
/** The last of its section, or before bytes that are no instruction. */
export const IN_LAST = 512;
/** A jump that a table in .rodata gives its targets. */
export const IN_JUMP_TABLE = 1024;
/** First of an original or a replacement that is not to be looked at; the other ways are. */
export const IN_IGNORE_ARM = 2048;
/** A call that stays within its function. */
export const IN_INNER_CALL = 4096;

/** Code that may be replaced, or the replacement: a run of instructions. */
export interface AltGroup {
  /** Of a replacement, what it replaces. */
  readonly original: AltGroup | undefined;
  readonly first: number;
  readonly last: number;
  /** The state at each byte offset, shared by an original and its replacement. */
  readonly cfi: Int32Array;
}

export interface Undecoded {
  readonly section: number;
  readonly start: number;
  readonly end: number;
}

export interface Code {
  readonly input: ObjtoolInput;
  /** One more than the last instruction of a section. */
  count: number;
  /** Section of each instruction, and its offset there. */
  readonly section: Uint32Array;
  readonly offset: Int32Array;
  readonly length: Uint8Array;
  readonly type: Uint8Array;
  readonly flags: Uint16Array;
  /** The symbol of the function that it belongs to; 0 outside any. */
  readonly func: Int32Array;
  readonly opCode: Int32Array;
  readonly opOffset: Int32Array;
  readonly jumpDest: Int32Array;
  /** Symbol that a call or a tail call goes to. */
  readonly callDest: Int32Array;
  /** The state before the instruction. */
  readonly cfi: Int32Array;
  /** Further ways on. */
  readonly alts: Map<number, number[]>;
  readonly altGroups: Map<number, AltGroup>;
  /** By section: first instruction and one past the last. */
  readonly firstOf: Int32Array;
  readonly endOf: Int32Array;
  /** By symbol: of a cold part the function that it was split from, else itself. */
  readonly parent: Int32Array;
  /** By symbol: the cold part of a function; 0 for none. */
  readonly cold: Int32Array;
  /** By symbol: 1 for a function that nothing calls. */
  readonly entry: Uint8Array;
  /** Symbols of callable functions, without aliases, by section and offset. */
  readonly funcs: readonly number[];
  readonly warnings: string[];
  /** Bytes of text that are no instructions, by section and offset; what follows them starts anew. */
  readonly undecoded: readonly Undecoded[];
  /** Instructions looked at more than once, of which there is a bound. */
  steps: number;
  at(section: number, offset: number): number;
  release(): void;
}

/** The callable function that an instruction belongs to; 0 for none. */
export const callableAt = ({ func, entry }: Code, insn: number): number =>
  entry[func[insn]] ? 0 : func[insn];

export const find = (code: Code, mark: CodeMark): number => code.at(mark.section, mark.offset);

/** A jump out of a callable function to another one. */
export function isSiblingCall(code: Code, insn: number): boolean {
  if (callableAt(code, insn) === 0) return false;
  const type = code.type[insn];
  if (type === INSN_JUMP_DYNAMIC) return !isJumpTableJump(code, insn);
  return (type === INSN_JUMP || type === INSN_JUMP_CONDITIONAL) && code.callDest[insn] !== 0;
}

function isJumpTableJump(code: Code, insn: number): boolean {
  const flags = code.flags[insn];
  if (flags & IN_JUMP_TABLE) return true;
  if (!(flags & IN_ALT_GROUP)) return false;
  // A retpoline in place of a jump through a table.
  const original = code.altGroups.get(insn)?.original;
  return original !== undefined && (code.flags[original.first] & IN_JUMP_TABLE) !== 0;
}

/** The next instruction, or 0 where none follows at once. */
export const nextInSection = (code: Code, insn: number): number =>
  code.flags[insn] & IN_LAST || insn >= code.count ? 0 : insn + 1;

/** Visits the instructions of a function, then those of its cold part; stops when `visit` says true. */
export function someInsnOfFunc(code: Code, func: number, visit: (insn: number) => boolean): boolean {
  const { section, value } = code.input.symbols;
  for (let part = func, parts = 0; part !== 0 && parts < 2; part = code.cold[part], parts++) {
    const end = code.endOf[section[part]];
    for (let insn = code.at(section[part], value[part]); insn !== 0 && insn < end; insn++) {
      if (code.func[insn] !== part) break;
      code.steps++;
      if (visit(insn)) return true;
    }
  }
  // Any number of functions may claim one large cold part.
  if (code.steps > STEPS_PER_INSN * code.count + MIN_STEPS)
    throw new ObjtoolError('functions share too much code');
  return false;
}

const STEPS_PER_INSN = 64;
const MIN_STEPS = 1_000_000;

/** `name+0x12`, as objtool gives places. */
export function placeName(code: Code, insn: number): string {
  const { symbols, sections } = code.input;
  const offset = code.offset[insn];
  const section = code.section[insn];
  const inside = (s: number): boolean =>
    symbols.section[s] === section &&
    offset >= symbols.value[s] &&
    offset < symbols.value[s] + symbols.size[s];
  let symbol = code.func[insn] !== 0 && inside(code.func[insn]) ? code.func[insn] : 0;
  for (let s = 1; symbol === 0 && s < symbols.count; s++) if (inside(s) && symbols.name(s) !== '') symbol = s;
  return symbol === 0
    ? `${sections[section].name}+0x${offset.toString(16)}`
    : `${symbols.name(symbol)}+0x${(offset - symbols.value[symbol]).toString(16)}`;
}

export function warn(code: Code, insn: number, text: string): void {
  // A broken object could fill the memory with them.
  if (code.warnings.length < MAX_WARNINGS) code.warnings.push(`${placeName(code, insn)}: ${text}`);
}

export const MAX_WARNINGS = 1000;
