// What the ORC generator is given: text, symbols, and what the bytes alone do not tell.
// An assembled image fills it from its symbols and hints; a .ko would fill it from its
// relocations as well.

import type { AsmImage } from '../isa/assembler.ts';

export interface CodeSymbol {
  readonly name: string;
  readonly section: string;
  readonly offset: number;
  readonly size: number;
  readonly global: boolean;
  /** `func` is entered by a call with the usual frame (STT_FUNC); `code` may be entered in any way. */
  readonly type: 'func' | 'code';
}

/** Where a relocated branch goes. Without a section it is a symbol of another object. */
export interface BranchTarget {
  readonly name: string;
  readonly section?: string;
  readonly offset?: number;
}

export interface CodeSection {
  readonly name: string;
  readonly addr: bigint;
  readonly bytes: Uint8Array;
  /** Stands in for other code (`.altinstr_*`): followed, and left out of the table. */
  readonly replacement?: boolean;
  /** By offset of the displacement; branches that are not here go where their displacement says. */
  readonly targets?: ReadonlyMap<number, BranchTarget>;
}

export type CodeHintKind =
  | 'empty'
  | 'entry'
  | 'regs'
  | 'regs_partial'
  | 'iret_regs'
  | 'func'
  | 'save'
  | 'restore'
  | 'undefined';

export interface CodeHint {
  readonly section: string;
  readonly offset: number;
  readonly kind: CodeHintKind;
  /** Register name, in parentheses when it points to the place. */
  readonly base: string;
  readonly frameOffset: number;
}

export interface CodeMark {
  readonly section: string;
  readonly offset: number;
}

export interface ObjtoolInput {
  readonly sections: readonly CodeSection[];
  readonly symbols: readonly CodeSymbol[];
  readonly hints: readonly CodeHint[];
  /** Functions that never return, beside those that objtool knows. */
  readonly noreturn: ReadonlySet<string>;
  /** Instructions after which nothing runs. */
  readonly deadEnds: readonly CodeMark[];
  /** ud2 after which execution goes on (WARN). */
  readonly reachable?: readonly CodeMark[];
  /** Ways that no branch shows: jump labels, exception tables, jump tables. */
  readonly edges?: readonly { readonly from: CodeMark; readonly to: CodeMark }[];
}

/** The kernel text of an assembled image. User text has no ORC. */
export function inputFromImage(image: AsmImage): ObjtoolInput {
  const text = image.sections.find((s) => s.name === '.text');
  if (!text) return { sections: [], symbols: [], hints: [], noreturn: new Set(), deadEnds: [] };
  const end = text.addr + BigInt(text.size);
  const mark = (addr: bigint): CodeMark => ({ section: text.name, offset: Number(addr - text.addr) });
  const inside = (addr: bigint): boolean => addr >= text.addr && addr < end;
  const symbols: CodeSymbol[] = [];
  for (const { name, addr, size, global, section, type } of image.symbols) {
    if (section !== text.name || (type !== 'func' && type !== 'code')) continue;
    symbols.push({ name, ...mark(addr), size, global, type });
  }
  return {
    sections: [{ name: text.name, addr: text.addr, bytes: text.bytes }],
    symbols,
    hints: image.hints
      .filter((h) => inside(h.addr))
      .map((h) => ({ ...mark(h.addr), kind: h.kind, base: h.base, frameOffset: h.offset })),
    noreturn: new Set(image.noreturn),
    deadEnds: image.deadEnds.filter(inside).map(mark),
  };
}
