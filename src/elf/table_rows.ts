// Rows of the tables that an object has about its code. Mirrors tools/objtool/arch/x86/include/arch/special.h, struct
// unwind_hint, and the structures that the rows are.
//
// An object may be of any kernel, and does not say of which: the form of its rows is found by their size and by where
// relocations lie in them. What the kernel of a machine has comes from its description instead.

export interface RowForm {
  /** Bytes of a row. */
  readonly size: number;
  /** Where a row has relocations: the place that it is about, then others. */
  readonly relocated: readonly number[];
}

/** struct alt_instr */
interface AlternativeForm extends RowForm {
  readonly cpuid: number;
  readonly instrlen: number;
  readonly replacementlen: number;
}

/** Its flags took two more bytes in 6.3. */
export const ALT_INSTR: readonly AlternativeForm[] = [
  { size: 12, relocated: [0, 4], cpuid: 8, instrlen: 10, replacementlen: 11 },
  { size: 14, relocated: [0, 4], cpuid: 8, instrlen: 12, replacementlen: 13 },
];
/** With a length of padding behind the others, before 5.18. */
export const OLD_ALT_INSTR: AlternativeForm = {
  size: 13,
  relocated: [0, 4],
  cpuid: 8,
  instrlen: 10,
  replacementlen: 11,
};

/** struct bug_entry, with the file's name and without; from 7.2 on with a format before it. */
export const BUG_ENTRY: readonly (RowForm & { readonly flags: number })[] = [
  { size: 12, relocated: [0, 4], flags: 10 },
  { size: 16, relocated: [0, 4, 8], flags: 14 },
  { size: 8, relocated: [0], flags: 4 },
];

/** With a format, and without the file's name, as 7.x has it without CONFIG_DEBUG_BUGVERBOSE: as long as the first above. */
export const BUG_ENTRY_7: typeof BUG_ENTRY = [BUG_ENTRY[1], { size: 12, relocated: [0, 4], flags: 8 }];

/** struct jump_entry: the branch, where it leads, its key. */
export const JUMP_ENTRY: readonly RowForm[] = [{ size: 16, relocated: [0, 4, 8] }];

/** struct exception_table_entry: the instruction, its fixup. */
export const EXCEPTION_ENTRY: readonly RowForm[] = [{ size: 12, relocated: [0, 4] }];

/** struct paravirt_patch_site */
export const PARAVIRT_SITE = { size: 16, relocated: [0], len: 9 } as const satisfies RowForm & {
  len: number;
};

/** struct static_call_site: the call, its key. */
export const STATIC_CALL_SITE: RowForm = { size: 8, relocated: [0, 4] };

interface HintForm extends RowForm {
  readonly spOffset: number;
  readonly spReg: number;
  readonly type: number;
  readonly end: number;
}

/** struct unwind_hint; its last byte is `signal` from 6.4 on. */
export const UNWIND_HINT: readonly HintForm[] = [
  { size: 12, relocated: [0], spOffset: 4, spReg: 6, type: 7, end: 8 },
];

/** What 6.13 and later say of an instruction, or of a row of a table: the place, a number. */
export const ANNOTATION = { size: 8, relocated: [0], type: 4 } as const satisfies RowForm & { type: number };

/** What an element of .orc_unwind_ip is. */
export const ORC_IP: RowForm = { size: 4, relocated: [0] };
