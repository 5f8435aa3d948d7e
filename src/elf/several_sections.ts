// Tables of one name that `ld -r --unique` leaves side by side, of which the kernel reads one.
// Mirrors module_finalize() of arch/x86/kernel/module.c, whose loop keeps the last of each name, and find_sec() of
// kernel/module/main.c, which returns the first.

import { SHF_ALLOC } from './constants.ts';
import type { ElfObject } from './elf_object.ts';

const LAST = [
  '.altinstructions',
  '.smp_locks',
  '.parainstructions',
  '.orc_unwind',
  '.orc_unwind_ip',
  '.retpoline_sites',
  '.return_sites',
  '.ibt_endbr_seal',
];
const FIRST = [
  '__param',
  '__ksymtab',
  '__ksymtab_gpl',
  '__kcrctab',
  '__kcrctab_gpl',
  '__ex_table',
  '__bug_table',
  '__jump_table',
  '.static_call_sites',
  '__mcount_loc',
  '__tracepoints_ptrs',
  '___srcu_struct_ptrs',
  '_ftrace_events',
  '_ftrace_eval_map',
  '.noinstr.text',
  '.data..percpu',
];

/** What is read of the tables that an object has several of: `.altinstructions (the last of 2)`. */
export function severalSections(elf: ElfObject): string[] {
  return [...LAST.map((name) => [name, 'last']), ...FIRST.map((name) => [name, 'first'])].flatMap(
    ([name, which]) => {
      const all = elf.sectionsNamed(name).filter((s) => s.flags & SHF_ALLOC && s.size > 0);
      return all.length > 1 ? [`${name} (the ${which} of ${all.length})`] : [];
    },
  );
}
