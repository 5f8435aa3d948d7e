// Types as C writes them: what stands before a name and what behind it.

import type { Btf } from './btf.ts';
import { KIND, MODIFIERS } from './kinds.ts';

/** Deeper is named by its number. */
const MOST_DEPTH = 16;
const MOST_PARAMETERS = 32;

const TAGS: ReadonlyMap<number, string> = new Map([
  [KIND.struct, 'struct'],
  [KIND.union, 'union'],
  [KIND.enum, 'enum'],
  [KIND.enum64, 'enum'],
]);

/** `int (*f)(void *)`: a type with the name of what is of it. @throws ElfError for one that is not there */
export function declaration(btf: Btf, type: number, name = '', depth = 0): string {
  if (depth > MOST_DEPTH) return join(`type ${type}`, name);
  const kind = btf.kind(type);
  const on = (inner: string): string => declaration(btf, btf.target(type), inner, depth + 1);
  if (kind === KIND.ptr) return on(`*${name}`);
  if (kind === KIND.array) return on(`${bracketed(name)}[${btf.elements(type)}]`);
  if (kind === KIND.funcProto) return on(`${bracketed(name)}(${parametersOf(btf, type, depth)})`);
  if (kind === KIND.func) return on(btf.name(type));
  const modifier = MODIFIERS.get(kind);
  if (modifier !== undefined) return modifier === '' ? on(name) : modified(btf, type, modifier, name, on);
  return join(plainName(btf, type, kind), name);
}

/** A modifier of a pointer stands behind its star, any other in front of all. */
function modified(
  btf: Btf,
  type: number,
  modifier: string,
  name: string,
  on: (inner: string) => string,
): string {
  const isPointer = btf.kind(btf.target(type)) === KIND.ptr;
  return isPointer ? on(join(modifier, name)) : `${modifier} ${on(name)}`;
}

function plainName(btf: Btf, type: number, kind: number): string {
  const tag = kind === KIND.fwd ? (btf.isUnion(type) ? 'union' : 'struct') : TAGS.get(kind);
  const name = btf.name(type);
  return tag === undefined ? name : `${tag} ${name || '{...}'}`;
}

function parametersOf(btf: Btf, type: number, depth: number): string {
  const parameters = btf.parameters(type);
  const shown = parameters
    .slice(0, MOST_PARAMETERS)
    .map((one) => (one.type === 0 ? '...' : declaration(btf, one.type, one.name, depth + 1)));
  if (parameters.length > MOST_PARAMETERS) shown.push(`${parameters.length - MOST_PARAMETERS} more`);
  return shown.length === 0 ? 'void' : shown.join(', ');
}

/** The name of something pointed to, where more follows. */
const bracketed = (name: string): string => (/^(\*|const|volatile|restrict)/.test(name) ? `(${name})` : name);

function join(type: string, name: string): string {
  return name === '' ? type : `${type} ${name}`;
}
