// One instruction of the source into one that Keystone can encode: constants become
// numbers, symbols become placeholders that are found again in the bytes as fixups.
//
// Invariant: the length of an instruction never depends on an address. Symbols always
// take 32 bits (64 after movabs), so layout needs no second look at the encoding.

import { ExprError, evaluateTokens, isNumber, type Lookup, tokenize, type Value } from '../../../asm/expr.ts';
import { nameOfKey } from '../../../asm/keys.ts';
import { fitsInt32 } from '../../../asm/operands.ts';
import type { Fixup, FixupKind } from '../../../asm/program.ts';

/** Where a symbol's number will stand. The encoder looks for `marker` in the bytes. */
interface Placeholder {
  readonly kind: FixupKind;
  readonly marker: bigint;
  readonly value: Value;
  /** `[symbol]` with no register: encoded rip-relative at first, then rewritten to an absolute SIB. */
  readonly absolute: boolean;
}

interface InstructionText {
  readonly text: string;
  readonly placeholders: readonly Placeholder[];
}

const GENERAL = ['ax', 'cx', 'dx', 'bx', 'sp', 'bp', 'si', 'di'];
const REGISTERS = new Set<string>([
  ...GENERAL.flatMap((r) => [r, `e${r}`, `r${r}`]),
  ...'al ah bl bh cl ch dl dh spl bpl sil dil rip eip cs ds es fs gs ss'.split(' '),
  ...Array.from({ length: 8 }, (_, i) => [`r${i + 8}`, `r${i + 8}d`, `r${i + 8}w`, `r${i + 8}b`]).flat(),
  ...Array.from({ length: 16 }, (_, i) => [`xmm${i}`, `ymm${i}`, `cr${i}`, `dr${i}`]).flat(),
  ...Array.from({ length: 8 }, (_, i) => [`mm${i}`, `st${i}`]).flat(),
  'st',
]);
const SIZES = /^(byte|word|dword|qword|fword|tbyte|xmmword|ymmword)$/i;

export const isRegister = (name: string): boolean => REGISTERS.has(name.toLowerCase());
const signed64 = (n: bigint): bigint => BigInt.asIntN(64, n);

const markerFor = (index: number): bigint => 0x5a5b5c51n + BigInt(index) * 0x01010101n;

interface MemoryParts {
  registers: string[];
  constant: string[][];
  rip: boolean;
}

/** Splits what stands in brackets into registers and the tokens of the displacement. */
function splitMemory(tokens: readonly string[]): MemoryParts {
  const parts: MemoryParts = { registers: [], constant: [], rip: false };
  let term: string[] = [];
  let sign = '+';
  let depth = 0;
  const flush = (): void => {
    if (term.length === 0) return;
    const register = term.find((t) => isRegister(t));
    if (register === undefined) parts.constant.push([sign, '(', ...term, ')']);
    else if (sign === '-') throw new ExprError('a register cannot be subtracted in an address', register);
    else if (/^[re]ip$/i.test(register)) parts.rip = true;
    else parts.registers.push(scaled(term, register));
    term = [];
  };
  for (const token of tokens) {
    if (
      depth === 0 &&
      term.length > 0 &&
      (token === '+' || token === '-') &&
      !/^[*/%<>|&^]+$/.test(term.at(-1) ?? '')
    ) {
      flush();
      sign = token;
    } else if (depth === 0 && term.length === 0 && (token === '+' || token === '-')) {
      sign = token === sign ? '+' : '-';
    } else {
      if (token === '(') depth++;
      if (token === ')') depth--;
      term.push(token);
    }
  }
  flush();
  return parts;
}

function scaled(term: readonly string[], register: string): string {
  if (term.length === 1) return register;
  const scale = term.length === 3 && term[1] === '*' ? (term[0] === register ? term[2] : term[0]) : '';
  if (!/^[1248]$/.test(scale ?? ''))
    throw new ExprError(`bad index '${term.join('')}', the scale is 1, 2, 4 or 8`, register);
  return `${register}*${scale}`;
}

const signedText = (n: bigint): string => (n < 0n ? ` - ${-n}` : ` + ${n}`);

/** Rewrites operands, one after the other, collecting the placeholders. */
class OperandRewriter {
  readonly lookup: Lookup;
  readonly mnemonic: string;
  readonly placeholders: Placeholder[] = [];
  firstOperand = '';

  constructor(mnemonic: string, lookup: Lookup) {
    this.mnemonic = mnemonic;
    this.lookup = lookup;
  }

  hold(kind: FixupKind, value: Value, absolute = false): bigint {
    const marker = kind === 'abs64' ? 0x5152535455565758n : markerFor(this.placeholders.length);
    this.placeholders.push({ kind, marker, value, absolute });
    return marker;
  }

  rewrite(operand: string): string {
    const tokens = tokenize(operand);
    if (tokens.length === 1 && isRegister(tokens[0] as string)) return operand.toLowerCase();
    if (/^st\s*\(\s*\d\s*\)$/i.test(operand)) return operand;
    const open = tokens.indexOf('[');
    if (open < 0) return this.immediate(tokens);
    return this.memory(tokens, open);
  }

