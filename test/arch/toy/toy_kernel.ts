// The description of the toy's kernel: another's, but for the registers that are saved.

import { type PtRegsLayout, ptRegsSize } from '../../../src/arch/pt_regs.ts';
import type { KernelDescription } from '../../../src/kernel/description.ts';

export function toyKernel(like: KernelDescription, ptRegs: PtRegsLayout): KernelDescription {
  const fields = Object.fromEntries(ptRegs.words.map((name, i) => [name, 8 * i]));
  const structs = { ...like.structs, pt_regs: { size: ptRegsSize(ptRegs), fields } };
  return { ...like, structs: structs as unknown as KernelDescription['structs'] };
}
