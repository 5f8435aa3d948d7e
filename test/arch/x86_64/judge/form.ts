// What a form of instruction is, and how it is named.
//
// Invariant: a form is one `Code` of iced-x86 with its rm operand in a register or in memory, without a prefix that
// changes what it does, or with LOCK, repe or repne. `formKey` is the same for a form and for each instruction of it.

import * as iced from 'iced-x86';
import { type Insn, STRING } from '../../../../src/isa/decoder.ts';

export type Operand = 'none' | 'register' | 'memory';
export type Repeat = 'lock' | 'repe' | 'repne' | undefined;

export interface Form {
  readonly key: string;
  /** As the manual writes it, such as `lock add m32, r32`. */
  readonly name: string;
  readonly mnemonic: string;
  readonly code: iced.Code;
  readonly operand: Operand;
  readonly repeat: Repeat;
  /** Before REX: LOCK or a repetition, the operand size, a prefix that belongs to the opcode. */
  readonly prefixes: readonly number[];
  readonly wide: boolean;
  /** The map's bytes and the opcode. */
  readonly opcode: readonly number[];
  /** The three bits of ModRM's reg, where they belong to the opcode. */
  readonly ext: number | undefined;
  /** Those of rm likewise. */
  readonly rm: number | undefined;
  /** The low three bits of the opcode name a register. */
  readonly inOpcode: boolean;
  readonly immediate: number;
  /** Registers that its operands name, beside the general ones. */
  readonly registers: 'general' | 'xmm' | 'ymm' | 'zmm' | 'mm' | 'other';
  /** What the project's table says of it; 0 with VEX. */
  readonly facts: number;
  readonly vex: Vex | undefined;
}

/** What a VEX prefix says beside registers and the width. */
export interface Vex {
  /** 1, 2 and 3: 0F, 0F38 and 0F3A. */
  readonly map: number;
  /** 0 to 3: none, 66, F3, F2. */
  readonly prefix: number;
  /** 256 bits. */
  readonly long: boolean;
  /** It names one more register. */
  readonly source: boolean;
  /** Of EVEX: 0, 1 and 2 for 128, 256 and 512 bits. */
  readonly length?: number;
  /** The core has it. */
  readonly executed: boolean;
}

/** Of names: memory that is an image of many registers. */
export const IMAGE = /^(fx|x)(save|rstor)/;

export const formKey = (code: iced.Code, operand: Operand, repeat: Repeat): string =>
  `${iced.Code[code]} ${operand}${repeat ? ` ${repeat}` : ''}`;

/** Of an instruction that both decoders took. */
export function operandOf(insn: Insn): Operand {
  if (!insn.hasModrm) return 'none';
  return insn.mod === 3 ? 'register' : 'memory';
}

export function repeatOf(insn: Insn): Repeat {
  if (insn.locked) return 'lock';
  if ((insn.facts & STRING) === 0 || insn.rep === 0) return undefined;
  return insn.rep === 0xf3 ? 'repe' : 'repne';
}

const IN_OPCODE = new Set([
  iced.OpCodeOperandKind.r8_opcode,
  iced.OpCodeOperandKind.r16_opcode,
  iced.OpCodeOperandKind.r32_opcode,
  iced.OpCodeOperandKind.r64_opcode,
]);

type Info = Pick<Form, 'inOpcode' | 'registers'> & { text: string; mnemonic: iced.Mnemonic };

export function infoOf(code: iced.Code): Info {
  const info = iced.CodeExt.opCode(code);
  const kinds = Array.from({ length: info.opCount }, (_, i) => info.opKind(i));
  const text = info.instructionString.toLowerCase();
  const { mnemonic } = info;
  info.free();
  return {
    text,
    mnemonic,
    inOpcode: kinds.some((kind) => IN_OPCODE.has(kind)),
    registers: registersOf(text),
  };
}

function registersOf(text: string): Form['registers'] {
  if (/\bmm\d?\b/.test(text)) return 'mm';
  if (text.startsWith('v') && /\b[xy]mm\d?\b/.test(text)) return 'ymm';
  if (/\bxmm\d?\b/.test(text)) return 'xmm';
  return /\b(st\(?\d?\)?|sreg|cr|dr|bnd\d?)\b/.test(text) ? 'other' : 'general';
}

/** The manual's text, and which of `r/m` it is. */
export function nameOf(text: string, operand: Operand, repeat: Repeat): string {
  const sized = text.replace(/\b(r|r\d+|[xy]?mm\d?)\/m(\d+)/, (_, register: string, bits: string) => {
    if (operand === 'memory') return `m${bits}`;
    return register === 'r' ? `r${bits}` : register;
  });
  return repeat ? `${repeat} ${sized}` : sized;
}
