// Uber modules of the fixtures, split.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CheckableArch } from '../../src/arch/arch.ts';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { createBundle } from '../../src/bundle/format.ts';
import { type Split, splitUber } from '../../src/bundle/split/split.ts';

const FIXTURES = join(import.meta.dirname, '../../fixtures/modules');
export const PORT = X86_64 as CheckableArch;

export const koOf = (name: string): Uint8Array => new Uint8Array(readFileSync(join(FIXTURES, `${name}.ko`)));

export const splitOf = (name: string, bundle = 'fix', bytes = koOf(name)): Split =>
  splitUber(bytes, `${name}.ko`, bundle, PORT);

export function bundleOfSplit({ members, replace }: Split, name = 'fix'): Uint8Array {
  const source = { name, version: '1', replace, files: members, targets: new Map() };
  return createBundle(source, PORT.elf);
}
