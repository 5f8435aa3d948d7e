// The assembler for x86_64: the front end (src/asm) with this port's instructions.

import {
  type AsmImage,
  type AsmOptions,
  type AsmSource,
  assembleImageFor,
  assembleSnippetFor,
} from '../../../asm/assembler.ts';
import type { AsmPort } from '../../../asm/port.ts';
import { fillNops } from '../../../isa/nops.ts';
import { OPCODE } from '../../../isa/opcodes.ts';
import { HINTS, readHint } from './hints.ts';
import { readInstruction } from './instruction.ts';
import { type KeystoneEncoder, keystone } from './keystone.ts';
import { isRegister } from './operand.ts';

const BYTES: Readonly<Record<string, readonly number[]>> = {
  NOP5: [0x0f, 0x1f, 0x44, 0x00, 0x00],
  ENDBR: [0xf3, 0x0f, 0x1e, 0xfa],
  SYSRETQ: [0x48, 0x0f, 0x07],
  INT3: [OPCODE.INT3],
};

const portWith = (encoder: KeystoneEncoder): AsmPort => ({
  isRegister,
  bytes: BYTES,
  fentryCall: 'call __fentry__',
  isCall: (text) => /^call\b/.test(text),
  ignored: new Set(['.intel_syntax', '.code64', 'ANNOTATE_NOENDBR']),
  codeFill: OPCODE.INT3,
  fillNops,
  isHint: (word) => Object.hasOwn(HINTS, word),
  readHint,
  readInstruction: (place, text, lookup) => readInstruction(place, text, lookup, encoder),
});

/** Keystone is loaded at the first use. */
export const assembler = async (): Promise<AsmPort> => portWith(await keystone());

/** Assembles all sources into one image. @throws AsmError with the place in the sources. */
export async function assembleImage(sources: AsmSource[], options: AsmOptions): Promise<AsmImage> {
  return assembleImageFor(await assembler(), sources, options);
}

/** A few instructions for an address; `symbols` may be branched to and referred to. */
export async function assembleSnippet(
  text: string,
  addr: bigint,
  symbols: Map<string, bigint> = new Map(),
): Promise<Uint8Array> {
  return assembleSnippetFor(await assembler(), text, addr, symbols);
}
