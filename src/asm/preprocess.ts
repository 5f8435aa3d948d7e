// Macros, repetition, conditions and constants: what runs while the source is read.
//
// Statements come out one at a time, so a `.set` takes effect for what follows it, and a
// condition sees the constants as they are at that line. A label is a statement of its own. A source whose path ends in
// `.inc` is a header: its macros and constants are seen by every other source; those of
// a `.s` file stay in it.

import { AsmError, type Place } from './error.ts';
import { ExprError, evaluate, isNumber, type Lookup } from './expr.ts';
import { type Statement, splitExpanded, splitStatements } from './lines.ts';
import { splitOperands } from './operands.ts';

interface Parameter {
  readonly name: string;
  readonly fallback: string | undefined;
  readonly required: boolean;
  readonly rest: boolean;
}

interface Macro {
  readonly name: string;
  readonly parameters: readonly Parameter[];
  readonly body: readonly Statement[];
}

/** Macros, constants and aliases of one file, seen through to those of the headers. */
export class Scope {
  readonly constants: Map<string, bigint>;
  readonly macros: Map<string, Macro>;
  /** Other names of operands. */
  readonly aliases: Map<string, string>;

  constructor(parent?: Scope) {
    this.constants = new Map(parent?.constants);
    this.macros = new Map(parent?.macros);
    this.aliases = new Map(parent?.aliases);
  }
}

const MACRO_DEPTH = 64;
const LOOP_LIMIT = 1 << 20;
const OPENERS: Readonly<Record<string, string>> = { '.macro': '.endm', '.rept': '.endr', '.irp': '.endr' };

const ASSIGNMENT = /^[A-Za-z_$][\w.$]*\s*=(?!=)/;

/** `name: what stands behind it`; a segment register before a colon is a prefix. */
const LABEL = /^([A-Za-z_.$][\w.$]*|\d+)\s*:\s*(.*)$/;

const firstWord = (text: string): string => /^\S+/.exec(text)?.[0] ?? '';
const restAfter = (text: string, word: string): string => text.slice(word.length).trim();
const WORD = /(?<![\w.$])[A-Za-z_$][\w.$]*/g;
const escapeRegExp = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');

export class Preprocessor {
  readonly scope: Scope;
  #counter = 0;

  readonly #isRegister: (name: string) => boolean;

  constructor(scope: Scope, isRegister: (name: string) => boolean) {
    this.scope = scope;
    this.#isRegister = isRegister;
  }

  /** Statements of a file, in the order in which they take effect. */
  *file(path: string, text: string): Generator<Statement> {
    yield* this.#run(splitStatements(path, text), 0);
  }

  /** Constants only: conditions and counts must be known when they are read. */
  readonly lookup: Lookup = (name) => {
    const constant = this.scope.constants.get(name);
    if (constant !== undefined) return constant;
    throw new ExprError(`undefined constant '${name}'`, name);
  };

  number(statement: Statement, text: string): bigint {
    return guard(statement.place, () => {
      const value = evaluate(text, this.lookup);
      if (!isNumber(value)) throw new ExprError('a number is wanted here', text);
      return value.num;
    });
  }

  *#run(given: readonly Statement[], depth: number): Generator<Statement> {
    const statements = given.flatMap((statement) => this.#splitLabels(statement));
    const first = statements[0];
    if (first && depth > MACRO_DEPTH) throw new AsmError(first.place, 'macros nested too deeply');
    let i = 0;
    while (i < statements.length) {
      const statement = statements[i] as Statement;
      const word = firstWord(statement.text);
      const closer = OPENERS[word];
      if (closer) {
        const end = findEnd(statements, i, closer);
        yield* this.#block(word, statement, statements.slice(i + 1, end), depth);
        i = end + 1;
      } else if (word.startsWith('.if')) {
        const { taken, end } = this.#choose(statements, i);
        yield* this.#run(taken, depth);
        i = end + 1;
      } else {
        yield* this.#single(word, statement, depth);
        i++;
      }
    }
  }

