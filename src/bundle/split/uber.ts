// What an uber module says that it patches: objects, their functions, callbacks, and system states, each as the place in
// the file that says so. Forms: struct klp_patch in the data (kbuild).
//
// Invariant: no object is there twice, each has a function, and each function is the module's own.

import type { ElfSection } from '../../elf/elf_object.ts';
import { type ElfPointer, readThisModule } from '../../elf/module_object.ts';
import type { KernelDescription } from '../../kernel/description.ts';
import type { Atom } from './atoms.ts';
import type { Graph } from './graph.ts';
import { UNNAMED_KERNEL } from './names.ts';
import type { Place } from './places.ts';

const CALLBACKS = ['pre_patch', 'post_patch', 'pre_unpatch', 'post_unpatch'] as const;

/** A pointer of the tables. */
export interface Pointer {
  readonly place: Place;
  readonly atom: Atom;
  /** Offset in the atom's section. */
  readonly offset: number;
}

interface UberFunction {
  readonly name: string;
  readonly sympos: bigint;
  readonly oldName: Pointer;
  readonly newFunc: Pointer;
}

export interface UberObject {
  /** vmlinux for the kernel. */
  readonly name: string;
  readonly namePointer: Pointer | undefined;
  readonly functions: readonly UberFunction[];
  readonly callbacks: ReadonlyMap<(typeof CALLBACKS)[number], Pointer>;
  /** Its klp_funcs, where the module has them as they are. */
  readonly funcs: Pointer | undefined;
}

export interface Uber {
  readonly objects: readonly UberObject[];
  /** struct klp_patch, where the module has one. */
  readonly patch: Pointer | undefined;
  readonly states: Pointer | undefined;
  readonly replace: boolean;
  /** Tables that every member has of its own: none of them is shared. */
  readonly tables: ReadonlySet<Atom>;
  readonly init: Atom | undefined;
  readonly exit: Atom | undefined;
}

/** @throws ElfError */
export function readUber(graph: Graph, kernel: KernelDescription): Uber {
  const reader = new Reader(graph, kernel);
  const uber = reader.kbuild();
  if (!uber) throw graph.places.elf.error('it has no struct klp_patch');
  check(graph, uber);
  return uber;
}

class Reader {
  readonly #graph: Graph;
  readonly #kernel: KernelDescription;
  readonly #byPlace = new Map<number, Map<number, Place>>();

  constructor(graph: Graph, kernel: KernelDescription) {
    this.#graph = graph;
    this.#kernel = kernel;
  }

  /** The struct klp_patch is that whose first word is relocated to __this_module. */
  kbuild(): Uber | undefined {
    const { klp_patch } = this.#kernel.structs;
    for (const section of this.#graph.places.elf.sections) {
      for (const place of this.#graph.places.of(section)) {
        const at = place.offset - klp_patch.fields.mod;
        const objs = this.#pointer(section, at + klp_patch.fields.objs);
        if (place.symbol.name !== '__this_module' || !objs) continue;
        const atom = this.#graph.atoms.at(section.index, at);
        if (!atom || section.name === '__param') continue;
        return this.#uber({ place, atom, offset: at }, objs);
      }
    }
    return undefined;
  }

