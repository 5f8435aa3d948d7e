// One member as an object file: the atoms that the plan gives it, each section closed up, with everything that referred to
// them led to where they are now.
//
// Invariant: atoms of a section keep their order and their alignment, so that what the assembler has resolved between
// them still fits its width; every relocation of an atom is in the member once, and none is livepatch's to resolve later.

import type { CodeArch } from '../../arch/code.ts';
import {
  SHF_ALLOC,
  SHF_EXECINSTR,
  SHF_WRITE,
  SHN_LIVEPATCH,
  SHN_UNDEF,
  SHT_PROGBITS,
  STB_GLOBAL,
  STB_LOCAL,
  STT_FUNC,
  STT_OBJECT,
  STT_SECTION,
} from '../../elf/constants.ts';
import type { ElfSection, ElfSymbol } from '../../elf/elf_object.ts';
import { type NewRelocation, type NewSection, type NewSymbol, writeObject } from '../../elf/object_writer.ts';
import type { KernelDescription } from '../../kernel/description.ts';
import type { Atom } from './atoms.ts';
import type { Graph } from './graph.ts';
import { exportCrc } from './names.ts';
import type { OrcRows } from './orc.ts';
import { bySection, hasBytes, type Place } from './places.ts';
import type { MemberPlan, SplitPlan } from './plan.ts';
import { fateOf, isCode, isThisModule } from './sections.ts';
import { memberModInfo, memberVersions } from './texts.ts';
import type { Pointer, Uber, UberObject } from './uber_tables.ts';

interface SplitContext {
  readonly graph: Graph;
  readonly uber: Uber;
  readonly plan: SplitPlan;
  readonly kernel: KernelDescription;
  readonly code: CodeArch;
  readonly orc: OrcRows | undefined;
}

interface Part extends NewSection {
  readonly relocations: NewRelocation[];
}

export function buildMember(context: SplitContext, member: MemberPlan): Uint8Array {
  return new MemberBuilder(context, member).build();
}

class MemberBuilder {
  readonly #context: SplitContext;
  readonly #member: MemberPlan;
  readonly #parts: Part[] = [];
  /** By index in the uber module. */
  readonly #partOf = new Map<number, Part>();
  readonly #startOf = new Map<Atom, number>();
  readonly #symbols: NewSymbol[] = [];
  /** By index in the uber module. */
  readonly #symbolOf = new Map<number, NewSymbol>();
  readonly #sectionSymbols = new Map<Part, NewSymbol>();
  readonly #imports = new Map<string, NewSymbol>();
  /** Of shared state that is in another member. */
  readonly #shared = new Set<string>();

  /** Where it is made here. */
  #init: { readonly part: Part; readonly symbol: NewSymbol } | undefined;

  constructor(context: SplitContext, member: MemberPlan) {
    this.#context = context;
    this.#member = member;
  }

