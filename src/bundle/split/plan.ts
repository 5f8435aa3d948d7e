// Which member has which atoms of an uber module: what the functions of an object reach is that object's; constants and
// code that several reach are copied, state that several reach lives in the member for vmlinux, and the others import it.
//
// Invariant: a member refers to nothing of an object that may be away while its own is there; a module for which that
// cannot be is refused, with every reference that makes it so.

import { SHN_UNDEF } from '../../elf/constants.ts';
import type { ElfSection } from '../../elf/elf_object.ts';
import type { Atom } from './atoms.ts';
import type { Graph } from './graph.ts';
import { exportName, LONGEST_NAME, memberName, UNNAMED_KERNEL } from './names.ts';
import type { Place } from './places.ts';
import { isThisModule, refusal } from './sections.ts';
import type { Uber, UberObject } from './uber_tables.ts';

export interface MemberPlan {
  readonly object: string;
  readonly module: string;
  /** Undefined for a member that only has what others share. */
  readonly patched: UberObject | undefined;
  /** With its own copies of tables. */
  readonly atoms: ReadonlySet<Atom>;
  readonly states: boolean;
}

export interface SplitPlan {
  /** In the order of the module's objects; one that only has shared state comes first. */
  readonly members: readonly MemberPlan[];
  /** State that several members use, by the name under which vmlinux's exports it. */
  readonly shared: ReadonlyMap<Atom, string>;
}

/** The module cannot be split, and why: one reason or more. */
export class SplitRefused extends Error {
  readonly code = 'ESPLIT';
  readonly reasons: readonly string[];

  constructor(file: string, reasons: readonly string[]) {
    super(`${file}: it cannot be split`);
    this.name = 'SplitRefused';
    this.reasons = reasons;
  }
}

/** What an init or exit may call: what it does then is the same once a member as once a module. */
const MAY_CALL =
  /^(klp_enable_patch|_?printk|__fentry__|__stack_chk_fail|__ref_stack_chk_guard|__x86_\w+thunk\w*)$/;
/** An init that makes a klp_patch of tables, and that members do not have; lists are checked as they are linked. */
const MAY_CALL_TO_MAKE =
  /^(klp_\w+|k[mzc]alloc\w*|__kmalloc\w*|kmalloc\w*|k?v?free\w*|(mem|str)(set|cpy|cmp)|__list_(add|del_entry)_valid\w*|__SCT__WARN_trap|__this_module)$/;

export function planSplit(graph: Graph, uber: Uber, bundle: string): SplitPlan {
  return new Planner(graph, uber, bundle).plan();
}

class Planner {
  readonly #graph: Graph;
  readonly #uber: Uber;
  readonly #bundle: string;
  readonly #reasons: string[] = [];
  /** Atoms of which every member has its own, with what it makes of them. */
  readonly #own = new Set<Atom>();

  constructor(graph: Graph, uber: Uber, bundle: string) {
    this.#graph = graph;
    this.#uber = uber;
    this.#bundle = bundle;
    for (const atom of uber.tables) this.#own.add(atom);
    for (const atom of graph.atoms.all) if (isThisModule(atom.section)) this.#own.add(atom);
  }

