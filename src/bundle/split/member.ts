// One member as an object file: the atoms that the plan gives it, each section closed up, with everything that referred to
// them led to where they are now.
//
// Invariant: atoms of a section keep their order and their alignment, so that what the assembler has resolved between
// them still fits its width; every relocation of an atom is in the member once, and none is livepatch's to resolve later.

import type { CodeArch } from '../../arch/code.ts';
import { SHN_LIVEPATCH, SHN_UNDEF, STB_GLOBAL, STT_SECTION } from '../../elf/constants.ts';
import type { ElfSection } from '../../elf/elf_object.ts';
import type { NewSymbol } from '../../elf/object_writer.ts';
import type { KernelDescription } from '../../kernel/description.ts';
import type { Atom } from './atoms.ts';
import type { Graph, Row } from './graph.ts';
import { MemberObject, type Part, type Target } from './member_object.ts';
import { addExit, addExports, addInit, addObjects } from './member_tables.ts';
import type { OrcRows } from './orc.ts';
import { bySection, hasBytes, type Place } from './places.ts';
import type { MemberPlan, SplitPlan } from './plan.ts';
import { fateOf, isCode, isThisModule } from './sections.ts';
import { memberModInfo, memberVersions } from './texts.ts';
import type { Pointer, Uber } from './uber_tables.ts';

interface SplitContext {
  readonly graph: Graph;
  readonly uber: Uber;
  readonly plan: SplitPlan;
  readonly kernel: KernelDescription;
  readonly code: CodeArch;
  readonly orc: OrcRows | undefined;
}

export function buildMember(context: SplitContext, member: MemberPlan): Uint8Array {
  return new MemberBuilder(context, member).build();
}

class MemberBuilder {
  readonly #context: SplitContext;
  readonly #member: MemberPlan;
  readonly #out: MemberObject;
  readonly #startOf = new Map<Atom, number>();
  /** Where rows of tables are in the member's. */
  readonly #rowAt = new Map<Row, number>();
  /** Of shared state that is in another member. */
  readonly #shared = new Set<string>();
  /** Where it is made here. */
  /** Init and exit that are made here, with those of the module that they are instead of. */
  #made: readonly { readonly atom: Atom | undefined; readonly part: Part; readonly symbol: NewSymbol }[] = [];

  constructor(context: SplitContext, member: MemberPlan) {
    this.#context = context;
    this.#member = member;
    this.#out = new MemberObject(context.code);
  }

