// ORC as x86_64 has it. Mirrors tools/objtool/arch/x86/orc.c.

import type { OrcEntry } from '../../../elf/orc.ts';
import type { OrcPort } from '../../orc.ts';
import {
  ORC_REG_BP,
  ORC_REG_BP_INDIRECT,
  ORC_REG_NAMES,
  ORC_REG_SP,
  ORC_REG_UNDEFINED,
} from '../unwind/orc_registers.ts';
import { ORC_FORMATS } from './orc_formats.ts';
import { ORC_LAYOUTS } from './orc_layouts.ts';
import { ORC_FP_BASES, ORC_SP_BASES } from './registers.ts';

/** The last one whose layout is known: nobody knows what comes after it. */
const NEWEST_KERNEL = 703;

function versionNumber(text: string): number {
  const [major, minor] = text.split('.').map(Number);
  return major * 100 + minor;
}

const TYPE_NAMES: readonly string[] = ['call', 'regs', 'regs (partial)'];

const signed = (n: number): string => (n < 0 ? `${n}` : `+${n}`);

function place(reg: number, offset: number): string {
  if (reg === ORC_REG_UNDEFINED) return '(und)';
  // The offset is inside: bp + offset holds the address.
  if (reg === ORC_REG_BP_INDIRECT) return `(bp${signed(offset)})`;
  return `${ORC_REG_NAMES[reg] ?? `reg${reg}`}${signed(offset)}`;
}

/** `sp:sp+8 bp:prevsp-16 type:call end:0` */
function text({ spReg, spOffset, fpReg, fpOffset, type, end }: OrcEntry): string {
  const kind = TYPE_NAMES[type] ?? `type${type}`;
  return `sp:${place(spReg, spOffset)} bp:${place(fpReg, fpOffset)} type:${kind} end:${end ? 1 : 0}`;
}

const OWN = '6.1';

export const ORC: OrcPort = {
  formats: ORC_LAYOUTS,
  own: OWN,
  byHash(hash) {
    if (hash === undefined) return ORC_LAYOUTS.get(OWN);
    return [...ORC_LAYOUTS.values()].find((rule) => rule.hash === hash);
  },
  byVersion(version) {
    if (version > NEWEST_KERNEL) return undefined;
    return [...ORC_FORMATS].reverse().find((format) => versionNumber(format) <= version) ?? ORC_FORMATS[0];
  },
  sp: ORC_REG_SP,
  fp: ORC_REG_BP,
  spBase: (base) => ORC_SP_BASES.get(base),
  fpBase: (base) => ORC_FP_BASES.get(base),
  fpTitle: 'BP',
  text,
};
