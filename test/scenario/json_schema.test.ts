// The JSON schema of scenarios, held against the fixtures by a validator that is not ours.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Ajv } from 'ajv';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { scenarioJsonSchema } from '../../src/scenario/json_schema.ts';
import { KEY_WORDS, SAME } from '../../src/scenario/key_words.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const SCHEMA = 'docs/scenario.schema.json';
const FOLDERS = ['fixtures/scenarios', 'fixtures/bundles'];

const scenarios = FOLDERS.flatMap((folder) =>
  readdirSync(join(ROOT, folder))
    .filter((file) => file.endsWith('.yaml'))
    .map((file) => join(folder, file)),
);
const validate = new Ajv({ allErrors: true, strict: false }).compile(scenarioJsonSchema());

interface Node {
  readonly $ref?: string;
  readonly definitions?: Record<string, Node>;
  readonly properties?: Record<string, Node>;
  readonly description?: string;
}

describe('the schema of scenarios', () => {
  it('is the one that editors are told of', () => {
    expect(JSON.parse(readFileSync(join(ROOT, SCHEMA), 'utf8'))).toEqual(scenarioJsonSchema());
  });

  it.each(scenarios)('takes %s, which names it for editors', (file) => {
    const text = readFileSync(join(ROOT, file), 'utf8');
    const named = /^# yaml-language-server: \$schema=(.*)$/m.exec(text)?.[1] ?? '';
    expect(join(ROOT, file, '..', named)).toBe(join(ROOT, SCHEMA));
    validate(parse(text));
    expect(validate.errors ?? []).toEqual([]);
  });

  it.each([
    ['a key that there is not', { imediate: true }, /additional properties/],
    ['a step that does nothing', { steps: [{ after: '1s' }] }, /exactly one schema/],
    ['a step that does two things', { steps: [{ load: 'x', wait: '1s' }] }, /exactly one schema/],
    ['more CPUs than there can be', { machine: { cpus: 65 } }, /<= 64/],
    ['a way that there is not', { expect: { switched: { task: 'x', way: 'luck' } } }, /allowed values/],
  ])('refuses %s', (_, scenario, reason) => {
    expect(validate(scenario)).toBe(false);
    expect(validate.errors?.map(({ message }) => message).join('; ')).toMatch(reason);
  });

  it('has a line for each key, and no line is of a key that there is not', () => {
    const seen = new Set<string>();
    const { definitions, ...schema } = scenarioJsonSchema() as Node;
    const walk = (node: unknown, name: string): void => {
      if (typeof node !== 'object' || node === null) return;
      const { $ref, properties, description: _, ...rest } = node as Node;
      if ($ref) walk(definitions?.[$ref.replace('#/definitions/', '')], name);
      for (const [key, value] of Object.entries(properties ?? {})) {
        const path = name ? `${name}.${key}` : key;
        seen.add(path);
        expect(value.description, path).toContain(KEY_WORDS[path]);
        walk(value, SAME[path] ?? path);
      }
      for (const inner of Object.values(rest)) walk(inner, name);
    };
    walk(schema, '');
    expect([...seen].sort()).toEqual(Object.keys(KEY_WORDS).sort());
  });
});