  get #elf() {
    return this.#context.graph.places.elf;
  }

  build(): Uint8Array {
    const { elf } = this.#context.graph.places;
    for (const section of elf.sections) if (fateOf(section) === 'atoms') this.#place(section);
    this.#addSymbols();
    this.#addInit();
    for (const section of elf.sections) this.#fill(section);
    this.#addExports();
    this.#addTexts();
    const order = new Map([...this.#partOf].map(([index, part]) => [part, index]));
    const last = elf.sections.length;
    const parts = [...this.#parts].sort((a, b) => (order.get(a) ?? last) - (order.get(b) ?? last));
    const symbols = [...this.#sectionSymbols.values(), ...this.#symbols];
    return writeObject(`${this.#member.module}.ko`, elf.bytes, parts, symbols);
  }

  #addPart(
    section: Pick<ElfSection, 'name' | 'type' | 'flags' | 'align' | 'entsize'>,
    data: Uint8Array,
    index?: number,
    size?: number,
  ): Part {
    const { name, type, flags, align, entsize } = section;
    const part = {
      name,
      type,
      flags,
      align,
      entsize,
      data,
      relocations: [],
      ...(size === undefined ? {} : { size }),
    };
    this.#parts.push(part);
    if (index !== undefined) this.#partOf.set(index, part);
    return part;
  }

  /** The atoms of a section that the member has, closed up. */
  #place(section: ElfSection): void {
    const atoms = this.#atomsOf(section);
    if (atoms.length === 0) return;
    let end = 0;
    for (const atom of atoms) {
      const off = (atom.start - end) % section.align;
      const start = end + (off < 0 ? off + section.align : off);
      this.#startOf.set(atom, start);
      end = start + atom.end - atom.start;
    }
    if (!hasBytes(section)) {
      this.#addPart(section, new Uint8Array(0), section.index, end);
      return;
    }
    const data = new Uint8Array(end);
    if (isCode(section)) data.fill(this.#context.code.trapByte);
    const bytes = this.#elf.data(section);
    for (const atom of atoms) data.set(bytes.subarray(atom.start, atom.end), this.#at(atom));
    this.#addPart(section, data, section.index);
  }

  #atomsOf(section: ElfSection): Atom[] {
    return this.#context.graph.atoms.of(section.index).filter((atom) => this.#member.atoms.has(atom));
  }

  #at(atom: Atom): number {
    return this.#startOf.get(atom) as number;
  }

  /** Those of the atoms, in the order of the uber module. */
  #addSymbols(): void {
    for (const symbol of this.#elf.symbols) {
      const { section, type, value } = symbol;
      if (!section || type === STT_SECTION || symbol.shndx === SHN_LIVEPATCH) continue;
      const part = this.#partOf.get(section.index);
      const atom = this.#context.graph.atoms.at(section.index, Number(value));
      const start = atom && this.#startOf.get(atom);
      if (!part || !atom || start === undefined) continue;
      this.#addSymbol(symbol, part, value - BigInt(atom.start) + BigInt(start));
    }
  }

  #addSymbol(
    { index, name, bind, type, size }: ElfSymbol,
    section: NewSection | number,
    value: bigint,
  ): NewSymbol {
    const symbol = { name, bind, type, section, value, size };
    this.#symbols.push(symbol);
    this.#symbolOf.set(index, symbol);
    return symbol;
  }

  #sectionSymbol(part: Part): NewSymbol {
    let symbol = this.#sectionSymbols.get(part);
    if (!symbol) {
      symbol = { name: '', bind: STB_LOCAL, type: STT_SECTION, section: part, value: 0n, size: 0 };
      this.#sectionSymbols.set(part, symbol);
    }
    return symbol;
  }

  #import(name: string, bind: number, section: number, value = 0n): NewSymbol {
    let symbol = this.#imports.get(name);
    if (!symbol) {
      symbol = { name, bind, type: 0, section, value, size: 0 };
      this.#imports.set(name, symbol);
      this.#symbols.push(symbol);
    }
    return symbol;
  }

  #fill(section: ElfSection): void {
    const fate = fateOf(section);
    if (fate === 'whole') {
      if (this.#context.graph.places.of(section).length > 0)
        throw this.#elf.error('nothing is known of what it refers to', section.name);
      const part = this.#addPart(section, this.#elf.data(section), section.index);
      for (const symbol of this.#elf.symbols)
        if (symbol.section === section && symbol.type !== STT_SECTION)
          this.#addSymbol(symbol, part, symbol.value);
    }
    if (fate === 'atoms') this.#fillAtoms(section);
    if (fate === 'rows') this.#fillRows(section);
    if (section === this.#context.orc?.ip) this.#fillOrc();
  }

  #fillAtoms(section: ElfSection): void {
    const part = this.#partOf.get(section.index);
    if (!part) return;
    const { graph, uber } = this.#context;
    for (const atom of this.#atomsOf(section)) {
      const shift = this.#at(atom) - atom.start;
      const changed = atom === uber.patch?.atom ? this.#patchPlaces(uber.patch) : undefined;
      for (const place of graph.placesOf(atom)) {
        const relocation = changed?.has(place.offset) ? changed.get(place.offset) : this.#targetOrInit(place);
        if (relocation)
          part.relocations.push({ ...relocation, offset: place.offset + shift, type: place.type });
      }
      for (const branch of graph.branchesOf(atom)) {
        const to = graph.atoms.at(section.index, branch.target) as Atom;
        this.#moveBranch(part, branch.offset + shift, branch.width, this.#at(to) - to.start - shift);
      }
      if (isThisModule(section)) this.#nameModule(part);
    }
  }

  #moveBranch({ data }: Part, at: number, width: number, by: number): void {
    if (by === 0) return;
    const view = new DataView(data.buffer, data.byteOffset);
    if (width === 1) view.setInt8(at, view.getInt8(at) + by);
    else if (width === 4) view.setInt32(at, view.getInt32(at, true) + by, true);
    else throw this.#elf.error(`a branch of ${width} bytes leads to what is moved`);
  }

  #nameModule({ data }: Part): void {
    const at = this.#context.kernel.structs.module.fields.name;
    data.fill(0, at, at + this.#context.kernel.constants.MODULE_NAME_LEN);
    data.set(Buffer.from(this.#member.module, 'latin1'), at);
  }

  /** What is not as in the uber module's struct klp_patch: its objects, and its states where another member has them. */
  #patchPlaces({ offset }: Pointer): ReadonlyMap<number, Target | undefined> {
    const { fields } = this.#context.kernel.structs.klp_patch;
    const objs = { symbol: this.#sectionSymbol(this.#objects()), addend: 0n };
    const changed = new Map<number, Target | undefined>([[offset + fields.objs, objs]]);
    if (!this.#member.states) changed.set(offset + fields.states, undefined);
    return changed;
  }

  /** A table of livepatch's structures, made here. */
  #table(name: string, size: number): { part: Part; add: (offset: number, target: Target) => void } {
    const flags = SHF_ALLOC | SHF_WRITE;
    const part = this.#addPart(
      { name, type: SHT_PROGBITS, flags, align: 32, entsize: 0 },
      new Uint8Array(size),
    );
    const type = this.#context.code.wholeAddress;
    return { part, add: (offset, target) => part.relocations.push({ ...target, offset, type }) };
  }

  /** The member's one klp_object, and the end of its table; which ends a table of functions, too. */
  #objects(): Part {
    const { size, fields } = this.#context.kernel.structs.klp_object;
    const { patched } = this.#member;
    const { part, add } = this.#table('.data.klp_object', 2 * size);
    if (patched?.namePointer) add(fields.name, this.#target(patched.namePointer.place));
    if (patched?.funcs) add(fields.funcs, this.#target(patched.funcs.place));
    else if (patched)
      add(fields.funcs, { symbol: this.#sectionSymbol(this.#functions(patched)), addend: 0n });
    else add(fields.funcs, { symbol: this.#sectionSymbol(part), addend: BigInt(size) });
    for (const [name, { place }] of patched?.callbacks ?? [])
      add(fields[`callbacks_${name}`], this.#target(place));
    return part;
  }

  #functions({ functions }: UberObject): Part {
    const { size, fields } = this.#context.kernel.structs.klp_func;
    const { part, add } = this.#table('.data.klp_func', (functions.length + 1) * size);
    const view = new DataView(part.data.buffer);
    for (const [i, { oldName, newFunc, sympos }] of functions.entries()) {
      add(i * size + fields.old_name, this.#target(oldName.place));
      add(i * size + fields.new_func, this.#target(newFunc.place));
      view.setBigUint64(i * size + fields.old_sympos, sympos, true);
    }
    return part;
  }

  /** klp_patch and init of a member, where the module's init makes the one and is not the other. */
  #addInit(): void {
    const { kernel, code, uber } = this.#context;
    if (uber.patch) return;
    const { size, fields } = kernel.structs.klp_patch;
    const { part: patch, add } = this.#table('.data.klp_patch', size);
    const module = this.#symbols.find(({ name }) => name === '__this_module');
    if (!module) throw this.#elf.error("it has no symbol '__this_module'");
    add(fields.mod, { symbol: module, addend: 0n });
    add(fields.objs, { symbol: this.#sectionSymbol(this.#objects()), addend: 0n });
    const { bytes, argument, callee } = code.forwarder;
    const name = this.#parts.some((part) => part.name === '.init.text') ? '.init.text.klp' : '.init.text';
    const flags = SHF_ALLOC | SHF_EXECINSTR;
    const text = this.#addPart(
      { name, type: SHT_PROGBITS, flags, align: 1, entsize: 0 },
      new Uint8Array(bytes),
    );
    const enable = this.#import('klp_enable_patch', STB_GLOBAL, SHN_UNDEF);
    text.relocations.push({ ...argument, symbol: this.#sectionSymbol(patch) });
    text.relocations.push({ ...callee, symbol: enable });
    const init = { name: 'init_module', bind: STB_GLOBAL, type: STT_FUNC, section: text, value: 0n };
    const symbol: NewSymbol = { ...init, size: bytes.length };
    this.#symbols.push(symbol);
    this.#init = { part: text, symbol };
  }

  #fillRows(section: ElfSection): void {
    const { graph } = this.#context;
    const rows = [...this.#member.atoms].flatMap((atom) =>
      graph.rowsOf(atom).filter((row) => row.section === section),
    );
    if (rows.length === 0) return;
    rows.sort((a, b) => a.start - b.start);
    const size = rows[0].end - rows[0].start;
    const data = new Uint8Array(rows.length * size);
    const part = this.#addPart(section, data, section.index);
    const bytes = this.#elf.data(section);
    for (const [i, { start, end, places }] of rows.entries()) {
      data.set(bytes.subarray(start, end), i * size);
      for (const place of places)
        part.relocations.push({
          ...this.#target(place),
          offset: place.offset - start + i * size,
          type: place.type,
        });
    }
  }

  #fillOrc(): void {
    const orc = this.#context.orc as OrcRows;
    const rows: { part: Part; at: number; entry: Uint8Array }[] = [];
    for (const section of this.#elf.sections) {
      const part = this.#partOf.get(section.index);
      if (!part || !isCode(section)) continue;
      const found = orc.rowsFor(section, this.#atomsOf(section), (atom) => this.#at(atom), part.data.length);
      for (const { at, entry } of found) rows.push({ part, at, entry });
    }
    const start = this.#init && orc.startOf(this.#context.uber.init);
    if (this.#init && start) {
      rows.push({ part: this.#init.part, at: 0, entry: start });
      rows.push({ part: this.#init.part, at: this.#init.part.data.length, entry: orc.undefinedEntry });
    }
    const ip = this.#addPart(orc.ip, new Uint8Array(rows.length * 4), orc.ip.index);
    this.#addPart(orc.table, new Uint8Array(Buffer.concat(rows.map(({ entry }) => entry))), orc.table.index);
    for (const [i, { part, at }] of rows.entries())
      ip.relocations.push({
        offset: i * 4,
        type: orc.type,
        symbol: this.#sectionSymbol(part),
        addend: BigInt(at),
      });
  }

  /** struct module has the init that is made here in place of the one that the module had. */
  #targetOrInit(place: Place): Target {
    const { fields } = this.#context.kernel.structs.module;
    const isInit = this.#init && isThisModule(place.section) && place.offset === fields.init;
    return isInit && this.#init ? { symbol: this.#init.symbol, addend: 0n } : this.#target(place);
  }

  /** What a place refers to, in the member. */
  #target(place: Place): Target {
    const { symbol, addend, late } = place;
    const { graph, plan } = this.#context;
    if (late) return { symbol: this.#import(symbol.name, symbol.bind, SHN_LIVEPATCH), addend };
    const atom = graph.meant(place);
    if (!atom) return { symbol: this.#import(symbol.name, symbol.bind, symbol.shndx, symbol.value), addend };
    const start = this.#startOf.get(atom);
    if (start === undefined) return this.#sharedTarget(place, atom, plan.shared.get(atom));
    const named = this.#symbolOf.get(symbol.index);
    if (named && !bySection(place)) return { symbol: named, addend };
    const part = this.#partOf.get(atom.section.index) as Part;
    return { symbol: this.#sectionSymbol(part), addend: symbol.value + addend + BigInt(start - atom.start) };
  }

  #sharedTarget({ section, offset, symbol, addend }: Place, atom: Atom, name: string | undefined): Target {
    if (name === undefined) throw this.#elf.error(`'${atom.label}' is in no member`, section.name, offset);
    this.#shared.add(name);
    return {
      symbol: this.#import(name, STB_GLOBAL, SHN_UNDEF),
      addend: symbol.value + addend - BigInt(atom.start),
    };
  }

  /** Shared state that the member has: by EXPORT_SYMBOL_GPL(). */
  #addExports(): void {
    const { plan, kernel, code } = this.#context;
    const mine = [...plan.shared].filter(([atom]) => this.#member.atoms.has(atom));
    if (mine.length === 0) return;
    const { size, fields } = kernel.structs.kernel_symbol;
    const flags = SHF_ALLOC;
    const text = Buffer.from(mine.map(([, name]) => `${name}\0`).join(''), 'latin1');
    const strings = this.#addPart(
      { name: '__ksymtab_strings', type: SHT_PROGBITS, flags, align: 1, entsize: 0 },
      new Uint8Array(text),
    );
    const table = this.#addPart(
      { name: '__ksymtab_gpl', type: SHT_PROGBITS, flags, align: 4, entsize: 0 },
      new Uint8Array(mine.length * size),
    );
    let at = 0;
    for (const [i, [atom, name]] of mine.entries()) {
      const symbol: NewSymbol = {
        name,
        bind: STB_GLOBAL,
        type: STT_OBJECT,
        section: this.#partOf.get(atom.section.index) as Part,
        value: BigInt(this.#at(atom)),
        size: atom.end - atom.start,
      };
      this.#symbols.push(symbol);
      const type = code.distance;
      table.relocations.push({ offset: i * size + fields.value_offset, type, symbol, addend: 0n });
      table.relocations.push({
        offset: i * size + fields.name_offset,
        type,
        symbol: this.#sectionSymbol(strings),
        addend: BigInt(at),
      });
      at += name.length + 1;
    }
    if (!this.#elf.section('__versions')) return;
    const crcs = new Uint8Array(Uint32Array.from(mine, ([, name]) => exportCrc(name)).buffer);
    this.#addPart({ name: '__kcrctab_gpl', type: SHT_PROGBITS, flags, align: 4, entsize: 0 }, crcs);
  }

  #addTexts(): void {
    const { plan, kernel } = this.#context;
    const [home] = plan.members.filter(({ object }) => object === 'vmlinux');
    const depends = this.#shared.size > 0 ? [home.module] : [];
    const info = this.#elf.section('.modinfo');
    if (info) {
      const data = memberModInfo(this.#elf.data(info), this.#member.module, depends, this.#parameters());
      this.#addPart(info, data, info.index);
    }
    const versions = this.#elf.section('__versions');
    if (!versions) return;
    const used = new Set(this.#imports.keys());
    this.#addPart(versions, memberVersions(this.#elf, versions, kernel, used, this.#shared), versions.index);
  }

  /** Names of those that the member has. */
  #parameters(): ReadonlySet<string> {
    const { graph, kernel } = this.#context;
    const names = new Set<string>();
    for (const atom of this.#member.atoms) {
      for (const { section, start, places } of graph.rowsOf(atom)) {
        const name = places.find(({ offset }) => offset === start + kernel.structs.kernel_param.fields.name);
        if (section.name === '__param' && name?.to)
          names.add(this.#elf.stringAt(this.#elf.sections[name.to.section], name.to.offset));
      }
    }
    return names;
  }
}

type Target = Pick<NewRelocation, 'symbol' | 'addend'>;
