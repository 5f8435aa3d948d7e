// No event without a place that emits it, and none that nothing tells of: held to src/kernel/events.ts as it is written.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { WAYS } from '../../src/scenario/schema.ts';

const root = join(import.meta.dirname, '../../src');
const DECLARED = 'kernel/events.ts';
const sources = readdirSync(root, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts') && name !== DECLARED)
  .map((name) => readFileSync(join(root, name), 'utf8'));
const declared = readFileSync(join(root, DECLARED), 'utf8');
const [, bodies] = /^export type EventBody =\n([\s\S]*?);\n\n/m.exec(declared) ?? ['', ''];

/** Each kind of event as it is written. */
const variants = bodies
  .split(/^ {2}\| /m)
  .map((text) => ({ type: /type: '(\w+)'/.exec(text)?.[1] ?? '', text }))
  .filter(({ type }) => type !== '');

/** Files that emit events, and those that make the body of one for somebody else to emit. */
const emitting = sources.filter((text) => /\bevents\b/.test(text));
const says = (text: string, type: string): boolean =>
  new RegExp(`\\btype(?:: | = [^;]*)'${type}'`).test(text) || new RegExp(`type = [^;]*'${type}'`).test(text);

describe('events', () => {
  it('are found', () => {
    expect(variants.map(({ type }) => type)).toEqual(
      expect.arrayContaining(['printk', 'poke', 'hole', 'note']),
    );
  });

  it.each(variants)('$type is emitted, with each of the words that it has', ({ type, text }) => {
    const emitters = emitting.filter((source) => says(source, type));
    expect(emitters).not.toEqual([]);
    const words = [...text.matchAll(/(\w+)\??: ((?:'[^']+'(?: \| )?)+)/g)]
      .filter(([, field]) => field !== 'type')
      .flatMap(([, , union]) => [...union.matchAll(/'([^']+)'/g)].map(([, word]) => word));
    expect(words.filter((word) => !emitters.some((source) => source.includes(`'${word}'`)))).toEqual([]);
  });

  it('have fields that somebody fills in', () => {
    const unfilled = variants.flatMap(({ type, text }) => {
      const emitters = emitting.filter((source) => says(source, type));
      const fields = [...text.matchAll(/[{;]\s*(?:\/\*\*[^*]*\*\/\s*)?(\w+)\?:/g)].map(([, field]) => field);
      return fields
        .filter((field) => !emitters.some((source) => new RegExp(`\\b${field}\\b`).test(source)))
        .map((field) => `${type}.${field}`);
    });
    expect(unfilled).toEqual([]);
  });

  it('tell of a switched task by a way that a transition has', () => {
    const [, union] = /^export type SwitchWay =([^;]*);/m.exec(declared) ?? ['', ''];
    const ways = [...union.matchAll(/'([^']+)'/g)].map(([, way]) => way);
    expect([...WAYS].sort()).toEqual(ways.sort());
    const told = ['transition', 'self_switching']
      .map((name) => readFileSync(join(root, `livepatch/${name}.ts`), 'utf8'))
      .join('\n');
    expect(ways.filter((way) => !told.includes(`'${way}'`))).toEqual([]);
  });
});