  plan(): SplitPlan {
    this.#checkSections();
    const { objects } = this.#uber;
    const roots = objects.map((object) => rootsOf(object));
    const reached = roots.map((from) => this.#graph.reach(from, this.#isOwn));
    const { init, exit, patch } = this.#uber;
    // An init that makes a klp_patch has done its work, and the exit that frees that one has none.
    const entry = this.#entry(patch ? [init, exit] : []);
    // Of a module that becomes one member, init and exit do what they did.
    if (!patch || objects.length > 1) this.#checkEntry(this.#entry([init, exit]), reached);
    const shared = this.#shared(reached);
    const patched: (UberObject | undefined)[] = [...objects];
    if (shared.size > 0 && !objects.some(({ name }) => name === UNNAMED_KERNEL)) patched.unshift(undefined);
    const bare = patched.map((object) => {
      const home = (object?.name ?? UNNAMED_KERNEL) === UNNAMED_KERNEL;
      const from = [...(object ? rootsOf(object) : []), ...(home ? shared : [])];
      const stops = (atom: Atom): boolean => this.#isOwn(atom) || (!home && shared.has(atom));
      const atoms = this.#graph.reach(from, stops);
      for (const atom of entry) atoms.add(atom);
      return { object, atoms, asks: this.#asksForStates(atoms) };
    });
    const asked = bare.some(({ asks }) => asks);
    const members = bare.map(({ object, atoms, asks }, i): MemberPlan => {
      const states = this.#uber.states !== undefined && (asked ? asks : i === 0);
      this.#addOwn(atoms, object, states);
      return { ...this.#named(object?.name ?? UNNAMED_KERNEL), patched: object, atoms, states };
    });
    for (const member of members) this.#checkMember(member, shared);
    this.#checkParameters(members);
    if (this.#reasons.length > 0) throw new SplitRefused(this.#graph.places.elf.file, this.#reasons);
    return { members, shared: this.#exportNames(shared) };
  }

  /** Tables of which each member has its own, and what they lead to. */
  #addOwn(atoms: Set<Atom>, object: UberObject | undefined, states: boolean): void {
    const uber = this.#uber;
    for (const atom of this.#own) if (isThisModule(atom.section)) atoms.add(atom);
    if (uber.patch) atoms.add(uber.patch.atom);
    if (object?.funcs) atoms.add(object.funcs.atom);
    if (!states || !uber.states) return;
    const led = this.#graph.edges(uber.states.atom).map(({ to }) => to);
    for (const atom of this.#graph.reach(led, this.#isOwn)) atoms.add(atom);
    atoms.add(uber.states.atom);
  }

  readonly #isOwn = (atom: Atom): boolean => this.#own.has(atom);

  #named(object: string): { object: string; module: string } {
    const module = memberName(this.#bundle, object);
    if (module.length > LONGEST_NAME)
      this.#reasons.push(`member '${module}': its name is longer than ${LONGEST_NAME} letters`);
    return { object, module };
  }

  /** What init and exit have for themselves: each member has a copy. */
  #entry(from: readonly (Atom | undefined)[]): Set<Atom> {
    return this.#graph.reach(
      from.filter((atom) => atom !== undefined),
      this.#isOwn,
    );
  }

  /** What several objects' functions reach and may write. */
  #shared(reached: readonly ReadonlySet<Atom>[]): ReadonlySet<Atom> {
    const shared = new Set<Atom>();
    const seen = new Set<Atom>();
    for (const atoms of reached) {
      for (const atom of atoms) {
        if (!atom.writable || atom.code) continue;
        if (seen.has(atom)) shared.add(atom);
        seen.add(atom);
      }
    }
    const code = [...new Set(reached.flatMap((atoms) => [...atoms].filter((atom) => atom.code)))];
    while (shared.size > 0 && code.some((atom) => this.#addKept(shared, atom)));
    return shared;
  }

  /** An address that one instruction puts into shared state must not go with the member that has put it there. */
  #addKept(shared: Set<Atom>, code: Atom): boolean {
    const before = shared.size;
    const kept = new Set<number>();
    const places = this.#graph.placesOf(code);
    const meant = (place: Place): Atom | undefined => this.#graph.meant(place);
    for (const place of places) if (shared.has(meant(place) as Atom)) kept.add(place.insn);
    for (const place of places) {
      const atom = kept.has(place.insn) ? meant(place) : undefined;
      if (atom) shared.add(atom);
    }
    return shared.size > before;
  }

  /** Its own code asks for states, or has them at hand: without anybody who does, the first member has them. */
  #asksForStates(atoms: ReadonlySet<Atom>): boolean {
    const states = this.#uber.states?.atom;
    return [...atoms].some(
      (atom) =>
        this.#graph.placesOf(atom).some(({ symbol }) => /^klp_get_(prev_)?state$/.test(symbol.name)) ||
        this.#graph.edges(atom).some(({ to }) => to === states),
    );
  }

  #exportNames(shared: ReadonlySet<Atom>): ReadonlyMap<Atom, string> {
    const taken = new Map<string, number>();
    const names = [...shared]
      .sort((a, b) => a.id - b.id)
      .map((atom): [Atom, string] => {
        const name = exportName(this.#bundle, atom.label);
        const nth = taken.get(name) ?? 0;
        taken.set(name, nth + 1);
        return [atom, nth === 0 ? name : `${name}.${nth}`];
      });
    return new Map(names);
  }

  #checkSections(): void {
    for (const section of this.#graph.places.elf.sections) {
      const why = refusal(section);
      if (why !== undefined) this.#reasons.push(`section ${section.name}: ${why}`);
    }
  }

  /** Init and exit run once a member: what they do must be the same as once. */
  #checkEntry(entry: ReadonlySet<Atom>, reached: readonly ReadonlySet<Atom>[]): void {
    for (const atom of entry) {
      for (const { symbol, section, offset } of this.#graph.placesOf(atom)) {
        if (!atom.code || symbol.shndx !== SHN_UNDEF || this.#mayUse(symbol.name)) continue;
        this.#refuse(section, offset, `'${atom.label}' uses ${symbol.name}, and would once a member`);
      }
      const used = reached.some((atoms) => atoms.has(atom));
      if (used && atom.writable && !atom.code)
        this.#reasons.push(
          `'${atom.label}' is written by init or exit, once a member, and used by patched functions`,
        );
    }
  }

  #mayUse(name: string): boolean {
    return MAY_CALL.test(name) || (this.#uber.patch === undefined && MAY_CALL_TO_MAKE.test(name));
  }

  #checkMember({ object, atoms }: MemberPlan, shared: ReadonlySet<Atom>): void {
    for (const atom of atoms) {
      for (const { to, section, offset } of this.#own.has(atom) ? [] : this.#graph.edges(atom)) {
        if (!atoms.has(to) && !shared.has(to))
          this.#refuse(
            section,
            offset,
            `'${atom.label}' works on '${to.label}', a table that is split itself`,
          );
      }
      const places = [
        ...this.#graph.placesOf(atom),
        ...this.#graph.rowsOf(atom).flatMap((row) => row.places),
      ];
      for (const { late, section, offset } of places) {
        if (!late || late.object === object || late.object === UNNAMED_KERNEL) continue;
        this.#refuse(
          section,
          offset,
          `the member for ${object} has '${atom.label}', which refers to '${late.name}' of ${late.object}, ` +
            `and ${late.object} may be away`,
        );
      }
    }
  }

  /** One that sets nothing of any member would be lost. */
  #checkParameters(members: readonly MemberPlan[]): void {
    for (const atom of this.#graph.atoms.all) {
      if (members.some(({ atoms }) => atoms.has(atom))) continue;
      for (const { section, start } of this.#graph.rowsOf(atom))
        if (section.name === '__param')
          this.#refuse(section, start, `what a parameter sets, '${atom.label}', is in no member`);
    }
  }

  #refuse(section: ElfSection, offset: number, why: string): void {
    const reason = `${why} (section ${section.name}, offset 0x${offset.toString(16)})`;
    if (!this.#reasons.includes(reason)) this.#reasons.push(reason);
  }
}

/** Functions and callbacks of an object, its name and theirs. */
function rootsOf({ functions, callbacks, namePointer }: UberObject): Atom[] {
  const pointers = [
    ...functions.flatMap(({ oldName, newFunc }) => [oldName, newFunc]),
    ...callbacks.values(),
    namePointer,
  ];
  return pointers.flatMap((pointer) => (pointer ? [pointer.atom] : []));
}
