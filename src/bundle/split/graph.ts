// What each atom of an uber module refers to: by relocations of its own and of the rows that are about it, by branches
// that the assembler has resolved, and by falling through into what follows.

import type { ElfSection } from '../../elf/elf_object.ts';
import type { Structs } from '../../kernel/description.ts';
import { type Atom, Atoms } from './atoms.ts';
import type { Branch, Place, Places } from './places.ts';
import { fateOf, OWNER_AT, rowSize } from './sections.ts';

/** A row of a table, which goes where its owner goes. */
export interface Row {
  readonly section: ElfSection;
  readonly start: number;
  readonly end: number;
  readonly places: readonly Place[];
}

export interface Edge {
  readonly to: Atom;
  /** Where the reference is: for messages. */
  readonly section: ElfSection;
  readonly offset: number;
  /** Execution goes on there without a branch. */
  readonly flows?: true;
}

interface Node {
  readonly edges: Edge[];
  readonly places: Place[];
  readonly branches: Branch[];
  readonly rows: Row[];
}

export class Graph {
  readonly atoms: Atoms;
  readonly places: Places;
  readonly #nodes: readonly Node[];
  /** Rows of a table by the index of its section and of the row, and what each is about. */
  readonly #rows = new Map<number, { readonly size: number; readonly owners: Map<number, [Row, Atom]> }>();

  /** @throws ElfError */
  constructor(places: Places, structs: Structs) {
    this.places = places;
    this.atoms = new Atoms(places);
    this.#nodes = this.atoms.all.map(() => ({ edges: [], places: [], branches: [], rows: [] }));
    // Code may refer to rows.
    for (const section of places.elf.sections)
      if (fateOf(section) === 'rows') this.#addRows(section, structs);
    for (const section of places.elf.sections) if (fateOf(section) === 'atoms') this.#addSection(section);
  }

  edges(atom: Atom): readonly Edge[] {
    return this.#nodes[atom.id].edges;
  }
  /** Relocations of its own bytes. */
  placesOf(atom: Atom): readonly Place[] {
    return this.#nodes[atom.id].places;
  }
  branchesOf(atom: Atom): readonly Branch[] {
    return this.#nodes[atom.id].branches;
  }
  rowsOf(atom: Atom): readonly Row[] {
    return this.#nodes[atom.id].rows;
  }

  /** The row of a table that a relocation means. */
  rowMeant(place: Place): Row | undefined {
    return this.#rowAt(place)?.[0];
  }

  #rowAt({ to }: Place): [Row, Atom] | undefined {
    if (!to) return undefined;
    const table = this.#rows.get(to.section);
    return table?.owners.get(Math.floor(to.offset / table.size));
  }

  /** The atom that a relocation means, or that the row is about which it means; undefined for what is not the module's. */
  meant(place: Place): Atom | undefined {
    const { to, symbol } = place;
    if (!to) return undefined;
    const row = this.#rowAt(place);
    if (row) return row[1];
    // Whatever is added to a name, the name says what is meant.
    const own = symbol.name !== '' && symbol.section ? Number(symbol.value) : to.offset;
    return this.atoms.at(to.section, own);
  }

  /** All that is reached from some atoms on, but through those at which it stops. */
  reach(from: Iterable<Atom>, stops: (atom: Atom) => boolean = () => false): Set<Atom> {
    const found = new Set<Atom>();
    const open = [...from];
    for (let atom = open.pop(); atom; atom = open.pop()) {
      if (found.has(atom) || stops(atom)) continue;
      found.add(atom);
      for (const { to } of this.edges(atom)) open.push(to);
    }
    return found;
  }

  #addSection(section: ElfSection): void {
    const { atoms } = this;
    for (const place of this.places.of(section)) {
      const atom = atoms.at(section.index, place.offset);
      if (!atom) continue;
      this.#nodes[atom.id].places.push(place);
      this.#link(atom, place);
    }
    const code = this.places.code(section);
    if (!code) return;
    for (const branch of code.branches) {
      const [from, to] = [branch.offset, branch.target].map((offset) => atoms.at(section.index, offset));
      if (!from || !to) continue;
      this.#nodes[from.id].branches.push(branch);
      if (from !== to) this.#nodes[from.id].edges.push({ to, section, offset: branch.offset });
    }
    const all = atoms.of(section.index);
    for (const [i, atom] of all.entries()) {
      const next = all[i + 1];
      if (next && code.flowsTo(atom.end, atom.start))
        this.#nodes[atom.id].edges.push({ to: next, section, offset: next.start, flows: true });
    }
  }

  #addRows(section: ElfSection, structs: Structs): void {
    const places = this.places.of(section);
    if (section.size === 0) return;
    const { elf } = this.places;
    const size = rowSize(
      elf,
      section,
      places.map(({ offset }) => offset),
      structs.kernel_param.size,
    );
    const byRow = new Map<number, Place[]>();
    for (const place of places) {
      const row = Math.floor(place.offset / size);
      byRow.set(row, [...(byRow.get(row) ?? []), place]);
    }
    const owners = new Map<number, [Row, Atom]>();
    this.#rows.set(section.index, { size, owners });
    for (const [row, mine] of byRow) {
      const start = row * size;
      const owner = (OWNER_AT[section.name] ?? [0])
        .map((field) => mine.find((place) => place.offset === start + field && this.meant(place)))
        .find((place) => place !== undefined);
      const atom = owner && this.meant(owner);
      if (!atom) throw elf.error('a row is about nothing that the module has', section.name, start);
      const made = { section, start, end: start + size, places: mine };
      owners.set(row, [made, atom]);
      this.#nodes[atom.id].rows.push(made);
      for (const place of mine) if (place !== owner) this.#link(atom, place);
    }
  }

  #link(atom: Atom, place: Place): void {
    const to = this.meant(place);
    if (to && to !== atom)
      this.#nodes[atom.id].edges.push({ to, section: place.section, offset: place.offset });
  }
}
