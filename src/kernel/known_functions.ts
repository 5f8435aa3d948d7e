// The functions that a livepatch may replace on the real kernel, by name: what the image here has not got is told from
// what no kernel has. From /sys/kernel/tracing/available_filter_functions of that kernel (scripts/kernel-functions.ts).

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliDecompressSync } from 'node:zlib';
import { packageRoot } from '../guest/package_root.ts';
import { BUILT_IN } from './description.ts';

let known: ReadonlySet<string> | undefined;

/** All of them; none where the package has lost its list. Read once, when it is first asked for. */
export function kernelFunctions(): ReadonlySet<string> {
  known ??= read(join(packageRoot(), 'data', `functions-${BUILT_IN.release}.br`));
  return known;
}

function read(file: string): ReadonlySet<string> {
  const names = new Set<string>();
  if (!existsSync(file)) return names;
  let before = '';
  for (const row of brotliDecompressSync(readFileSync(file)).toString('latin1').split('\n')) {
    before = before.slice(0, Number.parseInt(row[0], 36)) + row.slice(1);
    names.add(before);
  }
  return names;
}
