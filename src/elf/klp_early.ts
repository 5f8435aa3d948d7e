// Places of a livepatch module that the loader reads, copies or rewrites before the relocations against a module that
// may come later are applied; a relocation there would come too late, or be written over.
// Mirrors the order of apply_relocations(), post_relocation(), prepare_coming_module() of kernel/module/main.c and
// klp_apply_section_relocs() of kernel/livepatch/core.c.

import { SHF_ALLOC } from './constants.ts';
import type { ElfObject, ElfRelocation, ElfSection } from './elf_object.ts';
import { ALT_INSTR, JUMP_ENTRY, OLD_ALT_INSTR, PARAVIRT_SITE, STATIC_CALL_SITE } from './table_rows.ts';

/** Sections that no relocation of livepatch reaches, whatever its object: they are not loaded in place. */
const NOT_IN_PLACE: Readonly<Record<string, string>> = {
  '.data..percpu': 'per-CPU data is copied to each CPU without relocation',
  '.modinfo': 'it is not loaded',
  __versions: 'it is not loaded',
};

/** Sections whose work is done while the livepatch loads. */
const USED_AT_LOAD: readonly (readonly [RegExp, string])[] = [
  [/^\.init(\.|$)/, 'it is gone after init'],
  [/^\.altinstr_replacement$/, 'it is copied into the text'],
  [/^\.altinstr(uctions|_aux)$/, 'alternatives are applied'],
  [/^\.parainstructions$/, 'paravirt calls are patched'],
  [/^\.(return|retpoline)_sites$/, 'the sites are rewritten'],
  [/^(\.smp_locks|\.ibt_endbr_seal)$/, 'the sites are rewritten'],
  [/^\.call_sites$/, 'the sites are rewritten'],
  [/^__jump_table$/, 'jump labels are set'],
  [/^\.static_call_(sites|tramp_key)$/, 'static calls are set'],
  [/^__mcount_loc$/, 'fentry sites are made nops'],
  [/^\.orc_unwind(_ip)?$/, 'the unwinder sorts it'],
  [/^__ex_table$/, 'exceptions are sorted'],
  [/^__param$/, 'parameters are set'],
  [/^__ksymtab/, 'exports are published'],
  [/^\.gnu\.linkonce\.this_module$/, 'it is struct module itself'],
];

/** What rewrites text: where in an entry the place is named, and how many bytes are rewritten there. */
interface SiteTable {
  /** Of an entry; found by the relocations, two an entry, where it differs between kernels. */
  readonly size: number;
  readonly span: number | ((entry: DataView) => number);
  readonly why: string;
}

const SITES: Readonly<Record<string, SiteTable>> = {
  '.altinstructions': { size: 0, span: altLength, why: 'an alternative may be put there' },
  '.parainstructions': {
    size: PARAVIRT_SITE.size,
    span: (entry) => entry.getUint8(PARAVIRT_SITE.len),
    why: 'a paravirt call is patched there',
  },
  '.retpoline_sites': { size: 4, span: 6, why: 'a retpoline site is rewritten there' },
  '.return_sites': { size: 4, span: 5, why: 'a return site is rewritten there' },
  __jump_table: { size: JUMP_ENTRY[0].size, span: 5, why: 'a jump label is set there' },
  '.static_call_sites': { size: STATIC_CALL_SITE.size, span: 5, why: 'a static call is set there' },
  __mcount_loc: { size: 8, span: 5, why: 'an fentry site is made a nop there' },
};

function altLength(entry: DataView): number {
  const form = [...ALT_INSTR, OLD_ALT_INSTR].find(({ size }) => size === entry.byteLength);
  // A form that is not known yet ends in the two lengths as well, as far as they have all done.
  return entry.getUint8(form?.instrlen ?? entry.byteLength - 2);
}

interface Site {
  readonly start: number;
  readonly end: number;
  readonly why: string;
}

export class EarlyPlaces {
  readonly #elf: ElfObject;
  #sites: ReadonlyMap<number, readonly Site[]> | undefined;

  constructor(elf: ElfObject) {
    this.#elf = elf;
  }

  /** Why livepatch cannot resolve a symbol of an object at a place of a loaded section; undefined: it can. */
  reason(target: ElfSection, { offset }: ElfRelocation, object: string): string | undefined {
    const nowhere = NOT_IN_PLACE[target.name];
    if (nowhere !== undefined) return nowhere;
    // The kernel's own symbols are resolved before anything of this happens.
    if (object === 'vmlinux') return undefined;
    const early =
      USED_AT_LOAD.find(([names]) => names.test(target.name))?.[1] ?? this.#rewritten(target, offset);
    return early && `${early} before ${object} may be loaded`;
  }

  #rewritten(target: ElfSection, offset: number): string | undefined {
    this.#sites ??= readSites(this.#elf);
    return this.#sites.get(target.index)?.find(({ start, end }) => offset + 4 > start && offset < end)?.why;
  }
}

/** By section, the places that tables of the object name. */
function readSites(elf: ElfObject): ReadonlyMap<number, readonly Site[]> {
  const sites = new Map<number, Site[]>();
  for (const section of elf.sections) {
    const table = Object.hasOwn(SITES, section.name) ? SITES[section.name] : undefined;
    if (!table || !(section.flags & SHF_ALLOC) || section.size === 0) continue;
    const rows = elf.relocations(section.index);
    const size = table.size || Math.round(section.size / Math.max(1, rows.length / 2));
    const view = elf.view(section);
    for (const { offset, symbol, addend } of rows) {
      if (offset % size !== 0 || offset + size > view.byteLength || !symbol.section) continue;
      const entry = new DataView(view.buffer, view.byteOffset + offset, size);
      const span = typeof table.span === 'number' ? table.span : table.span(entry);
      const start = Number(symbol.value + addend);
      const list = sites.get(symbol.section.index) ?? [];
      list.push({ start, end: start + span, why: table.why });
      sites.set(symbol.section.index, list);
    }
  }
  return sites;
}
