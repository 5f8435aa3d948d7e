// The shape of a scenario for other programs: a JSON schema (draft 7, which editors read) of the schema that parses it.
//
// Invariant: what it refuses, a scenario refuses, too. Not the other way round: files, names and the order of steps are
// in no schema.

import { toJSONSchema } from 'zod/v4/core';
import { KEY_WORDS, SAME } from './key_words.ts';
import { scenarioSchema, VERBS } from './schema.ts';

interface Node {
  properties?: Record<string, Node>;
  additionalProperties?: Node | false;
  items?: Node;
  anyOf?: Node[];
  description?: string;
  minProperties?: number;
  [key: string]: unknown;
}

/** Whole numbers that JavaScript can count to: no bound that anybody wants to read. */
const UNBOUNDED = Number.MAX_SAFE_INTEGER;

export function scenarioJsonSchema(): object {
  const schema = toJSONSchema(scenarioSchema, {
    io: 'input',
    target: 'draft-7',
    override: ({ jsonSchema }) => {
      if (jsonSchema.minimum === -UNBOUNDED) delete jsonSchema.minimum;
      if (jsonSchema.maximum === UNBOUNDED) delete jsonSchema.maximum;
    },
  }) as Node;
  describe(schema, '');
  const definitions = hoist(schema);
  return { ...schema, definitions, title: 'klpemu scenario', $comment: 'klpemu schema' };
}

/** Gives each key its line. @param name of the part, as key_words.ts has it */
function describe(node: Node, name: string): void {
  for (const inner of node.anyOf ?? []) describe(inner, name);
  if (node.items) describe(node.items, name);
  if (node.additionalProperties) describe(node.additionalProperties, name);
  for (const [key, value] of Object.entries(node.properties ?? {})) {
    const path = name ? `${name}.${key}` : key;
    const words = KEY_WORDS[path];
    if (words) value.description = value.description ? `${words} (${value.description})` : words;
    describe(value, SAME[path] ?? path);
  }
  if (name === 'steps' && node.properties) requireVerb(node);
}

/** A step does one thing. */
function requireVerb(step: Node): void {
  step.oneOf = Object.keys(VERBS).map((verb) => ({ required: [verb] }));
}

/**
 * What stands at several places is defined once, under the name that it has at the first.
 * @returns definitions, by name
 */
function hoist(schema: Node): Record<string, Node> {
  const places = new Map<string, { readonly name: string; readonly nodes: [Node, string, Node][] }>();
  visit(schema, '', (node, of, key, name) => {
    const text = JSON.stringify(node);
    const place = places.get(text) ?? { name, nodes: [] };
    place.nodes.push([of, key, node]);
    places.set(text, place);
  });
  const definitions: Record<string, Node> = {};
  for (const { name, nodes } of places.values()) {
    if (nodes.length < 2) continue;
    const unique = uniqueName(name, definitions);
    definitions[unique] = nodes[0][2];
    for (const [of, key] of nodes) of[key] = { $ref: `#/definitions/${unique}` };
  }
  return definitions;
}

function uniqueName(name: string, taken: object): string {
  let unique = name;
  for (let i = 2; Object.hasOwn(taken, unique); i++) unique = `${name}${i}`;
  return unique;
}

/** Objects with keys of their own, the innermost first, with the object or list that they are in. */
function visit(
  node: Node,
  name: string,
  tell: (node: Node, of: Node, key: string, name: string) => void,
): void {
  const into = (of: object, key: string, inner: string): void => {
    const value = (of as Node)[key] as Node;
    visit(value, inner, tell);
    if (value.properties) tell(value, of as Node, key, inner);
  };
  for (const key of Object.keys(node.properties ?? {}))
    into(node.properties as object, key, SAME[`${name}.${key}`]?.split('.').pop() ?? key);
  for (const key of Object.keys(node.anyOf ?? [])) into(node.anyOf as object, key, name);
  if (node.items) into(node, 'items', name);
  if (node.additionalProperties) into(node, 'additionalProperties', name);
}
