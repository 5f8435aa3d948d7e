// The list of mutants that are known to survive: each can still be made, or it would hide another one some day.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { asmKey, asmMutants } from '../../scripts/mutants/asm.ts';
import { KNOWN } from './known.ts';

const ROOT = join(import.meta.dirname, '../..');
/** `FILE: BEFORE -> AFTER`, as sourceKey() makes it: white space is one space, what is long is cut in its midst. */
const KEY = /^(\S+\.ts): (.*) -> /s;

const sources = KNOWN.flatMap(({ mutant }) => {
  const [, file, before] = KEY.exec(mutant) ?? [];
  return file === undefined ? [] : [[mutant, file, before] as const];
});

it.each(sources)('%s can be made', (_mutant, file, before) => {
  const text = readFileSync(join(ROOT, 'src', file), 'utf8').replace(/\s+/g, ' ');
  for (const part of before.split(' ... ')) expect(text).toContain(part);
});

const guest = KNOWN.flatMap(({ mutant }) => {
  const [, file] = /^(asm\/\S+\.s): /.exec(mutant) ?? [];
  return file === undefined ? [] : [[mutant, file] as const];
});

it.each(guest)('%s can be made', (mutant, file) => {
  const made = asmMutants(file, readFileSync(join(ROOT, file), 'utf8')).map(asmKey);
  expect(made).toContain(mutant);
});

it('has nothing but mutants of both kinds', () => {
  expect(sources.length + guest.length).toBe(KNOWN.length);
});