  #uber(patch: Pointer, objs: Pointer): Uber {
    const { klp_patch } = this.#kernel.structs;
    const { section } = patch.atom;
    const states = this.#pointer(section, patch.offset + klp_patch.fields.states);
    const objects = this.#objects(objs);
    const replaceAt = patch.offset + klp_patch.fields.replace;
    const funcs = objects.flatMap((object) => object.funcs?.atom ?? []);
    const tables = [patch.atom, objs.atom, ...funcs, ...(states ? [states.atom] : [])];
    return {
      objects,
      patch,
      states,
      replace: this.#graph.places.elf.data(section)[replaceAt] === 1,
      tables: new Set(tables),
      ...this.#entryPoints(),
    };
  }

  #entryPoints(): Pick<Uber, 'init' | 'exit'> {
    const { elf } = this.#graph.places;
    const { structs, constants } = this.#kernel;
    const mod = readThisModule(elf, {
      ...structs.module.fields,
      nameLength: constants.MODULE_NAME_LEN,
    });
    if (!mod) throw elf.error('No module found in object');
    const atomOf = (pointer: ElfPointer | undefined): Atom | undefined =>
      pointer?.symbol.section &&
      this.#graph.atoms.at(pointer.symbol.section.index, Number(pointer.symbol.value + pointer.addend));
    return { init: atomOf(mod.init), exit: atomOf(mod.exit) };
  }

  #objects(objs: Pointer): UberObject[] {
    const { size, fields } = this.#kernel.structs.klp_object;
    const { section } = objs.atom;
    const objects: UberObject[] = [];
    for (let at = objs.offset; at + size <= objs.atom.end; at += size) {
      const namePointer = this.#pointer(section, at + fields.name);
      const funcs = this.#pointer(section, at + fields.funcs);
      if (!namePointer && !funcs) break;
      const callbacks = CALLBACKS.flatMap((name) => {
        const pointer = this.#pointer(section, at + fields[`callbacks_${name}`]);
        return pointer ? [[name, pointer] as const] : [];
      });
      objects.push({
        name: namePointer ? this.#text(namePointer) : UNNAMED_KERNEL,
        namePointer,
        functions: funcs ? this.#functions(funcs) : [],
        callbacks: new Map(callbacks),
        funcs,
      });
    }
    return objects;
  }

  #functions(funcs: Pointer): UberFunction[] {
    const { size, fields } = this.#kernel.structs.klp_func;
    const { elf } = this.#graph.places;
    const { section } = funcs.atom;
    const bytes = elf.view(section);
    const functions: UberFunction[] = [];
    for (let at = funcs.offset; at + size <= funcs.atom.end; at += size) {
      const oldName = this.#pointer(section, at + fields.old_name);
      const newFunc = this.#pointer(section, at + fields.new_func);
      if (!oldName && !newFunc) break;
      const name = oldName ? this.#text(oldName) : '?';
      if (!oldName || !newFunc?.atom.code) {
        throw elf.error(`'${name}': no replacement of it is in the module`, section.name, at);
      }
      functions.push({ name, sympos: bytes.getBigUint64(at + fields.old_sympos, true), oldName, newFunc });
    }
    return functions;
  }

  #text({ atom, offset }: Pointer): string {
    return this.#graph.places.elf.stringAt(atom.section, offset);
  }

  #pointer(section: ElfSection, offset: number): Pointer | undefined {
    let places = this.#byPlace.get(section.index);
    if (!places) {
      places = new Map(this.#graph.places.of(section).map((place) => [place.offset, place]));
      this.#byPlace.set(section.index, places);
    }
    const place = places.get(offset);
    const atom = place && this.#graph.meant(place);
    return place?.to && atom ? { place, atom, offset: place.to.offset } : undefined;
  }
}

/** @throws ElfError */
function check(graph: Graph, { objects, patch }: Uber): void {
  const { elf } = graph.places;
  const where = [patch?.atom.section.name, patch?.offset] as const;
  if (objects.length === 0) throw elf.error('it patches no object', ...where);
  const roots = new Map<Atom, { object: string; fn: UberFunction }>();
  for (const [i, { name, functions }] of objects.entries()) {
    if (objects.findIndex((o) => o.name === name) !== i)
      throw elf.error(`object '${name}' is there twice`, ...where);
    if (functions.length === 0)
      throw elf.error(`object '${name}' has no functions: its member would be empty`, ...where);
    for (const fn of functions) {
      const other = roots.get(fn.newFunc.atom);
      if (other && other.object !== name && other.fn.newFunc.offset !== fn.newFunc.offset)
        throw fallen(graph, fn.newFunc.offset, [fn.name, name], [other.fn.name, other.object]);
      roots.set(fn.newFunc.atom, { object: name, fn });
    }
  }
  for (const [atom, { object, fn }] of roots) {
    for (const { to, flows, offset } of graph.edges(atom)) {
      const other = flows && roots.get(to);
      if (other && other.object !== object)
        throw fallen(graph, offset, [fn.name, object], [other.fn.name, other.object], atom.section.name);
    }
  }
}

function fallen(
  { places }: Graph,
  offset: number,
  [one, of]: readonly [string, string],
  [other, ofOther]: readonly [string, string],
  section?: string,
): Error {
  const what = `the replacements of '${one}' (${of}) and '${other}' (${ofOther}) fall into each other`;
  return places.elf.error(what, section, offset);
}
