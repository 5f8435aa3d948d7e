// What x86 does to a module's text while it loads. Mirrors module_finalize() of arch/x86/kernel/module.c.

import { decodeAt } from '../../../isa/decoder.ts';
import type { FinalizeContext, ModuleText, SiteTable } from '../../module_text.ts';
import {
  applyAlternatives,
  applyRetpolines,
  applyReturns,
  type InsnLength,
  sealEndbr,
  smpUnlock,
} from './alternative.ts';
import { BRANCHES } from './branches.ts';
import { DEFAULT_CPU_FEATURES } from './cpu_features.ts';
import { applyRelocation, clearRelocation } from './relocation.ts';

/** Length by the decoder; 0 for bytes that are no instruction. */
export const insnLength: InsnLength = (bytes, offset) => decodeAt(bytes, offset, 0).length;

const REGISTERS = ['rax', 'rcx', 'rdx', 'rbx', 'rsp', 'rbp', 'rsi', 'rdi'];
const THUNK = '__x86_indirect_thunk_';

/** The register of a retpoline thunk: rax 0 to r15 15. */
function thunkRegister(thunk: string | undefined): number | undefined {
  if (!thunk?.startsWith(THUNK)) return undefined;
  const name = thunk.slice(THUNK.length);
  const index = REGISTERS.indexOf(name);
  if (index >= 0) return index;
  return /^r(8|9|1[0-5])$/.test(name) ? Number(name.slice(1)) : undefined;
}

/** The order matters, see alternative_instructions(). */
const TABLES: readonly SiteTable[] = [
  {
    section: '.retpoline_sites',
    entry: 4,
    what: 'indirect branch, no thunk',
    apply: ({ mem, features, nameAt }, table) =>
      applyRetpolines(mem, table, features, insnLength, (thunk) => thunkRegister(nameAt(thunk))),
  },
  {
    section: '.return_sites',
    entry: 4,
    what: 'plain return',
    apply: ({ mem, features, lookupName }, table) =>
      applyReturns(mem, table, features, lookupName('__x86_return_thunk') ?? 0n),
  },
  {
    section: '.altinstructions',
    entry: 'alt_instr',
    what: 'alternative taken',
    apply: (context, table) => applyAlternatives(context, table, insnLength),
  },
  {
    section: '.ibt_endbr_seal',
    entry: 4,
    what: 'endbr64 sealed',
    apply: ({ mem, kernel, lookupName }, table) =>
      lookupName('apply_seal_endbr') === undefined
        ? 'the kernel was built without CONFIG_X86_KERNEL_IBT'
        : sealEndbr(mem, table, Number(kernel.constants.SEALED_ENTRY)),
  },
  {
    section: '.smp_locks',
    entry: 4,
    what: 'lock prefix removed',
    apply: ({ mem, cpus, text }: FinalizeContext, table) =>
      cpus === 1 && text ? smpUnlock(mem, table, text) : 'lock prefixes stay: more than one CPU',
  },
];

export const MODULE_TEXT: ModuleText = {
  relocations: {
    apply: applyRelocation,
    clear: clearRelocation,
  },
  features: DEFAULT_CPU_FEATURES,
  tables: TABLES,
  branches: BRANCHES,
};
