// A form that a VEX or EVEX prefix begins, from what a catalogue found of it.

import * as iced from 'iced-x86';
import type { Insn } from '../../../../src/isa/decoder.ts';
import { type Form, formKey, infoOf, nameOf, operandOf } from './form.ts';

export type Found = Pick<Form, 'code' | 'wide' | 'opcode' | 'ext' | 'registers' | 'vex'>;

/** Addresses of many elements at once: the index is a vector. */
const GATHER = /\bvm(32|64)[xyz]\b/;

/** Undefined for one of many addresses, which the judge cannot place. */
export function prefixedForm(insn: Insn, found: Found): Form | undefined {
  const { text, mnemonic } = infoOf(found.code);
  if (GATHER.test(text)) return undefined;
  const operand = operandOf(insn);
  return {
    key: formKey(found.code, operand, undefined),
    name: nameOf(text, operand, undefined),
    mnemonic: iced.Mnemonic[mnemonic].toLowerCase(),
    operand,
    repeat: undefined,
    prefixes: [],
    rm: undefined,
    inOpcode: false,
    immediate: insn.immSize,
    facts: 0,
    ...found,
  };
}
