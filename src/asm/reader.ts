// Statements into items: directives, labels, annotations and instructions.
//
// Invariant: instructions stand only inside SYM_FUNC or SYM_CODE, so every byte of text
// has a symbol that kallsyms and the ORC generator can name.

import { readData } from './data.ts';
import { AsmError, type Place } from './error.ts';
import { ExprError, evaluate, type Lookup, symbol, type Value } from './expr.ts';
import { scopedKey } from './keys.ts';
import { fitsInt32 } from './operands.ts';
import type { AsmPort } from './port.ts';
import { guard, type Preprocessor } from './preprocess.ts';
import { type Block, type Item, isTextSection, type Label, type Program, type Section } from './program.ts';

const FUNCTION_ALIGN = 16;
const DATA_ALIGN = 8;

/** Annotations for objtool that change nothing here. */
const IGNORED = new Set([
  'ANNOTATE_INTRA_FUNCTION_CALL',
  'ANNOTATE_RETPOLINE_SAFE',
  'ANNOTATE_UNRET_SAFE',
  '.type',
  '.size',
  '.file',
]);

export class Reader {
  readonly program: Program;
  readonly pre: Preprocessor;
  readonly port: AsmPort;
  readonly path: string;
  section: Section;
  block: Block | undefined;
  #blocks = 0;
  #numeric = new Map<string, number>();
  #pendingDeadEnd: Place | undefined;
  #globals = new Map<string, Place>();

  constructor(program: Program, pre: Preprocessor, port: AsmPort, path: string) {
    this.program = program;
    this.pre = pre;
    this.port = port;
    this.path = path;
    this.section = program.section('.text') as Section;
  }

