// Expressions of the assembler: numbers, constants, and symbols plus or minus a number.
//
// Invariant: a value with terms is only ever added to, subtracted from or negated; every
// other operator wants plain numbers, since addresses are not known until layout.

import { nameOfKey } from './keys.ts';

interface Term {
  readonly name: string;
  readonly sign: 1 | -1;
}

export interface Value {
  readonly num: bigint;
  readonly terms: readonly Term[];
}

export class ExprError extends Error {
  override readonly name = 'ExprError';
  readonly code = 'EEXPR';
  readonly token: string;
  constructor(reason: string, token: string) {
    super(reason);
    this.token = token;
  }
}

/** What an identifier stands for: a number, or a name to be resolved at link time. */
export type Lookup = (name: string) => bigint | Value;

const number = (num: bigint): Value => ({ num, terms: [] });
export const symbol = (name: string): Value => ({ num: 0n, terms: [{ name, sign: 1 }] });
export const isNumber = (value: Value): boolean => value.terms.length === 0;

const TOKEN = new RegExp(
  [
    '\\s+',
    '0[xX][0-9a-fA-F]+',
    String.raw`0[bB][01]+(?![\w.])`,
    String.raw`\d+[bf](?![\w.])`,
    String.raw`\d+`,
    String.raw`'(?:\\.|[^\\'])'`,
    String.raw`[A-Za-z_.$][\w.$]*`,
    String.raw`<<|>>|==|!=|<=|>=|&&|\|\||[-+*/%&|^~!()<>,:[\]]`,
  ]
    .map((part) => `(?:${part})`)
    .join('|'),
  'y',
);

/** Splits into tokens; spaces are dropped, anything unknown is an error. */
export function tokenize(text: string): string[] {
  const tokens: string[] = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.length) {
    const at = TOKEN.lastIndex;
    const match = TOKEN.exec(text);
    if (!match) throw new ExprError(`unexpected '${text[at]}'`, text[at] as string);
    if (match[0].trim() !== '') tokens.push(match[0]);
  }
  return tokens;
}

const isIdentifier = (token: string): boolean => /^[A-Za-z_.$]/.test(token);

const ESCAPES: Record<string, number> = { n: 10, t: 9, r: 13, b: 8, f: 12, 0: 0, '\\': 92, "'": 39, '"': 34 };

function parseNumber(token: string): bigint | undefined {
  if (/^\d+$/.test(token) || /^0[xXbB]/.test(token)) return BigInt(token);
  if (token.startsWith("'")) {
    const body = token.slice(1, -1);
    return BigInt(
      body.startsWith('\\') ? (ESCAPES[body[1] as string] ?? body.charCodeAt(1)) : body.charCodeAt(0),
    );
  }
  return undefined;
}

type Binary = (a: bigint, b: bigint) => bigint;
const bool = (b: boolean): bigint => (b ? 1n : 0n);

/** Lowest binding first, in the order of GNU as: shifts and bit operators bind closer than + and -. */
const LEVELS: ReadonlyArray<Record<string, Binary>> = [
  { '||': (a, b) => bool(a !== 0n || b !== 0n) },
  { '&&': (a, b) => bool(a !== 0n && b !== 0n) },
  {
    '==': (a, b) => bool(a === b),
    '!=': (a, b) => bool(a !== b),
    '<': (a, b) => bool(a < b),
    '<=': (a, b) => bool(a <= b),
    '>': (a, b) => bool(a > b),
    '>=': (a, b) => bool(a >= b),
  },
  { '+': (a, b) => a + b, '-': (a, b) => a - b },
  { '|': (a, b) => a | b, '^': (a, b) => a ^ b, '&': (a, b) => a & b },
  {
    '*': (a, b) => a * b,
    '/': divide,
    '%': (a, b) => a % b,
    '<<': (a, b) => a << b,
    '>>': (a, b) => a >> b,
  },
];

function divide(a: bigint, b: bigint): bigint {
  if (b === 0n) throw new ExprError('division by zero', '/');
  return a / b;
}

function negate(value: Value): Value {
  return { num: -value.num, terms: value.terms.map((t) => ({ name: t.name, sign: t.sign === 1 ? -1 : 1 })) };
}

function add(a: Value, b: Value): Value {
  return { num: a.num + b.num, terms: [...a.terms, ...b.terms] };
}

class Parser {
  readonly tokens: readonly string[];
  readonly lookup: Lookup;
  pos = 0;

  constructor(tokens: readonly string[], lookup: Lookup) {
    this.tokens = tokens;
    this.lookup = lookup;
  }

  parse(level = 0): Value {
    const operators = LEVELS[level];
    if (!operators) return this.unary();
    let left = this.parse(level + 1);
    for (;;) {
      const op = this.tokens[this.pos];
      const apply = op === undefined ? undefined : Object.hasOwn(operators, op) ? operators[op] : undefined;
      if (op === undefined || !apply) return left;
      this.pos++;
      const right = this.parse(level + 1);
      left = this.combine(op, apply, left, right);
    }
  }

  combine(op: string, apply: Binary, left: Value, right: Value): Value {
    if (op === '+') return add(left, right);
    if (op === '-') return add(left, negate(right));
    const symbolic = [...left.terms, ...right.terms][0];
    if (symbolic)
      throw new ExprError(`'${op}' wants numbers, and ${nameOfKey(symbolic.name)} is an address`, op);
    return number(apply(left.num, right.num));
  }

  unary(): Value {
    const token = this.tokens[this.pos++];
    if (token === undefined) throw new ExprError('expression ends too early', '');
    if (token === '-') return negate(this.unary());
    if (token === '+') return this.unary();
    if (token === '~' || token === '!') {
      const operand = this.unary();
      if (!isNumber(operand)) throw new ExprError(`'${token}' wants a number`, token);
      return number(token === '~' ? ~operand.num : bool(operand.num === 0n));
    }
    if (token === '(') {
      const inner = this.parse();
      if (this.tokens[this.pos++] !== ')') throw new ExprError("missing ')'", '(');
      return inner;
    }
    const num = parseNumber(token);
    if (num !== undefined) return number(num);
    if (!isIdentifier(token) && !/^\d+[bf]$/.test(token)) throw new ExprError(`unexpected '${token}'`, token);
    const found = this.lookup(token);
    return typeof found === 'bigint' ? number(found) : found;
  }
}

/** Evaluates all tokens as one expression. */
export function evaluateTokens(tokens: readonly string[], lookup: Lookup): Value {
  const parser = new Parser(tokens, lookup);
  const value = parser.parse();
  if (parser.pos < tokens.length) {
    throw new ExprError(`unexpected '${tokens[parser.pos]}'`, tokens[parser.pos] as string);
  }
  return value;
}

export const evaluate = (text: string, lookup: Lookup): Value => evaluateTokens(tokenize(text), lookup);
