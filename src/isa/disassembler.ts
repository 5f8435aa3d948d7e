// Listings that people read: Capstone's text, spelled as objdump spells it, with symbol names.
//
// Addresses and branch targets come from our own decoder: Capstone's build for JavaScript
// returns the upper half of the address space as negative numbers.

import { decodeAt, FLOW_CALL, FLOW_JCC, FLOW_JMP, type Insn, REX_W } from './decoder.ts';

export interface DisassembleOptions {
  /** `name` or `name+0xoff` for an address. */
  symbolize?: (addr: bigint) => string | undefined;
  /** AT&T is what objdump and the kernel's own listings use. */
  syntax?: 'att' | 'intel';
}

export interface DisassembledInsn {
  addr: bigint;
  size: number;
  bytes: Uint8Array;
  text: string;
}

type Disassemble = (bytes: Uint8Array, addr: bigint, options?: DisassembleOptions) => DisassembledInsn[];

interface CapstoneInsn {
  readonly size: number;
  readonly mnemonic: string;
  readonly op_str: string;
}

interface CapstoneEngine {
  disasm(bytes: Uint8Array, addr: bigint, max?: number): CapstoneInsn[];
  option(option: number, value: number): void;
}

interface CapstoneModule {
  readonly ARCH_X86: number;
  readonly MODE_64: number;
  readonly OPT_SYNTAX: number;
  readonly OPT_SYNTAX_ATT: number;
  readonly OPT_SYNTAX_INTEL: number;
  readonly Capstone: new (arch: number, mode: number) => CapstoneEngine;
}

/** What Capstone is given at once: its results are copied into objects of some size. */
const CHUNK = 0x8000;
/** Mnemonics whose size suffix objdump leaves out when a register tells the size. */
const SUFFIXED =
  /^(mov|add|sub|and|or|xor|cmp|test|lea|push|pop|xchg|inc|dec|neg|not|mul|imul|div|idiv|adc|sbb|bts?|btr|btc|xadd|cmpxchg|shld?|shrd?|sar|rol|ror|bs[fr]|bswap|popcnt|movbe|cmov\w+|call|jmp|ret|leave)[bwlq]$/;
const ALWAYS_BARE = /^(call|jmp|ret|leave|push|pop|movabs)q$/;
const SHIFT_BY_CL = /^(sh[lr]|sa[lr]|ro[lr])[bwlq]$/;

const isRegister = (operand: string): boolean => /^%\w+$/.test(operand);

function attMnemonic(mnemonic: string, operands: readonly string[]): string {
  const words = mnemonic.split(' ');
  const last = words.pop() as string;
  const sized = SHIFT_BY_CL.test(last) ? operands.slice(-1) : operands;
  const bare = ALWAYS_BARE.test(last) || (SUFFIXED.test(last) && sized.some(isRegister));
  return [...words, bare ? last.slice(0, -1) : last].join(' ');
}

/** Splits at commas outside parentheses. */
const splitOperands = (text: string): string[] => (text === '' ? [] : text.split(/,\s*(?![^(]*\))/));

/** An immediate of the operand's own size, in hex. */
function attImmediate(text: string, insn: Insn): string {
  const negative = text.startsWith('-');
  const value = BigInt(negative ? text.slice(1) : text) * (negative ? -1n : 1n);
  const unsigned = BigInt.asUintN(64, value);
  const narrow = (insn.rex & REX_W) === 0 && unsigned > 0xffffffffn;
  return `$0x${(narrow ? BigInt.asUintN(insn.opsize16 ? 16 : 32, value) : unsigned).toString(16)}`;
}