  get #elf() {
    return this.#context.graph.places.elf;
  }

  build(): Uint8Array {
    const { graph, plan, uber } = this.#context;
    const { elf } = graph.places;
    const { atoms, module, patched } = this.#member;
    for (const section of elf.sections) {
      if (fateOf(section) === 'atoms') this.#place(section);
      if (fateOf(section) === 'rows') this.#placeRows(section);
    }
    this.#addSymbols();
    if (!uber.patch) {
      const exit = uber.exit ? [{ atom: uber.exit, ...addExit(this.#tables) }] : [];
      this.#made = [{ atom: uber.init, ...addInit(this.#tables, patched) }, ...exit];
    }
    for (const section of elf.sections) this.#fill(section);
    const mine = [...plan.shared].filter(([atom]) => atoms.has(atom));
    addExports(this.#tables, mine, (atom) => ({ part: this.#partOf(atom), at: this.#at(atom) }));
    this.#addTexts();
    return this.#out.write(`${module}.ko`, elf);
  }

  /** What tables are made with. */
  get #tables() {
    const { kernel, code } = this.#context;
    const target = (place: Place): Target => this.#target(place);
    return { out: this.#out, kernel, code, elf: this.#elf, target };
  }

  #partOf(atom: Atom): Part {
    return this.#out.partOf.get(atom.section.index) as Part;
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
      this.#out.addPart(section, new Uint8Array(0), section.index, end);
      return;
    }
    const data = new Uint8Array(end);
    if (isCode(section)) data.fill(this.#context.code.trapByte);
    const bytes = this.#elf.data(section);
    for (const atom of atoms) data.set(bytes.subarray(atom.start, atom.end), this.#at(atom));
    this.#out.addPart(section, data, section.index);
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
      const part = this.#out.partOf.get(section.index);
      const atom = this.#context.graph.atoms.at(section.index, Number(value));
      const start = atom && this.#startOf.get(atom);
      if (!part || !atom || start === undefined) continue;
      this.#out.addSymbol(symbol, part, value - BigInt(atom.start) + BigInt(start));
    }
  }

  #fill(section: ElfSection): void {
    const fate = fateOf(section);
    if (fate === 'whole') {
      if (this.#context.graph.places.of(section).length > 0)
        throw this.#elf.error('nothing is known of what it refers to', section.name);
      const part = this.#out.addPart(section, this.#elf.data(section), section.index);
      for (const symbol of this.#elf.symbols)
        if (symbol.section === section && symbol.type !== STT_SECTION)
          this.#out.addSymbol(symbol, part, symbol.value);
    }
    if (fate === 'atoms') this.#fillAtoms(section);
    if (fate === 'rows') this.#fillRows(section);
    if (section === this.#context.orc?.ip) this.#fillOrc();
  }

  #fillAtoms(section: ElfSection): void {
    const part = this.#out.partOf.get(section.index);
    if (!part) return;
    const { graph, uber } = this.#context;
    for (const atom of this.#atomsOf(section)) {
      const shift = this.#at(atom) - atom.start;
      const changed = atom === uber.patch?.atom ? this.#patchPlaces(uber.patch) : undefined;
      for (const place of graph.placesOf(atom)) {
        const relocation = changed?.has(place.offset) ? changed.get(place.offset) : this.#targetOrMade(place);
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
    const objects = addObjects(this.#tables, this.#member.patched);
    const objs = { symbol: this.#out.sectionSymbol(objects), addend: 0n };
    const changed = new Map<number, Target | undefined>([[offset + fields.objs, objs]]);
    if (!this.#member.states) changed.set(offset + fields.states, undefined);
    return changed;
  }

  /** Rows that are about what the member has, closed up. */
  #placeRows(section: ElfSection): void {
    const { graph } = this.#context;
    const rows = [...this.#member.atoms].flatMap((atom) =>
      graph.rowsOf(atom).filter((row) => row.section === section),
    );
    if (rows.length === 0) return;
    rows.sort((a, b) => a.start - b.start);
    const size = rows[0].end - rows[0].start;
    const data = new Uint8Array(rows.length * size);
    this.#out.addPart(section, data, section.index);
    const bytes = this.#elf.data(section);
    for (const [i, row] of rows.entries()) {
      data.set(bytes.subarray(row.start, row.end), i * size);
      this.#rowAt.set(row, i * size);
    }
  }

  #fillRows(section: ElfSection): void {
    const part = this.#out.partOf.get(section.index);
    for (const [row, at] of this.#rowAt) {
      if (row.section !== section) continue;
      for (const place of row.places)
        part?.relocations.push({
          ...this.#target(place),
          offset: place.offset - row.start + at,
          type: place.type,
        });
    }
  }

  #fillOrc(): void {
    const orc = this.#context.orc as OrcRows;
    const rows: { part: Part; at: number; entry: Uint8Array }[] = [];
    for (const section of this.#elf.sections) {
      const part = this.#out.partOf.get(section.index);
      if (!part || !isCode(section)) continue;
      const found = orc.rowsFor(section, this.#atomsOf(section), (atom) => this.#at(atom), part.data.length);
      for (const { at, entry } of found) rows.push({ part, at, entry });
    }
    for (const { atom, part } of this.#made) {
      const start = orc.startOf(atom);
      if (!start) continue;
      rows.push({ part, at: 0, entry: start });
      rows.push({ part, at: part.data.length, entry: orc.undefinedEntry });
    }
    const ip = this.#out.addPart(orc.ip, new Uint8Array(rows.length * 4), orc.ip.index);
    this.#out.addPart(
      orc.table,
      new Uint8Array(Buffer.concat(rows.map(({ entry }) => entry))),
      orc.table.index,
    );
    for (const [i, { part, at }] of rows.entries())
      ip.relocations.push({
        offset: i * 4,
        type: orc.type,
        symbol: this.#out.sectionSymbol(part),
        addend: BigInt(at),
      });
  }

  /** struct module has the init and the exit that are made here in place of those that the module had. */
  #targetOrMade(place: Place): Target {
    const meant = isThisModule(place.section) ? this.#context.graph.meant(place) : undefined;
    const made = meant && this.#made.find(({ atom }) => atom === meant);
    return made ? { symbol: made.symbol, addend: 0n } : this.#target(place);
  }

  /** What a place refers to, in the member. */
  #target(place: Place): Target {
    const { symbol, addend, late } = place;
    const { graph, plan } = this.#context;
    if (late) return { symbol: this.#out.import(symbol.name, symbol.bind, SHN_LIVEPATCH), addend };
    const row = graph.rowMeant(place);
    if (row) return this.#rowTarget(place, row);
    const atom = graph.meant(place);
    if (!atom)
      return { symbol: this.#out.import(symbol.name, symbol.bind, symbol.shndx, symbol.value), addend };
    const start = this.#startOf.get(atom);
    if (start === undefined) return this.#sharedTarget(place, atom, plan.shared.get(atom));
    const named = this.#out.symbolOf.get(symbol.index);
    if (named && !bySection(place)) return { symbol: named, addend };
    const part = this.#partOf(atom);
    return {
      symbol: this.#out.sectionSymbol(part),
      addend: symbol.value + addend + BigInt(start - atom.start),
    };
  }

  /** Code that gives a row to what it calls, as WARN() does from 7.2 on with its row of __bug_table. */
  #rowTarget({ section, offset, symbol, addend }: Place, row: Row): Target {
    const at = this.#rowAt.get(row);
    const part = this.#out.partOf.get(row.section.index);
    if (at === undefined || !part)
      throw this.#elf.error(`a row of ${row.section.name} is in no member`, section.name, offset);
    return {
      symbol: this.#out.sectionSymbol(part),
      addend: symbol.value + addend + BigInt(at - row.start),
    };
  }

  #sharedTarget({ section, offset, symbol, addend }: Place, atom: Atom, name: string | undefined): Target {
    if (name === undefined) throw this.#elf.error(`'${atom.label}' is in no member`, section.name, offset);
    this.#shared.add(name);
    return {
      symbol: this.#out.import(name, STB_GLOBAL, SHN_UNDEF),
      addend: symbol.value + addend - BigInt(atom.start),
    };
  }

  #addTexts(): void {
    const { plan, kernel } = this.#context;
    const [home] = plan.members.filter(({ object }) => object === 'vmlinux');
    const depends = this.#shared.size > 0 ? [home.module] : [];
    const info = this.#elf.section('.modinfo');
    if (info) {
      const data = memberModInfo(this.#elf.data(info), this.#member.module, depends, this.#parameters());
      this.#out.addPart(info, data, info.index);
    }
    const versions = this.#elf.section('__versions');
    if (!versions) return;
    const used = new Set(this.#out.imports.keys());
    this.#out.addPart(
      versions,
      memberVersions(this.#elf, versions, kernel, used, this.#shared),
      versions.index,
    );
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
