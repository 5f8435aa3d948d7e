// As many targets and members as wanted, of klpbundle_core and klpbundle_p2_core: with a number for `core` in every
// name. The numbers have four digits, so nothing in the files moves.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { createBundle } from '../../src/bundle/format.ts';
import { packageRoot } from '../../src/guest/package_root.ts';

const original = (name: string): string =>
  readFileSync(join(packageRoot(), 'fixtures/modules', `${name}.ko`)).toString('latin1');

export const digits = (n: number): string => String(n).padStart(4, '0');

function renamed(name: string, n: number): Uint8Array {
  const text = original(name).replaceAll(/(klpbundle_(?:p[12]_)?)core/g, `$1${digits(n)}`);
  return new Uint8Array(Buffer.from(text, 'latin1'));
}

/** klpbundle_NNNN.ko */
export const numberedTarget = (n: number): Uint8Array => renamed('klpbundle_core', n);
/** klpbundle_p2_NNNN.ko, or _p1_ */
export const numberedMember = (n: number, patch = 2): Uint8Array => renamed(`klpbundle_p${patch}_core`, n);

/** A bundle of the members 0 to count - 1. @param patch which patch of klpbundle_core they are made of */
export function numberedBundle(
  name: string,
  count: number,
  { replace = false, patch = 2 }: { replace?: boolean; patch?: 1 | 2 } = {},
): Uint8Array {
  const files = Array.from({ length: count }, (_, n) => ({
    file: `klpbundle_p${patch}_${digits(n)}.ko`,
    bytes: numberedMember(n, patch),
  }));
  return createBundle({ name, version: '1', replace, files, targets: new Map() }, X86_64.elf);
}
