// The one dialect of asm/ (asm/README.md says it in prose): a source's text as it should be.
//
// Invariant: what is assembled is the same; only whitespace, the case of hexadecimal digits, `;` and the lines that
// labels stand on change. Formatting twice is formatting once.

import { literalLength } from '../../src/asm/lines.ts';

const INDENT = '    ';
/** Where the operands of an instruction, or of data, begin: behind so many columns of its name. */
const NAME_WIDTH = 8;
/** Where a comment behind a statement begins, if there is room. */
const COMMENT_COLUMN = 40;
const PREFIXES = /^(rep|repe|repne|lock)$/;
const DATA = /^\.(byte|word|long|quad|ascii|asciz|fill|skip|balign)$/;
/** Also with a macro's parameter in it. */
const INSTRUCTION = /^[a-z][a-z0-9\\]*$/;

interface Line {
  readonly statements: readonly string[];
  /** Without its sign; undefined where there is none. */
  readonly comment: string | undefined;
}

/** Statements and comment of a line; strings are no place for either. */
function split(text: string): Line {
  const statements: string[] = [];
  let [start, at] = [0, 0];
  for (; at < text.length && text[at] !== '#' && !text.startsWith('//', at); ) {
    if (text[at] === ';') {
      statements.push(text.slice(start, at));
      start = at + 1;
    }
    at += Math.max(1, literalLength(text, at));
  }
  statements.push(text.slice(start, at));
  const comment = at < text.length ? text.slice(text[at] === '#' ? at + 1 : at + 2) : undefined;
  return { statements: statements.map((one) => one.trim()).filter(Boolean), comment };
}

/** Changes what is no string or character. */
function outsideLiterals(text: string, change: (code: string) => string): string {
  let out = '';
  let start = 0;
  for (let at = 0; at < text.length; ) {
    const length = literalLength(text, at);
    if (length === 0) {
      at++;
      continue;
    }
    out += change(text.slice(start, at)) + text.slice(at, at + length);
    at += length;
    start = at;
  }
  return out + change(text.slice(start));
}

const operands = (text: string): string =>
  outsideLiterals(text, (code) =>
    code
      .replace(/\s+/g, ' ')
      .replace(/ ?, ?/g, ', ')
      .replace(/\[[^\]]*\]/g, (place) => place.replace(/\s/g, ''))
      .replace(/\b0[xX][0-9a-fA-F]+\b/g, (number) => number.toLowerCase()),
  ).trim();

/** A statement that is no label, as it stands on a line of its own without its indentation. */
function statement(text: string): string {
  const [, name = '', rest = ''] = /^(\S+)\s*(.*)$/.exec(text) ?? [];
  if (rest === '') return name;
  if (PREFIXES.test(name)) return `${name} ${statement(rest)}`;
  // `NAME = value`, and macros as in C.
  const width = INSTRUCTION.test(name) || DATA.test(name) ? NAME_WIDTH - 1 : 0;
  return `${name.padEnd(width)} ${operands(rest)}`;
}

function commented(line: string, comment: string | undefined): string {
  if (comment === undefined) return line;
  const text = `#${comment.replace(/^(?=[^\s#!])/, ' ').trimEnd()}`;
  if (line.trim() === '') return line + text;
  return `${line.padEnd(COMMENT_COLUMN - 1)} ${text}`;
}

function formatLine(raw: string): string[] {
  const { statements, comment } = split(raw);
  const indent = /^\s/.test(raw) ? INDENT : '';
  if (statements.length === 0) return [comment === undefined ? '' : commented(indent, comment)];
  const lines = statements.flatMap((text) => {
    const [, label, rest = ''] = /^([\w.\\@$()]+:)(?!:)\s*(.*)$/.exec(text) ?? [];
    if (label === undefined) return [indent + statement(text)];
    return rest === '' ? [label] : [label, INDENT + statement(rest)];
  });
  return [...lines.slice(0, -1), commented(lines.at(-1) ?? '', comment)];
}

/** The text in the dialect. Comments of several lines in C's way are no part of it, and stay as they are. */
export function formatAsm(text: string): string {
  const lines = text.split(/\r?\n/).flatMap(formatLine);
  const single = lines.filter((line, i) => line !== '' || (i > 0 && lines[i - 1] !== ''));
  return `${single.join('\n').trimEnd()}\n`;
}
