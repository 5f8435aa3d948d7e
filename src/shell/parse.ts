// The command language: words and quotes, `;` `&&` `||`, `|`, `<`, `>` and `>>`, `$?`, comments. As POSIX's shell has them,
// and nothing of it beyond that: what else a shell would understand is an error here, never taken for a word.

export class ShellSyntaxError extends Error {
  override readonly name = 'ShellSyntaxError';
  readonly code = 'ESYNTAX';
  /** From 1. */
  line = 1;
}

/** A word: text, with places where the last exit status stands. */
type Word = readonly (string | typeof STATUS)[];
const STATUS = Symbol('$?');

export interface Redirect {
  readonly append: boolean;
  readonly target: Word;
}

export interface SimpleCommand {
  readonly words: readonly Word[];
  readonly redirect: Redirect | undefined;
  /** What is read as the standard input. */
  readonly input: Word | undefined;
  /** Of both, the input's stands first. */
  readonly inputFirst: boolean;
}

/** Commands whose output is the next one's input. */
export type Pipeline = readonly SimpleCommand[];

export interface Step {
  /** Under which outcome of the step before it this one runs. */
  readonly when: 'always' | 'success' | 'failure';
  readonly pipeline: Pipeline;
  /** Line of its last word, from 1. */
  readonly line: number;
}

type Token = { readonly line: number } & (
  | { readonly kind: 'word'; readonly word: Word }
  | { readonly kind: 'operator'; readonly text: string }
);

/** Longest first. */
const OPERATORS = ['&&', '||', '>>', '<<', ';', '|', '>', '<', '\n'];
/** Characters of a shell that this one does not have, and what they would do. */
const UNSUPPORTED: Readonly<Record<string, string>> = {
  '&': 'running in the background (see start)',
  '`': 'command substitution',
  '(': 'a subshell',
  ')': 'a subshell',
};
const HOST = 'write it in a shell of the host, around klpemu exec';
const LOOP = `a loop is not supported: ${HOST}`;
const CONDITION = `a condition is not supported: use && and ||, or ${HOST}`;
/** What begins more than a simple command in other shells, where a command's name stands. */
const RESERVED: Readonly<Record<string, string>> = {
  for: LOOP,
  while: LOOP,
  until: LOOP,
  select: LOOP,
  do: LOOP,
  done: LOOP,
  if: CONDITION,
  // biome-ignore lint/suspicious/noThenProperty: a word of the shell, and nothing is awaited.
  then: CONDITION,
  elif: CONDITION,
  else: CONDITION,
  fi: CONDITION,
  case: CONDITION,
  esac: CONDITION,
  function: `a function is not supported: ${HOST}`,
  '{': 'a group is not supported: use ; and &&',
  '}': 'a group is not supported: use ; and &&',
  '[[': 'use [ and ]',
  '!': 'use || instead of !',
};
const ESCAPES: Readonly<Record<string, string>> = {
  n: '\n',
  t: '\t',
  r: '\r',
  a: '\x07',
  b: '\b',
  e: '\x1b',
  f: '\f',
  v: '\v',
};

/** The steps of a text of any number of lines. @throws ShellSyntaxError */
export function parse(text: string): Step[] {
  const tokens = tokenize(text);
  const place = { line: 1 };
  return atLine(place, () => parseTokens(tokens, place));
}

/** Lets an error say at which line it was found. */
function atLine<T>(place: { line: number }, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof ShellSyntaxError) error.line = place.line;
    throw error;
  }
}

