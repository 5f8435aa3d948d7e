// The program while it is read: sections made of items, and labels that point at them.
//
// An item is what keeps its size or is decided on as a whole: bytes with fixups, a branch
// that may be short, an alignment. Labels name an item by index, so that addresses can
// change until layout is done.

import { AsmError, type Place } from './error.ts';
import { symbol, type Value } from './expr.ts';
import type { Hint } from './hint.ts';
import { nameOfKey, scopedKey } from './keys.ts';

export type SymbolType = 'func' | 'code' | 'object' | 'label';

export type FixupKind = 'pc32' | 'abs32' | 'abs32s' | 'abs64' | 'data';

export interface Fixup {
  readonly kind: FixupKind;
  /** Offset within the item's bytes, and width in bytes. */
  readonly offset: number;
  readonly width: number;
  readonly value: Value;
}

export interface BytesItem {
  readonly kind: 'bytes';
  readonly place: Place;
  readonly bytes: Uint8Array;
  readonly fixups: readonly Fixup[];
}

export interface BranchItem {
  readonly kind: 'branch';
  readonly place: Place;
  /** `short` has one byte of displacement, `near` four; a relaxable one starts short and may grow once. */
  readonly short: readonly number[] | undefined;
  readonly near: readonly number[] | undefined;
  readonly relaxable: boolean;
  isShort: boolean;
  readonly target: Value;
}

interface AlignItem {
  readonly kind: 'align';
  readonly place: Place;
  readonly align: number;
  readonly fill: number | undefined;
}

interface SpaceItem {
  readonly kind: 'space';
  readonly place: Place;
  readonly size: number;
}

export type Item = BytesItem | BranchItem | AlignItem | SpaceItem;

export interface Section {
  readonly name: string;
  readonly items: Item[];
}

export interface Label {
  readonly name: string;
  /** The source it belongs to; a macro may be of another one. */
  readonly file: string;
  readonly section: Section;
  /** Index of the item that the label stands before. */
  readonly item: number;
  readonly place: Place;
  type: SymbolType;
  global: boolean;
  /** Index past the last item; the size of the symbol comes from it. */
  end: number;
}

/** A function, a piece of code, or an object that is open between its START and END. */
export interface Block {
  readonly label: Label;
  readonly kind: 'FUNC' | 'CODE' | 'DATA';
  readonly id: number;
}

export interface Mark {
  readonly section: Section;
  readonly item: number;
}

interface HintMark extends Mark {
  readonly place: Place;
  readonly hint: Hint;
}

const SECTIONS = ['.text', '.rodata', '.data', '.bss', '.data..percpu', '.user.text', '.user.data'] as const;

export const isTextSection = (name: string): boolean => name === '.text' || name === '.user.text';

export class Program {
  readonly sections = new Map<string, Section>();
  readonly globals = new Map<string, Label>();
  /** File-local symbols, `.L` labels and numeric labels, by scopedKey. */
  readonly locals = new Map<string, Label>();
  readonly hints: HintMark[] = [];
  readonly fentry: Mark[] = [];
  readonly deadEnds: Mark[] = [];
  readonly exports: { name: string; gpl: boolean; place: Place }[] = [];
  readonly noreturn: { name: string; file: string; place: Place }[] = [];
  #here = 0;

  constructor() {
    for (const name of SECTIONS) this.sections.set(name, { name, items: [] });
  }

  section(name: string): Section | undefined {
    return this.sections.get(name);
  }

  define(key: string, label: Label): void {
    const table = label.global ? this.globals : this.locals;
    const other = table.get(key);
    if (other) {
      const where = `${other.place.file}:${other.place.line}`;
      throw new AsmError(label.place, `symbol '${label.name}' is already defined at ${where}`, label.name);
    }
    table.set(key, label);
  }

  /** A value for `.`: a label of its own at the current item. */
  here(section: Section, place: Place): Value {
    const key = scopedKey('.', String(this.#here++));
    const item = section.items.length;
    this.locals.set(key, {
      name: '.',
      file: place.file,
      section,
      item,
      place,
      type: 'label',
      global: false,
      end: item,
    });
    return symbol(key);
  }

  /** What a scoped key stands for: the file's own symbol, or else the global one. */
  find(key: string): Label | undefined {
    return this.locals.get(key) ?? this.globals.get(nameOfKey(key));
  }
}