  read(text: string): void {
    for (const statement of this.pre.file(this.path, text)) this.statement(statement.place, statement.text);
    if (this.block) {
      const { label, kind } = this.block;
      throw new AsmError(label.place, `unterminated SYM_${kind}_START(${label.name})`);
    }
    if (this.#pendingDeadEnd)
      throw new AsmError(this.#pendingDeadEnd, 'ANNOTATE_NORETURN without a call after it');
    for (const [name, place] of this.#globals) this.makeGlobal(name, place);
  }

  /** Instructions alone, with no function around them and no alignment before. */
  readSnippet(text: string): void {
    const place = { file: this.path, line: 1, column: 1, text: '' };
    const label: Label = {
      name: this.path,
      file: this.path,
      section: this.section,
      item: 0,
      place,
      type: 'code',
      global: false,
      end: 0,
    };
    this.block = { label, kind: 'CODE', id: this.#blocks++ };
    for (const statement of this.pre.file(this.path, text)) this.statement(statement.place, statement.text);
  }

  statement(place: Place, text: string): void {
    const label = /^([\w.$]+):$/.exec(text)?.[1];
    if (label !== undefined) {
      this.label(place, label);
      return;
    }
    const call = /^([A-Z_]+)\s*\(\s*([A-Za-z_.$][\w.$]*)\s*\)$/.exec(text);
    if (call) {
      this.symbolMacro(place, call[1] as string, call[2] as string);
      return;
    }
    const word = /^\S+/.exec(text)?.[0] ?? '';
    const rest = text.slice(word.length).trim();
    if (this.port.isHint(word)) this.hint(place, word, rest);
    else if (Object.hasOwn(this.port.bytes, word))
      this.bytes(place, this.port.bytes[word] as readonly number[]);
    else if (word === 'FENTRY') this.fentry(place);
    else if (word === 'ANNOTATE_NORETURN') this.#pendingDeadEnd = place;
    else if (IGNORED.has(word) || this.port.ignored.has(word)) return;
    else if (word.startsWith('.')) this.directive(place, word, rest);
    else this.instruction(place, text);
  }

  // Symbols

  symbolMacro(place: Place, macro: string, name: string): void {
    const match = /^SYM_(FUNC|CODE|DATA)_(START|START_LOCAL|END)$/.exec(macro);
    if (match && match[2] === 'END') this.end(place, match[1] as Block['kind'], name);
    else if (match) this.start(place, match[1] as Block['kind'], name, match[2] === 'START');
    else if (macro === 'SYM_INNER_LABEL') this.innerLabel(place, name);
    else if (macro === 'EXPORT_SYMBOL' || macro === 'EXPORT_SYMBOL_GPL') {
      this.program.exports.push({ name, gpl: macro.endsWith('GPL'), place });
    } else if (macro === 'NORETURN') this.program.noreturn.push({ name, file: this.path, place });
    else throw new AsmError(place, `unknown macro '${macro}'`, macro);
  }

  start(place: Place, kind: Block['kind'], name: string, global: boolean): void {
    if (this.block) throw new AsmError(place, `'${name}' starts inside '${this.block.label.name}'`, name);
    const code = kind !== 'DATA';
    if (code !== isTextSection(this.section.name)) {
      throw new AsmError(place, `SYM_${kind}_START(${name}) in section ${this.section.name}`);
    }
    this.emit({
      kind: 'align',
      place,
      align: code ? FUNCTION_ALIGN : DATA_ALIGN,
      fill: code ? this.port.codeFill : 0,
    });
    const type = kind === 'FUNC' ? 'func' : kind === 'CODE' ? 'code' : 'object';
    const label = this.defineHere(place, name, type, global);
    this.block = { label, kind, id: this.#blocks++ };
  }

  end(place: Place, kind: Block['kind'], name: string): void {
    const open = this.block;
    if (!open || open.kind !== kind || open.label.name !== name) {
      const inside = open ? `, SYM_${open.kind}_START(${open.label.name}) is open` : ', nothing is open';
      throw new AsmError(place, `SYM_${kind}_END(${name}) does not fit${inside}`);
    }
    if (this.#pendingDeadEnd)
      throw new AsmError(this.#pendingDeadEnd, 'ANNOTATE_NORETURN without a call after it');
    if (open.label.section !== this.section)
      throw new AsmError(place, `'${name}' ends in section ${this.section.name}`);
    open.label.end = this.section.items.length;
    this.block = undefined;
  }

  innerLabel(place: Place, name: string): void {
    if (!this.block) throw new AsmError(place, `SYM_INNER_LABEL(${name}) outside a function`);
    this.defineHere(place, name, 'label', true);
  }

  label(place: Place, name: string): void {
    if (/^\d+$/.test(name)) {
      const count = (this.#numeric.get(name) ?? 0) + 1;
      this.#numeric.set(name, count);
      this.defineScoped(place, name, scopedKey(this.path, `${name}#${count}`));
    } else if (name.startsWith('.L')) {
      this.defineScoped(place, name, this.localKey(name));
    } else {
      this.defineHere(place, name, 'label', false);
    }
  }

  /** `.L` labels belong to the open function; outside of one, to the file. */
  localKey(name: string): string {
    return scopedKey(this.block ? `${this.path}@${this.block.id}` : this.path, name);
  }

  defineHere(place: Place, name: string, type: Label['type'], global: boolean): Label {
    if (this.port.isRegister(name)) throw new AsmError(place, `'${name}' is a register`, name);
    if (this.pre.scope.constants.has(name))
      throw new AsmError(place, `'${name}' is already a constant`, name);
    const item = this.section.items.length;
    const label: Label = {
      name,
      file: this.path,
      section: this.section,
      item,
      place,
      type,
      global,
      end: item,
    };
    this.program.define(global ? name : scopedKey(this.path, name), label);
    return label;
  }

  defineScoped(place: Place, name: string, key: string): void {
    const item = this.section.items.length;
    this.program.define(key, {
      name,
      file: this.path,
      section: this.section,
      item,
      place,
      type: 'label',
      global: false,
      end: item,
    });
  }

  makeGlobal(name: string, place: Place): void {
    const key = scopedKey(this.path, name);
    const label = this.program.locals.get(key);
    if (!label) {
      if (!this.program.globals.has(name))
        throw new AsmError(place, `.globl of undefined symbol '${name}'`, name);
      return;
    }
    this.program.locals.delete(key);
    label.global = true;
    this.program.define(name, label);
  }

  // Expressions

  readonly lookup: Lookup = (name) => {
    const constant = this.pre.scope.constants.get(name);
    if (constant !== undefined) return fitsInt32(constant) ? constant : BigInt.asIntN(64, constant);
    const numeric = /^(\d+)([bf])$/.exec(name);
    if (numeric) return this.numericLabel(numeric[1] as string, numeric[2] as string);
    if (name.startsWith('.L')) return symbol(this.localKey(name));
    if (this.port.isRegister(name)) throw new ExprError(`register '${name}' in an expression`, name);
    return symbol(scopedKey(this.path, name));
  };

  numericLabel(name: string, direction: string): Value {
    const count = this.#numeric.get(name) ?? 0;
    if (direction === 'b' && count === 0) throw new ExprError(`no label '${name}:' before this`, `${name}b`);
    return symbol(scopedKey(this.path, `${name}#${direction === 'b' ? count : count + 1}`));
  }

  value(place: Place, text: string): Value {
    const lookup: Lookup = (name) =>
      name === '.' ? this.program.here(this.section, place) : this.lookup(name);
    return guard(place, () => evaluate(text, lookup));
  }

  // Items

  emit(item: Item): void {
    this.section.items.push(item);
  }

  bytes(place: Place, bytes: readonly number[]): void {
    this.needCode(place);
    this.emit({ kind: 'bytes', place, bytes: Uint8Array.from(bytes), fixups: [] });
  }

  needCode(place: Place): void {
    if (this.block && this.block.kind !== 'DATA') return;
    throw new AsmError(place, 'instruction outside SYM_FUNC or SYM_CODE');
  }

  fentry(place: Place): void {
    this.needCode(place);
    this.program.fentry.push({ section: this.section, item: this.section.items.length });
    this.instruction(place, this.port.fentryCall);
  }

  instruction(place: Place, text: string): void {
    this.needCode(place);
    const mark = { section: this.section, item: this.section.items.length };
    const item = this.port.readInstruction(place, text, this.lookup);
    if (this.#pendingDeadEnd) {
      if (!this.port.isCall(text)) throw new AsmError(place, 'ANNOTATE_NORETURN is for calls');
      this.program.deadEnds.push(mark);
      this.#pendingDeadEnd = undefined;
    }
    this.emit(item);
  }

  hint(place: Place, word: string, operands: string): void {
    this.needCode(place);
    const hint = this.port.readHint(place, word, operands, (text) => this.pre.number({ place, text }, text));
    this.program.hints.push({ section: this.section, item: this.section.items.length, place, hint });
  }

  directive(place: Place, word: string, operands: string): void {
    const shorthand = operands === '' ? this.program.section(word) : undefined;
    if (shorthand) this.enter(place, shorthand.name);
    else if (word === '.section') this.enter(place, operands.split(',')[0] as string);
    else if (word === '.globl' || word === '.global') this.#globals.set(operands, place);
    else if (!readData(this, place, word, operands)) {
      throw new AsmError(place, `unknown directive '${word}'`, word);
    }
  }

  enter(place: Place, name: string): void {
    const section = this.program.section(name.trim());
    if (!section) {
      throw new AsmError(
        place,
        `unknown section '${name}', there are ${[...this.program.sections.keys()].join(' ')}`,
        name,
      );
    }
    if (this.block) throw new AsmError(place, `section changes inside '${this.block.label.name}'`);
    this.section = section;
  }
}