function parseTokens(tokens: readonly Token[], place: { line: number }): Step[] {
  const steps: Step[] = [];
  let when: Step['when'] = 'always';
  let pipeline: SimpleCommand[] = [];
  let words: Word[] = [];
  let redirect: Redirect | undefined;
  let input: Word | undefined;
  let inputFirst = false;
  const isEmpty = (): boolean => words.length === 0 && !redirect && !input;
  const endCommand = (before: string): void => {
    if (isEmpty()) throw unexpected(before);
    pipeline.push({ words, redirect, input, inputFirst });
    words = [];
    redirect = undefined;
    input = undefined;
  };
  const endStep = (before: string): void => {
    endCommand(before);
    steps.push({ when, pipeline, line: place.line });
    pipeline = [];
  };
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i];
    place.line = token.line;
    if (token.kind === 'word') {
      words.push(token.word);
      continue;
    }
    const { text: operator } = token;
    if (operator === '<<') throw new ShellSyntaxError("`<<': a here-document is not supported");
    if (operator === '<' || operator === '>' || operator === '>>') {
      const target = tokens[++i];
      if (target?.kind !== 'word') throw unexpected(target?.text ?? '\n');
      if (operator === '<') {
        if (input) throw new ShellSyntaxError('only one redirection of the input a command');
        input = target.word;
        inputFirst = redirect === undefined;
        continue;
      }
      if (redirect) throw new ShellSyntaxError('only one redirection a command');
      redirect = { append: operator === '>>', target: target.word };
    } else if (operator === '|') endCommand(operator);
    else if (operator === ';' || operator === '\n') {
      // An empty line; and lines go on after `|`, `&&` and `||`.
      if (operator === '\n' && isEmpty()) continue;
      endStep(operator);
      when = 'always';
    } else {
      endStep(operator);
      when = operator === '&&' ? 'success' : 'failure';
    }
  }
  if (!isEmpty()) endStep('end of file');
  else if (pipeline.length > 0 || when !== 'always')
    throw new ShellSyntaxError('syntax error: unexpected end of file');
  return steps;
}

function unexpected(token: string): ShellSyntaxError {
  const name = token === '\n' ? 'newline' : token;
  return new ShellSyntaxError(`syntax error near unexpected token \`${name}'`);
}

function tokenize(text: string): Token[] {
  const place = { line: 1 };
  return atLine(place, () => readTokens(text, place));
}

function readTokens(text: string, place: { line: number }): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  const advance = (to: number): void => {
    for (; at < to; at++) if (text[at] === '\n') place.line++;
  };
  while (at < text.length) {
    const c = text[at];
    if (c === ' ' || c === '\t') at++;
    else if (c === '\\' && text[at + 1] === '\n') advance(at + 2);
    else if (c === '#') while (at < text.length && text[at] !== '\n') at++;
    else {
      const operator = OPERATORS.find((op) => text.startsWith(op, at));
      if (operator) {
        tokens.push({ kind: 'operator', text: operator, line: place.line });
        advance(at + operator.length);
        continue;
      }
      refuseReserved(text, at, tokens.at(-1));
      const { word, end } = readWord(text, at);
      tokens.push({ kind: 'word', word, line: place.line });
      advance(end);
    }
  }
  return tokens;
}

