// What becomes of each section of an uber module when it is split, by name: the kernel finds tables by theirs.
// Mirrors find_module_sections() of kernel/module/main.c and module_finalize() of arch/*/kernel/module.c.

import { SHF_ALLOC, SHF_EXECINSTR, SHT_RELA, SHT_STRTAB, SHT_SYMTAB } from '../../elf/constants.ts';
import type { ElfObject, ElfSection } from '../../elf/elf_object.ts';
import { THIS_MODULE_SECTION } from '../../elf/module_object.ts';
import {
  ALT_INSTR,
  BUG_ENTRY,
  EXCEPTION_ENTRY,
  JUMP_ENTRY,
  OLD_ALT_INSTR,
  PARAVIRT_SITE,
  type RowForm,
  STATIC_CALL_SITE,
} from '../../elf/table_rows.ts';

/**
 * - atoms: code or data, of which a member has those that it reaches
 * - rows: a table, whose rows go with what they are about
 * - orc: rows of unwind data, made anew for the text of a member
 * - whole: every member has all of it
 * - made: made for each member
 * - dropped: no member has it
 */
type SectionFate = 'atoms' | 'rows' | 'orc' | 'whole' | 'made' | 'dropped';

const bytes = (size: number): readonly RowForm[] => [{ size, relocated: [0] }];

/** Forms of the rows of a table; that which a row's first relocation names is what the row is about. */
const ROWS: Readonly<Record<string, readonly RowForm[]>> = {
  __bug_table: BUG_ENTRY,
  __ex_table: EXCEPTION_ENTRY,
  '.altinstructions': [...ALT_INSTR, OLD_ALT_INSTR],
  '.parainstructions': [PARAVIRT_SITE],
  __jump_table: JUMP_ENTRY,
  '.static_call_sites': [STATIC_CALL_SITE],
  '.static_call_tramp_key': [STATIC_CALL_SITE],
  __mcount_loc: bytes(8),
  '.return_sites': bytes(4),
  '.retpoline_sites': bytes(4),
  '.call_sites': bytes(4),
  '.cfi_sites': bytes(4),
  '.ibt_endbr_seal': bytes(4),
  '.smp_locks': bytes(4),
  _kprobe_blacklist: bytes(8),
  __error_injection_whitelist: bytes(16),
  '.printk_index': bytes(8),
  __tracepoints_ptrs: bytes(4),
  ___srcu_struct_ptrs: bytes(8),
  __patchable_function_entries: bytes(8),
  _ftrace_events: bytes(8),
  _ftrace_eval_map: bytes(8),
  __bpf_raw_tp_map: bytes(32),
};

/** Which relocations of a row say what it is about, the first that there is, where it is not that at its beginning. */
export const OWNER_AT: Readonly<Record<string, readonly number[]>> = {
  // What a parameter sets, or else what sets it.
  __param: [32, 16],
};

/** Sections that a patch module has no business with, and why none is taken apart. */
const REFUSED: readonly (readonly [RegExp, string])[] = [
  [/^__k(symtab|crctab)/, 'it exports symbols itself'],
  [/^\.(init_array|ctors|initcall)/, 'its constructors run once for the module, and would once a member'],
  [/^\.kunit/, 'it has tests of KUnit'],
];

export function fateOf({ name, flags, type }: ElfSection): SectionFate {
  if (type === SHT_RELA || type === SHT_SYMTAB || type === SHT_STRTAB || type === 0) return 'made';
  if (name === '.modinfo' || name === '__versions') return 'made';
  if (name === '.comment' || name === '.note.GNU-stack') return 'whole';
  if (!(flags & SHF_ALLOC) || name === '.note.gnu.build-id') return 'dropped';
  // What klp-build has made livepatch relocations of.
  if (name.startsWith('__klp_relocs.')) return 'dropped';
  if (name === '.orc_unwind' || name === '.orc_unwind_ip') return 'orc';
  if (name.startsWith('.note') || name === '.orc_header' || name === '.BTF') return 'whole';
  if (Object.hasOwn(ROWS, name) || name === '__param') return 'rows';
  return 'atoms';
}

/** Why a module with that section is not split; undefined where it is no reason. */
export const refusal = ({ name, size }: ElfSection): string | undefined =>
  size > 0 ? REFUSED.find(([names]) => names.test(name))?.[1] : undefined;

export const isCode = ({ flags }: ElfSection): boolean => (flags & SHF_EXECINSTR) !== 0;
export const isThisModule = ({ name }: ElfSection): boolean => name === THIS_MODULE_SECTION;

/** Bytes of a row of a table, by where its relocations lie. @throws ElfError */
export function rowSize(
  elf: ElfObject,
  section: ElfSection,
  offsets: readonly number[],
  param: number,
): number {
  const forms = section.name === '__param' ? bytes(param) : ROWS[section.name];
  if (forms.length === 1) return whole(elf, section, forms[0].size);
  const fitting = forms.filter(
    ({ size, relocated }) =>
      section.size % size === 0 && offsets.every((offset) => relocated.includes(offset % size)),
  );
  if (fitting.length === 0) throw elf.error('rows of no known size', section.name);
  return fitting[0].size;
}

function whole(elf: ElfObject, section: ElfSection, size: number): number {
  if (section.size % size === 0) return size;
  throw elf.error(`${section.size} bytes are no whole number of rows of ${size}`, section.name);
}