/** Numbers in hex, a displacement of zero shown when it is encoded, the scale always there. */
function attOperand(operand: string, insn: Insn): string {
  if (operand.startsWith('$')) return attImmediate(operand.slice(1), insn);
  const hex = operand
    .replace(/, /g, ',')
    .replace(/\((%\w+)?,(%\w+)\)/, '($1,$2,1)')
    .replace(/^(%[fg]s:)(\d+)$/, (_, segment: string, n: string) => `${segment}0x${Number(n).toString(16)}`)
    .replace(/(^|[:*-])(\d+)\(/, (_, before: string, n: string) => `${before}0x${Number(n).toString(16)}(`);
  const encodedZero =
    insn.disp === 0 && insn.hasModrm && (insn.mod === 1 || insn.mod === 2 || hex.includes('(%rip'));
  return encodedZero || hex.includes('(,') ? hex.replace(/(^|[:*])\(/, '$10x0(') : hex;
}

function attText(mnemonic: string, opStr: string, insn: Insn): string {
  const operands = splitOperands(opStr).map((operand) => attOperand(operand, insn));
  const name = attMnemonic(mnemonic, operands);
  return operands.length > 0 ? `${name} ${operands.join(',')}` : name;
}

interface TextContext {
  readonly addr: bigint;
  readonly insn: Insn;
  readonly raw: Uint8Array;
  readonly options: DisassembleOptions;
}

const hexAddr = (addr: bigint): string => `0x${addr.toString(16)}`;

function textOf(found: CapstoneInsn, { addr, insn, raw, options }: TextContext): string {
  const { symbolize, syntax = 'att' } = options;
  const next = addr + BigInt(raw.length);
  if (insn.flow === FLOW_CALL || insn.flow === FLOW_JMP || insn.flow === FLOW_JCC) {
    const target = BigInt.asUintN(64, next + BigInt(insn.imm));
    const name = found.mnemonic.replace(/^(.*\b(?:call|jmp))q$/, '$1');
    return `${name} ${symbolize?.(target) ?? hexAddr(target)}`;
  }
  let text = `${found.mnemonic} ${found.op_str}`.trim();
  if (syntax === 'att') text = attText(found.mnemonic, found.op_str, insn);
  if (!insn.ripRelative) return text;
  const target = BigInt.asUintN(64, next + BigInt(insn.disp));
  return `${text}  # ${symbolize?.(target) ?? hexAddr(target)}`;
}

/** The engine's instructions from `at`; none if the bytes there make no sense to it. */
function engineRun(engine: CapstoneEngine, bytes: Uint8Array, addr: bigint): CapstoneInsn[] {
  try {
    return engine.disasm(bytes, addr);
  } catch {
    return [];
  }
}

function run(
  engine: CapstoneEngine,
  bytes: Uint8Array,
  addr: bigint,
  options: DisassembleOptions,
): DisassembledInsn[] {
  const out: DisassembledInsn[] = [];
  let at = 0;
  while (at < bytes.length) {
    const from = addr + BigInt(at);
    const found = engineRun(engine, bytes.subarray(at, at + CHUNK), from);
    for (const one of found) {
      const raw = bytes.slice(at, at + one.size);
      const here = addr + BigInt(at);
      const insn = decodeAt(bytes, at, Number(here & 0xffffffffn));
      out.push({
        addr: here,
        size: one.size,
        bytes: raw,
        text: textOf(one, { addr: here, insn, raw, options }),
      });
      at += one.size;
    }
    if (found.length === 0) {
      out.push({ addr: from, size: 1, bytes: bytes.slice(at, at + 1), text: '(bad)' });
      at++;
    }
  }
  return out;
}

let loaded: Promise<Disassemble> | undefined;

/** Loads Capstone once; what it resolves to needs no waiting. */
export function loadDisassembler(): Promise<Disassemble> {
  loaded ??= (async () => {
    const imported = (await import('@alexaltea/capstone-js')) as unknown as {
      default: () => Promise<CapstoneModule>;
    };
    const module = await imported.default();
    const engine = new module.Capstone(module.ARCH_X86, module.MODE_64);
    return (bytes, addr, options = {}) => {
      const { OPT_SYNTAX, OPT_SYNTAX_ATT, OPT_SYNTAX_INTEL } = module;
      engine.option(OPT_SYNTAX, options.syntax === 'intel' ? OPT_SYNTAX_INTEL : OPT_SYNTAX_ATT);
      return run(engine, bytes, addr, options);
    };
  })();
  return loaded;
}

/** Disassembles bytes that stand at `addr`. Bytes that are no instruction come out as `(bad)`. */
export async function disassemble(
  bytes: Uint8Array,
  addr: bigint,
  options: DisassembleOptions = {},
): Promise<DisassembledInsn[]> {
  const run = await loadDisassembler();
  return run(bytes, addr, options);
}