/** @throws ShellSyntaxError where a reserved word stands for a command. */
function refuseReserved(text: string, at: number, before: Token | undefined): void {
  const operand = before && (before.kind === 'word' || /^[<>]/.test(before.text));
  const [word] = operand
    ? []
    : (/^[^\s;|&<>'"\\]+(?=[\s;]|$)/.exec(text.slice(at, at + LONGEST_RESERVED)) ?? []);
  if (word !== undefined && Object.hasOwn(RESERVED, word))
    throw new ShellSyntaxError(`\`${word}': ${RESERVED[word]}`);
}

/** And the character that ends it. */
const LONGEST_RESERVED = 'function'.length + 1;

/** Collects the parts of one word. */
class WordBuilder {
  readonly parts: (string | typeof STATUS)[] = [];

  add(part: string | typeof STATUS): void {
    const last = this.parts.at(-1);
    if (typeof part === 'string' && typeof last === 'string') this.parts[this.parts.length - 1] = last + part;
    else this.parts.push(part);
  }
}

function readWord(text: string, start: number): { word: Word; end: number } {
  const builder = new WordBuilder();
  let at = start;
  while (at < text.length) {
    const c = text[at];
    if (/\s/.test(c) || OPERATORS.some((op) => text.startsWith(op, at))) break;
    if (UNSUPPORTED[c]) throw new ShellSyntaxError(`\`${c}': ${UNSUPPORTED[c]} is not supported`);
    if (c === "'") at = readSingle(text, at, builder);
    else if (c === '"') at = readDouble(text, at, builder);
    else if (c === '$') at = readDollar(text, at, builder);
    else if (c === '\\') {
      if (text[at + 1] !== '\n') builder.add(text[at + 1] ?? '\\');
      at += 2;
    } else {
      builder.add(c);
      at++;
    }
  }
  if ((text[at] === '>' || text[at] === '<') && /^\d+$/.test(text.slice(start, at)))
    throw new ShellSyntaxError(
      `\`${text.slice(start, at)}${text[at]}': only standard input and output can be redirected`,
    );
  return { word: builder.parts, end: Math.min(at, text.length) };
}

function closing(text: string, from: number, quote: string): number {
  const end = text.indexOf(quote, from);
  if (end < 0) throw new ShellSyntaxError(`unexpected EOF while looking for matching \`${quote}'`);
  return end;
}

function readSingle(text: string, at: number, builder: WordBuilder): number {
  const end = closing(text, at + 1, "'");
  builder.add(text.slice(at + 1, end));
  return end + 1;
}

function readDouble(text: string, start: number, builder: WordBuilder): number {
  builder.add('');
  let at = start + 1;
  for (;;) {
    if (at >= text.length) closing(text, at, '"');
    const c = text[at];
    if (c === '"') return at + 1;
    if (c === '$') at = readDollar(text, at, builder);
    else if (c === '`') throw new ShellSyntaxError(`\`${c}': ${UNSUPPORTED[c]} is not supported`);
    else if (c === '\\' && '"\\$`\n'.includes(text[at + 1] ?? '')) {
      if (text[at + 1] !== '\n') builder.add(text[at + 1]);
      at += 2;
    } else {
      builder.add(c);
      at++;
    }
  }
}

/** `$?` and `$'...'`; a `$` that begins nothing stands for itself. */
function readDollar(text: string, at: number, builder: WordBuilder): number {
  const next = text[at + 1] ?? '';
  if (next === '?') {
    builder.add(STATUS);
    return at + 2;
  }
  if (next === "'") return readAnsiC(text, at + 2, builder);
  if (/[A-Za-z0-9_{(@*#!$-]/.test(next))
    throw new ShellSyntaxError(`\`$${next}': of expansions only $? is supported`);
  builder.add('$');
  return at + 1;
}

function readAnsiC(text: string, start: number, builder: WordBuilder): number {
  builder.add('');
  let at = start;
  for (;;) {
    if (at >= text.length) closing(text, at, "'");
    if (text[at] === "'") return at + 1;
    if (text[at] !== '\\') {
      builder.add(text[at++]);
      continue;
    }
    const code = /^\\(?:([0-7]{1,3})|x([0-9a-fA-F]{1,2})|([\s\S]))/.exec(text.slice(at)) ?? ['\\'];
    if (code[1] !== undefined) builder.add(String.fromCharCode(Number.parseInt(code[1], 8) & 0xff));
    else if (code[2] !== undefined) builder.add(String.fromCharCode(Number.parseInt(code[2], 16)));
    else builder.add(ESCAPES[code[3] ?? ''] ?? (`'"\\?`.includes(code[3] ?? ' ') ? code[3] : code[0]));
    at += code[0].length;
  }
}

/** The text of a word, with the last exit status put in. */
export function wordText(word: Word, status: number): string {
  return word.map((part) => (part === STATUS ? String(status) : part)).join('');
}
