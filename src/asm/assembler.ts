// Assembles a guest kernel's sources into an image: bytes, symbols, fentry
// sites, unwind hints, exports. The syntax is described in asm/README.md.
//
// Invariant: the same sources and options give the same image, byte for byte; nothing in
// it refers to the engine, so it can be kept on disk with v8.serialize.

import { AsmError } from './error.ts';
import type { HintKind } from './hint.ts';
import { scopedKey } from './keys.ts';
import { Layout } from './layout.ts';
import type { AsmPort } from './port.ts';
import { Preprocessor, Scope } from './preprocess.ts';
import { type Label, type Mark, Program, type Section, type SymbolType } from './program.ts';
import { Reader } from './reader.ts';

export { AsmError };

export interface AsmSource {
  path: string;
  text: string;
}

export interface AsmSymbol {
  name: string;
  /** For `.data..percpu`, the offset in a CPU's area. */
  addr: bigint;
  size: number;
  type: SymbolType;
  global: boolean;
  section: string;
  file: string;
}

export interface AsmSection {
  name: string;
  addr: bigint;
  size: number;
  /** Empty for .bss. */
  bytes: Uint8Array;
}

export interface UnwindHint {
  addr: bigint;
  kind: HintKind;
  base: string;
  offset: number;
}

export interface AsmImage {
  /** In order of SECTIONS; sections without contents are left out. */
  sections: AsmSection[];
  /** Sorted by section, then address. */
  symbols: AsmSymbol[];
  fentrySites: bigint[];
  hints: UnwindHint[];
  exports: { name: string; gpl: boolean }[];
  /** Functions that never return. */
  noreturn: string[];
  /** Call instructions marked by ANNOTATE_NORETURN. */
  deadEnds: bigint[];
}

export interface AsmOptions {
  /** Section name to address; the others follow as usual. */
  bases?: Partial<Record<string, bigint>>;
  /**
   * Names of symbols that are somewhere else, and where: what refers to them goes there. The image has them at their own
   * addresses all the same, but for their fentry sites.
   */
  places?: ReadonlyMap<string, bigint>;
  /** Constants, seen by every source. One too large for 32 bits may be branched to. */
  defines?: Record<string, number | bigint>;
}

const isHeader = (path: string): boolean => path.endsWith('.inc');

function readSources(sources: readonly AsmSource[], options: AsmOptions, port: AsmPort): Program {
  const program = new Program();
  const shared = new Scope();
  for (const [name, value] of Object.entries(options.defines ?? {}))
    shared.constants.set(name, BigInt(value));
  const header = new Preprocessor(shared, port.isRegister);
  for (const { path, text } of sources.filter((s) => isHeader(s.path))) {
    for (const { place, text: found } of header.file(path, text)) {
      throw new AsmError(place, 'a header holds only macros and constants', found);
    }
  }
  for (const { path, text } of sources.filter((s) => !isHeader(s.path))) {
    new Reader(program, new Preprocessor(new Scope(shared), port.isRegister), port, path).read(text);
  }
  return program;
}

function toSymbol(layout: Layout, label: Label): AsmSymbol {
  return {
    name: label.name,
    addr: layout.address(label),
    size: layout.labelSize(label),
    type: label.type,
    global: label.global,
    section: label.section.name,
    file: label.file,
  };
}

function collectSymbols(program: Program, layout: Layout): AsmSymbol[] {
  const named = [...program.locals.values()].filter((l) => !/^(\.|\d)/.test(l.name));
  const symbols = [...program.globals.values(), ...named].map((label) => toSymbol(layout, label));
  const order = [...program.sections.keys()];
  return symbols.sort(
    (a, b) =>
      order.indexOf(a.section) - order.indexOf(b.section) ||
      (a.addr < b.addr ? -1 : a.addr > b.addr ? 1 : b.size - a.size),
  );
}

function checkNames(program: Program): void {
  for (const { name, place } of program.exports) {
    if (!program.globals.has(name)) throw new AsmError(place, `export of undefined symbol '${name}'`, name);
  }
  for (const { name, file, place } of program.noreturn) {
    if (!program.find(scopedKey(file, name))) throw new AsmError(place, `undefined symbol '${name}'`, name);
  }
}

/** Assembles all sources into one image. */
export function assembleImageFor(
  port: AsmPort,
  sources: readonly AsmSource[],
  options: AsmOptions,
): AsmImage {
  const program = readSources(sources, options, port);
  checkNames(program);
  const layout = new Layout(program, options.bases ?? {}, port.fillNops, options.places);
  const none = new Map<string, bigint>();
  const sections = [...program.sections.values()].map(
    (section: Section): AsmSection => ({
      name: section.name,
      addr: layout.bases.get(section.name) as bigint,
      size: layout.size(section.name),
      bytes: layout.bytes(section, none),
    }),
  );
  return {
    sections: sections.filter((s) => s.size > 0),
    symbols: collectSymbols(program, layout),
    fentrySites: program.fentry
      .filter((mark) => !isElsewhere(program, layout, mark))
      .map((mark) => layout.address(mark)),
    hints: program.hints.map((mark) => ({ addr: layout.address(mark), ...mark.hint })),
    exports: program.exports.map(({ name, gpl }) => ({ name, gpl })),
    noreturn: [...new Set(program.noreturn.map(({ name }) => name))],
    deadEnds: program.deadEnds.map((mark) => layout.address(mark)),
  };
}

/** Whether a mark is in a function that another one stands for. */
function isElsewhere(program: Program, layout: Layout, { section, item }: Mark): boolean {
  const labels = [...program.globals.values(), ...program.locals.values()];
  return labels.some(
    (label) =>
      label.type === 'func' &&
      label.section === section &&
      label.item <= item &&
      item < label.end &&
      layout.placeOf(label) !== undefined,
  );
}

/** A few instructions for an address; `symbols` may be branched to and referred to. */
export function assembleSnippetFor(
  port: AsmPort,
  text: string,
  addr: bigint,
  symbols: Map<string, bigint>,
): Uint8Array {
  const program = new Program();
  const reader = new Reader(program, new Preprocessor(new Scope(), port.isRegister), port, 'snippet');
  reader.readSnippet(text);
  const layout = new Layout(program, { '.text': addr }, port.fillNops);
  return layout.bytes(program.section('.text') as Section, symbols);
}
