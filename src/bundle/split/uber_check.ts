// What no uber module may say of its objects.

import type { Atom } from './atoms.ts';
import type { Edge, Graph } from './graph.ts';
import type { Uber, UberFunction } from './uber_tables.ts';

/** @throws ElfError */
export function checkUber(graph: Graph, { objects, patch }: Uber): void {
  const { elf } = graph.places;
  const where = [patch?.atom.section.name, patch?.offset] as const;
  if (objects.length === 0) throw elf.error('it patches no object', ...where);
  const roots = new Map<Atom, { object: string; fn: UberFunction }>();
  for (const [i, { name, functions, callbacks }] of objects.entries()) {
    if (objects.findIndex((o) => o.name === name) !== i)
      throw elf.error(`object '${name}' is there twice`, ...where);
    if (functions.length === 0 && callbacks.size === 0 && !graph.places.isMember)
      throw elf.error(
        `object '${name}' has no functions and no callbacks: its member would be empty`,
        ...where,
      );
    for (const fn of functions) {
      const other = roots.get(fn.newFunc.atom);
      if (other && other.object !== name && other.fn.newFunc.offset !== fn.newFunc.offset)
        throw fallen(graph, fn.newFunc.offset, [fn.name, name], [other.fn.name, other.object]);
      roots.set(fn.newFunc.atom, { object: name, fn });
    }
  }
  for (const [atom, { object, fn }] of roots) {
    const end = behind(graph, atom, roots);
    const other = end && roots.get(end.to);
    if (other && other.object !== object)
      throw fallen(graph, end.offset, [fn.name, object], [other.fn.name, other.object], atom.section.name);
  }
}

/** Where execution comes to behind an atom, over padding. */
function behind(graph: Graph, atom: Atom, roots: ReadonlyMap<Atom, unknown>): Edge | undefined {
  const next = (of: Atom): Edge | undefined => graph.edges(of).find(({ flows }) => flows);
  let edge = next(atom);
  while (edge && !roots.has(edge.to)) edge = next(edge.to);
  return edge;
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
