// Bundles that the modules of fixtures/split become, and what a report says.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { createBundle } from '../../src/bundle/format.ts';
import { splitUber } from '../../src/bundle/split/split.ts';
import type { Finding, Part } from '../../src/vet/finding.ts';
import type { VetInput, VetReport } from '../../src/vet/vet.ts';

export const FIXTURES = join(import.meta.dirname, '../../fixtures/split');

interface SplitBundle {
  readonly bundle: VetInput;
  readonly members: readonly VetInput[];
}

export const uberOf = (name: string): Uint8Array =>
  new Uint8Array(readFileSync(join(FIXTURES, `klpsplit_${name}.ko`)));

export function splitOf(name: string): SplitBundle {
  const { elf, code } = X86_64;
  const { replace, members } = splitUber(uberOf(name), `klpsplit_${name}.ko`, name, { elf, code });
  const source = { name, version: '1', replace, files: members, targets: new Map() };
  return {
    bundle: { path: `${name}.klpb`, bytes: createBundle(source, elf) },
    members: members.map(({ file, bytes }) => ({ path: file, bytes })),
  };
}

/** Sentences of a weight, with what is below them. */
export function told({ findings }: VetReport, weight: Finding['weight'], part?: Part): string[] {
  return findings
    .filter((finding) => finding.weight === weight && (part === undefined || finding.part === part))
    .map(({ about, text, lines = [] }) =>
      [`${about === undefined ? '' : `${about}: `}${text}`, ...lines].join('\n'),
    );
}
