// What is read of the tables of an uber module (uber.ts).

import type { Atom } from './atoms.ts';
import type { Place } from './places.ts';

export const CALLBACKS = ['pre_patch', 'post_patch', 'pre_unpatch', 'post_unpatch'] as const;

/** A pointer of the tables. */
export interface Pointer {
  readonly place: Place;
  readonly atom: Atom;
  /** Offset in the atom's section. */
  readonly offset: number;
}

export interface UberFunction {
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
  /** struct klp_patch, where the module has one; else its init makes it, and each member has one that is made here. */
  readonly patch: Pointer | undefined;
  readonly states: Pointer | undefined;
  readonly replace: boolean;
  /** Tables that every member has of its own: none of them is shared. */
  readonly tables: ReadonlySet<Atom>;
  readonly init: Atom | undefined;
  readonly exit: Atom | undefined;
}
