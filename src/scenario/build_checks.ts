// From the checks of a scenario file to a flat list of them, each with its place.

import type { Check, CheckBody } from './scenario.ts';
import type { CheckKind, CheckMap, RawChecks } from './schema.ts';
import { type Path, pathText, type YamlSource } from './source.ts';
import type { Pattern } from './values.ts';

type One<T> = T extends readonly (infer U)[] ? U : T;
type Value<K extends CheckKind> = One<NonNullable<CheckMap[K]>>;
type Builders = { [K in Exclude<CheckKind, 'dmesg'>]: (value: Value<K>) => CheckBody };

const list = <T>(value: T | readonly T[] | undefined): readonly T[] =>
  value === undefined ? [] : Array.isArray(value) ? (value as readonly T[]) : [value as T];

/** Only the keys that have a value: exactOptionalPropertyTypes tells undefined from absent. */
function defined<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  const entries = Object.entries(value).filter(([, v]) => v !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]: Exclude<T[K], undefined> };
}

const BUILDERS: Builders = {
  absent: (line) => ({ kind: 'absent', line }),
  blocked: ({ stack, ...rest }) =>
    ({ kind: 'blocked', ...defined(rest), stack: list<Pattern>(stack) }) as CheckBody,
  switched: (value) => ({ kind: 'switched', ...defined(value) }) as CheckBody,
  pending: (task) => ({ kind: 'pending', task }),
  done: ({ to = 'patched', ...rest }) => ({ kind: 'done', to, ...defined(rest) }) as CheckBody,
  transition: (patch) => ({ kind: 'transition', patch }),
  site: ({ insn, ...rest }) => ({ kind: 'site', ...defined(rest), insn: list<Pattern>(insn) }) as CheckBody,
  stack: ({ task, has, lacks }) => ({
    kind: 'stack',
    task,
    has: list<Pattern>(has),
    lacks: list<Pattern>(lacks),
  }),
  file: ({ path, text }) => ({ kind: 'file', filePath: path, text: list<Pattern>(text) }),
  output: ({ task, text }) => ({ kind: 'output', task, text: list<Pattern>(text) }),
  exit: ({ task, status }) => ({ kind: 'exit', task, status }),
  alive: (task) => ({ kind: 'alive', task }),
  gone: (task) => ({ kind: 'gone', task }),
  hole: (value) => ({ kind: 'hole', ...defined(value) }) as CheckBody,
  mixed: (count) => ({ kind: 'mixed', count }),
  oops: (text) => ({ kind: 'oops', text }),
};

/** @param path of the value in the document. */
export function buildChecks(raw: RawChecks | undefined, path: Path, source: YamlSource): Check[] {
  if (raw === undefined) return [];
  if (Array.isArray(raw)) return raw.flatMap((map, i) => buildMap(map, [...path, i], source));
  return buildMap(raw as CheckMap, path, source);
}

function buildMap(map: CheckMap, path: Path, source: YamlSource): Check[] {
  const checks = (Object.keys(map) as CheckKind[]).flatMap((kind) => {
    const value = map[kind];
    if (value === undefined) return [];
    const at = [...path, kind];
    if (kind === 'dmesg') return [dmesgCheck(value as Pattern | Pattern[], at, source)];
    const build = BUILDERS[kind] as (one: unknown) => CheckBody;
    if (!Array.isArray(value)) return [{ ...located(at, source), ...build(value) }];
    return value.map((one, i) => ({ ...located([...at, i], source), ...build(one) }));
  });
  // The schema's order of keys is not the document's.
  return checks.sort((a, b) => a.place.line - b.place.line || a.place.column - b.place.column);
}

/** The lines of one list are looked for in order, so they are one check. */
function dmesgCheck(value: Pattern | Pattern[], path: Path, source: YamlSource): Check {
  const lines = Array.isArray(value)
    ? value.map((pattern, i) => ({ pattern, ...located([...path, i], source) }))
    : [{ pattern: value, ...located(path, source) }];
  return { kind: 'dmesg', lines, ...located(path, source) };
}

function located(path: Path, source: YamlSource) {
  return { place: source.place(path), path: pathText(path) };
}
