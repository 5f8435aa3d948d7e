// What an uber module says that it patches: objects, their functions, callbacks, and system states, each as the place in
// the file that says so. Forms: struct klp_patch in the data (kbuild); tables of which init makes one, those of klp-build
// (.init.klp_objects, .init.klp_funcs) and of kpatch-build (.kpatch.funcs, .kpatch.callbacks.*).
//
// Invariant: no object is there twice, each has a function or a callback, and each function is the module's own.

import type { ElfSection } from '../../elf/elf_object.ts';
import { type ElfPointer, readThisModule } from '../../elf/module_object.ts';
import type { KernelDescription } from '../../kernel/description.ts';
import type { Atom } from './atoms.ts';
import type { Graph } from './graph.ts';
import { UNNAMED_KERNEL } from './names.ts';
import { hasBytes, type Place } from './places.ts';
import { checkUber } from './uber_check.ts';
import { CALLBACKS, type Pointer, type Uber, type UberFunction, type UberObject } from './uber_tables.ts';

/** @throws ElfError */
export function readUber(graph: Graph, kernel: KernelDescription): Uber {
  const reader = new Reader(graph, kernel);
  const uber = reader.klpBuild() ?? reader.kpatchBuild() ?? reader.kbuild();
  if (!uber)
    throw graph.places.elf.error('it has no struct klp_patch, and no tables of klp-build or kpatch-build');
  checkUber(graph, uber);
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

  /** struct klp_object_ext and klp_func_ext, with a number of functions in place of an end. */
  klpBuild(): Uber | undefined {
    const section = this.#section('.init.klp_objects');
    if (!section) return undefined;
    const { klp_object_ext, klp_func_ext } = this.#kernel.structs;
    const { fields } = klp_object_ext;
    const func = klp_func_ext.fields;
    const bytes = this.#graph.places.elf.view(section);
    const objects: UberObject[] = [];
    for (let at = 0; at + klp_object_ext.size <= section.size; at += klp_object_ext.size) {
      const namePointer = this.#pointer(section, at + fields.name);
      const funcs = this.#pointer(section, at + fields.funcs);
      const count = bytes.getUint32(at + fields.nr_funcs, true);
      const rows = Array.from({
        length: funcs ? Math.min(count, section.size + funcs.atom.section.size) : 0,
      });
      objects.push({
        name: namePointer ? this.#text(namePointer) : UNNAMED_KERNEL,
        namePointer,
        functions: rows.map((_, i) => {
          const { atom, offset } = funcs as Pointer;
          const row = offset + i * klp_func_ext.size;
          return this.#function(atom.section, row + func.old_name, row + func.new_func, row + func.sympos);
        }),
        callbacks: this.#callbacks((i) => this.#pointer(section, at + fields.callbacks + 8 * i)),
        funcs: undefined,
      });
    }
    return this.#made(objects);
  }

  /** struct kpatch_patch_func, a row a function, and struct kpatch_*_callback. */
  kpatchBuild(): Uber | undefined {
    const section = this.#section('.kpatch.funcs');
    if (!section) return undefined;
    const { size, fields } = this.#kernel.structs.kpatch_patch_func;
    const objects = new Map<string, { namePointer: Pointer; functions: UberFunction[] }>();
    for (let at = 0; at + size <= section.size; at += size) {
      const namePointer = this.#pointer(section, at + fields.objname);
      if (!namePointer) throw this.#graph.places.elf.error('a function without an object', section.name, at);
      const name = this.#text(namePointer);
      const object = objects.get(name) ?? { namePointer, functions: [] };
      objects.set(name, object);
      object.functions.push(
        this.#function(section, at + fields.name, at + fields.new_addr, at + fields.sympos),
      );
    }
    return this.#made(
      [...objects].map(([name, { namePointer, functions }]) => ({
        name,
        namePointer: name === UNNAMED_KERNEL ? undefined : namePointer,
        functions,
        callbacks: this.#callbacks((i) => this.#kpatchCallback(CALLBACKS[i], name)),
        funcs: undefined,
      })),
    );
  }

  #kpatchCallback(callback: string, object: string): Pointer | undefined {
    const section = this.#section(`.kpatch.callbacks.${callback}`);
    const { size, fields } = this.#kernel.structs.kpatch_callback;
    for (let at = 0; section && at + size <= section.size; at += size) {
      const name = this.#pointer(section, at + fields.objname);
      if (name && this.#text(name) === object) return this.#pointer(section, at + fields.callback);
    }
    return undefined;
  }

  #section(name: string): ElfSection | undefined {
    const section = this.#graph.places.elf.section(name);
    return section && section.size > 0 && hasBytes(section) ? section : undefined;
  }

  /** With a klp_patch that init makes. */
  #made(objects: readonly UberObject[]): Uber {
    const tables = this.#graph.atoms.all.filter(({ section }) =>
      /^\.(init\.klp_|kpatch\.)/.test(section.name),
    );
    return {
      objects,
      patch: undefined,
      states: undefined,
      replace: false,
      // Strings are no tables.
      tables: new Set(tables.filter(({ section }) => section.name !== '.kpatch.strings')),
      ...this.#entryPoints(),
    };
  }

  #callbacks(at: (index: number) => Pointer | undefined): UberObject['callbacks'] {
    return new Map(
      CALLBACKS.flatMap((name, i) => {
        const pointer = at(i);
        return pointer ? [[name, pointer] as const] : [];
      }),
    );
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
    // By name, which is the same in modules of all kernels; where the pointer lies is not.
    const named = (name: string): ElfPointer | undefined =>
      elf.relocations(mod.section.index).find(({ symbol }) => symbol.name === name);
    return {
      init: atomOf(named('init_module') ?? mod.init),
      exit: atomOf(named('cleanup_module') ?? mod.exit),
    };
  }

  #objects(objs: Pointer): UberObject[] {
    const { size, fields } = this.#kernel.structs.klp_object;
    const { section } = objs.atom;
    const objects: UberObject[] = [];
    for (let at = objs.offset; at + size <= objs.atom.end; at += size) {
      const namePointer = this.#pointer(section, at + fields.name);
      const funcs = this.#pointer(section, at + fields.funcs);
      if (!namePointer && !funcs) break;
      objects.push({
        name: namePointer ? this.#text(namePointer) : UNNAMED_KERNEL,
        namePointer,
        functions: funcs ? this.#functions(funcs) : [],
        callbacks: this.#callbacks((i) => this.#pointer(section, at + fields[`callbacks_${CALLBACKS[i]}`])),
        funcs,
      });
    }
    return objects;
  }

  #functions(funcs: Pointer): UberFunction[] {
    const { size, fields } = this.#kernel.structs.klp_func;
    const { section } = funcs.atom;
    const functions: UberFunction[] = [];
    for (let at = funcs.offset; at + size <= funcs.atom.end; at += size) {
      const places = [at + fields.old_name, at + fields.new_func].map((offset) =>
        this.#pointer(section, offset),
      );
      if (!places.some((pointer) => pointer)) break;
      functions.push(
        this.#function(section, at + fields.old_name, at + fields.new_func, at + fields.old_sympos),
      );
    }
    return functions;
  }

  #function(section: ElfSection, nameAt: number, newAt: number, symposAt: number): UberFunction {
    const { elf } = this.#graph.places;
    const oldName = this.#pointer(section, nameAt);
    const newFunc = this.#pointer(section, newAt);
    const name = oldName ? this.#text(oldName) : '?';
    if (!oldName || !newFunc?.atom.code)
      throw elf.error(`'${name}': no replacement of it is in the module`, section.name, newAt);
    return { name, sympos: elf.view(section).getBigUint64(symposAt, true), oldName, newFunc };
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