  /** Labels as statements of their own: what follows one may be a macro, a repetition or a condition. */
  #splitLabels(statement: Statement): Statement[] {
    const { place, text } = statement;
    const [, name, rest] = LABEL.exec(text) ?? [];
    if (name === undefined || rest === undefined || this.#isRegister(name)) return [statement];
    const label = { place, text: `${name}:` };
    if (rest === '') return [label];
    const column = place.column + text.length - rest.length;
    return [label, ...this.#splitLabels({ place: { ...place, column }, text: rest })];
  }

  *#single(word: string, statement: Statement, depth: number): Generator<Statement> {
    const { place, text } = statement;
    if (['.endm', '.endr', '.endif', '.else', '.elseif'].includes(word)) {
      throw new AsmError(place, `${word} without its beginning`, word);
    }
    if (word === '.error') throw new AsmError(place, restAfter(text, word).replace(/^"|"$/g, '') || '.error');
    if (word === '.purgem') this.scope.macros.delete(restAfter(text, word));
    else if (word === '.set' || word === '.equ') this.#set(statement, restAfter(text, word));
    else if (word === '.alias') this.#alias(statement, restAfter(text, word));
    else if (ASSIGNMENT.test(text)) this.#set(statement, text.replace('=', ','));
    else {
      const called = this.#macroCall(statement);
      if (called) yield* this.#run(this.#expand(called.macro, called.args, place), depth + 1);
      else yield this.#unalias(statement);
    }
  }

  #alias(statement: Statement, operands: string): void {
    const match = /^([A-Za-z_$][\w$]*)\s*,\s*(.+)$/.exec(operands);
    if (!match) throw new AsmError(statement.place, '.alias wants a name and an operand');
    const name = match[1] as string;
    if (this.#isRegister(name)) throw new AsmError(statement.place, `'${name}' is a register`, name);
    this.scope.aliases.set(name, match[2] as string);
  }

  /** Instructions only: data and directives have no operands that could have another name. */
  #unalias(statement: Statement): Statement {
    const { aliases } = this.scope;
    if (aliases.size === 0 || statement.text.startsWith('.')) return statement;
    const text = statement.text.replace(WORD, (word) => aliases.get(word) ?? word);
    return text === statement.text ? statement : { ...statement, text };
  }

  #set(statement: Statement, operands: string): void {
    const match = /^([A-Za-z_.$][\w.$]*)\s*,\s*(.+)$/.exec(operands);
    if (!match) throw new AsmError(statement.place, '.set wants a name and an expression');
    const name = match[1] as string;
    if (this.#isRegister(name)) throw new AsmError(statement.place, `'${name}' is a register`, name);
    this.scope.constants.set(name, this.number(statement, match[2] as string));
  }

  *#block(word: string, head: Statement, body: readonly Statement[], depth: number): Generator<Statement> {
    const operands = restAfter(head.text, word);
    if (word === '.macro') {
      this.#define(head, operands, body);
    } else if (word === '.rept') {
      const count = this.number(head, operands);
      if (count < 0n || count > LOOP_LIMIT) throw new AsmError(head.place, `.rept of ${count}`);
      for (let n = 0n; n < count; n++) yield* this.#run(body, depth + 1);
    } else {
      const [name, ...values] = splitOperands(operands);
      if (!name) throw new AsmError(head.place, '.irp wants a name and values');
      const macro = { name: '.irp', parameters: parseParameters(head.place, name), body };
      for (const value of values) yield* this.#run(this.#expand(macro, value, head.place), depth + 1);
    }
  }

  #define(head: Statement, operands: string, body: readonly Statement[]): void {
    const match = /^([A-Za-z_.$][\w.$]*)\s*,?\s*(.*)$/.exec(operands);
    if (!match) throw new AsmError(head.place, '.macro wants a name');
    const name = match[1] as string;
    if (this.scope.macros.has(name))
      throw new AsmError(head.place, `macro '${name}' is already defined`, name);
    this.scope.macros.set(name, { name, parameters: parseParameters(head.place, match[2] as string), body });
  }

  /** `NAME a, b` and `NAME(a, b)` are the same call. */
  #macroCall(statement: Statement): { macro: Macro; args: string } | undefined {
    const match = /^([A-Za-z_.$][\w.$]*)(\s*)(.*)$/.exec(statement.text);
    const macro = match ? this.scope.macros.get(match[1] as string) : undefined;
    if (!match || !macro) return undefined;
    const args = match[3] as string;
    const enclosed = match[2] === '' && args.startsWith('(') && args.endsWith(')');
    return { macro, args: enclosed ? args.slice(1, -1) : args };
  }

  #expand(macro: Macro, args: string, place: Place): Statement[] {
    const values = bindArguments(macro, args, place);
    const id = String(this.#counter++);
    const via = `in macro ${macro.name} used at ${place.file}:${place.line}`;
    const names = [...values.keys()].sort((a, b) => b.length - a.length);
    const pattern = new RegExp(
      `\\\\(@|\\(\\)${names.map((n) => `|${escapeRegExp(n)}(?![\\w$])`).join('')})`,
      'g',
    );
    const put = (_: string, key: string): string =>
      key === '@' ? id : key === '()' ? '' : (values.get(key) as string);
    return macro.body.flatMap((s) => splitExpanded(s.place, s.text.replace(pattern, put), via));
  }

  /** The branch of an `.if` that holds. */
  #choose(statements: readonly Statement[], start: number): { taken: readonly Statement[]; end: number } {
    let depth = 0;
    let taken: readonly Statement[] | undefined;
    let from = start + 1;
    let holds = this.#condition(statements[start] as Statement);
    for (let i = start + 1; i < statements.length; i++) {
      const statement = statements[i] as Statement;
      const word = firstWord(statement.text);
      if (word.startsWith('.if')) depth++;
      else if (word === '.endif' && depth > 0) depth--;
      else if (depth === 0 && (word === '.else' || word === '.elseif' || word === '.endif')) {
        if (holds && !taken) taken = statements.slice(from, i);
        if (word === '.endif') return { taken: taken ?? [], end: i };
        from = i + 1;
        holds = word === '.else' || (!taken && this.#condition(statement));
      }
    }
    throw new AsmError((statements[start] as Statement).place, 'unterminated .if');
  }

  #condition(statement: Statement): boolean {
    const word = firstWord(statement.text);
    const rest = restAfter(statement.text, word);
    const [left = '', right = ''] = splitOperands(rest);
    switch (word) {
      case '.if':
      case '.elseif':
        return this.number(statement, rest) !== 0n;
      case '.ifdef':
        return this.scope.constants.has(rest) || this.scope.macros.has(rest);
      case '.ifndef':
        return !this.scope.constants.has(rest) && !this.scope.macros.has(rest);
      case '.ifb':
        return rest === '';
      case '.ifnb':
        return rest !== '';
      case '.ifc':
        return left === right;
      case '.ifnc':
        return left !== right;
      default:
        throw new AsmError(statement.place, `unknown condition '${word}'`, word);
    }
  }
}