  immediate(tokens: readonly string[]): string {
    const hasOffset = /^offset$/i.test(tokens[0] as string);
    let rest = hasOffset ? tokens.slice(1) : tokens;
    if (hasOffset && /^flat$/i.test(rest[0] ?? '') && rest[1] === ':') rest = rest.slice(2);
    const value = evaluateTokens(rest, this.lookup);
    if (isNumber(value)) return String(signed64(value.num) === value.num ? value.num : signed64(value.num));
    const name = nameOfKey((value.terms[0] as { name: string }).name);
    const plus = value.terms.reduce((sum, t) => sum + t.sign, 0);
    if (!hasOffset && plus !== 0) {
      throw new ExprError(`'${name}' is an address: write 'offset ${name}' or '[rip+${name}]'`, name);
    }
    if (this.mnemonic === 'movabs') return String(this.hold('abs64', value));
    return String(this.hold(/^(e[a-ds]|r\d+d$)/.test(this.firstOperand) ? 'abs32' : 'abs32s', value));
  }

  memory(tokens: readonly string[], open: number): string {
    if (tokens.at(-1) !== ']') throw new ExprError("missing ']'", '[');
    let before = tokens.slice(0, open);
    let size = '';
    let segment = '';
    if (SIZES.test(before[0] ?? '')) {
      size = `${(before[0] as string).toLowerCase()} ptr `;
      before = before.slice(/^ptr$/i.test(before[1] ?? '') ? 2 : 1);
    }
    if (/^[c-gs]s$/i.test(before[0] ?? '') && before[1] === ':') {
      segment = `${(before[0] as string).toLowerCase()}:`;
      before = before.slice(2);
    }
    const inner = tokens.slice(open + 1, -1);
    if (before.length > 0) inner.push('+', '(', ...before, ')');
    if (size === '' && /^(call|jmp|push|pop)$/.test(this.mnemonic)) size = 'qword ptr ';
    return `${size}${segment}${this.address(splitMemory(inner))}`;
  }

  address(parts: MemoryParts): string {
    const tokens = parts.constant.flat();
    if (tokens[0] === '+') tokens.shift();
    const value = tokens.length > 0 ? evaluateTokens(tokens, this.lookup) : { num: 0n, terms: [] };
    const num = signed64(value.num);
    if (parts.rip) {
      if (parts.registers.length > 0) throw new ExprError('rip takes no other register', 'rip');
      if (isNumber(value) && fitsInt32(num)) return `[rip${signedText(num)}]`;
      return `[rip + ${this.hold('pc32', value)}]`;
    }
    if (parts.registers.length === 0) return `[rip + ${this.hold('abs32s', value, true)}]`;
    const registers = parts.registers.join(' + ');
    if (!isNumber(value)) return `[${registers} + ${this.hold('abs32s', value)}]`;
    if (!fitsInt32(num)) throw new ExprError(`displacement ${num} does not fit 32 bits`, '');
    return num === 0n ? `[${registers}]` : `[${registers}${signedText(num)}]`;
  }
}

/** What Keystone calls differently. */
function keystoneMnemonic(mnemonic: string, operands: readonly string[]): string {
  const widens =
    /^movsx$/.test(mnemonic) &&
    (/^dword ptr/.test(operands[1] ?? '') || /^(e\w\w|r\d+d)$/.test(operands[1] ?? ''));
  return widens ? 'movsxd' : mnemonic;
}

/** `prefix mnemonic`, operands as written: the text for Keystone and what it stands for. */
export function rewriteInstruction(
  prefix: string,
  mnemonic: string,
  operands: readonly string[],
  lookup: Lookup,
): InstructionText {
  const rewriter = new OperandRewriter(mnemonic, lookup);
  const texts: string[] = [];
  for (const operand of operands) {
    if (operand === '') throw new ExprError('empty operand', ',');
    texts.push(rewriter.rewrite(operand));
    rewriter.firstOperand = texts[0] as string;
  }
  const head = `${prefix}${prefix ? ' ' : ''}${keystoneMnemonic(mnemonic, texts)}`;
  return {
    text: texts.length > 0 ? `${head} ${texts.join(', ')}` : head,
    placeholders: rewriter.placeholders,
  };
}

function findMarker(bytes: Uint8Array, marker: bigint, width: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = bytes.length - width; at >= 0; at--) {
    const here = width === 8 ? view.getBigUint64(at, true) : BigInt(view.getUint32(at, true));
    if (here === marker) return at;
  }
  return -1;
}

/** mod=00 rm=101 (rip) becomes mod=00 rm=100 with SIB 25, which is disp32 and nothing else. */
function ripToAbsolute(bytes: Uint8Array, at: number): Uint8Array {
  const out = new Uint8Array(bytes.length + 1);
  out.set(bytes.subarray(0, at));
  out[at - 1] = ((bytes[at - 1] as number) & 0x38) | 4;
  out[at] = 0x25;
  out.set(bytes.subarray(at), at + 1);
  return out;
}

/** Finds the placeholders in what Keystone made of the text. */
export function placeFixups(
  encoded: Uint8Array,
  placeholders: readonly Placeholder[],
): { bytes: Uint8Array; fixups: Fixup[] } {
  let bytes: Uint8Array = Uint8Array.from(encoded);
  const fixups: Fixup[] = [];
  for (const { kind, marker, value, absolute } of placeholders) {
    const width = kind === 'abs64' ? 8 : 4;
    let at = findMarker(bytes, marker, width);
    if (at < 0) throw new ExprError('the operand has no room for an address', '');
    if (absolute) {
      bytes = ripToAbsolute(bytes, at);
      at++;
    }
    bytes.fill(0, at, at + width);
    fixups.push({ kind, offset: at, width, value });
  }
  return { bytes, fixups };
}