function findEnd(statements: readonly Statement[], start: number, closer: string): number {
  const head = statements[start] as Statement;
  let depth = 0;
  for (let i = start; i < statements.length; i++) {
    const word = firstWord((statements[i] as Statement).text);
    if (OPENERS[word] === closer) depth++;
    if (word === closer && --depth === 0) return i;
  }
  throw new AsmError(head.place, `unterminated ${firstWord(head.text)}`);
}

function parseParameters(place: Place, text: string): Parameter[] {
  const pieces = text.includes(',') ? splitOperands(text) : text.split(/\s+/).filter((p) => p !== '');
  return pieces.map((piece) => {
    const match = /^([A-Za-z_$][\w$]*)\s*(?::(req|vararg))?\s*(?:=\s*(.*))?$/.exec(piece);
    if (!match) throw new AsmError(place, `bad macro parameter '${piece}'`, piece);
    const fallback = match[3];
    return { name: match[1] as string, fallback, required: match[2] === 'req', rest: match[2] === 'vararg' };
  });
}

function splitArguments(args: string): string[] {
  const parts = splitOperands(args);
  // `NAME base=rbp offset=8`: named arguments may be separated by spaces.
  return parts.flatMap((p) => (/^\w+=\S*(\s+\w+=\S*)+$/.test(p) ? p.split(/\s+/) : [p]));
}

function bindArguments(macro: Macro, args: string, place: Place): Map<string, string> {
  const values = new Map<string, string>();
  const given = splitArguments(args);
  let next = 0;
  for (let i = 0; i < given.length; i++) {
    const arg = given[i] as string;
    const named = /^([A-Za-z_$][\w$]*)\s*=\s*(?!=)(.*)$/.exec(arg);
    if (named && macro.parameters.some((p) => p.name === named[1])) {
      values.set(named[1] as string, named[2] as string);
      continue;
    }
    const parameter = macro.parameters[next++];
    if (!parameter)
      throw new AsmError(place, `macro '${macro.name}' takes ${macro.parameters.length} arguments`, arg);
    if (parameter.rest) {
      values.set(parameter.name, given.slice(i).join(', '));
      break;
    }
    if (arg !== '') values.set(parameter.name, arg);
  }
  for (const { name, fallback, required } of macro.parameters) {
    if (values.has(name)) continue;
    if (required) throw new AsmError(place, `macro '${macro.name}' wants a value for '${name}'`);
    values.set(name, fallback ?? '');
  }
  return values;
}

/** Runs `work`, turning an expression's error into one with a place. */
export function guard<T>(place: Place, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof ExprError) throw new AsmError(place, error.message, error.token || undefined);
    throw error;
  }
}
