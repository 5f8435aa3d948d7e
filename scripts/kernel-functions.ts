// Names of the functions that a livepatch may replace on the real kernel: writes data/functions-RELEASE.br.
//
//   node scripts/run.mjs kernel-functions available_filter_functions RELEASE
//
// The file is /sys/kernel/tracing/available_filter_functions of that kernel, whose functions of modules are left out;
// QEMU and an initramfs of busybox are enough to get it. Each name is kept as how much of the one before it begins it
// with (one digit of base 36) and the rest; all of it is packed by brotli. Checked in; needed when the kernel changes.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants } from 'node:zlib';
import { ScriptUsageError } from './errors.ts';
import { ROOT } from './root.ts';

export function main([file, release]: readonly string[]): void {
  if (release === undefined) {
    throw new ScriptUsageError(
      'usage: node scripts/run.mjs kernel-functions available_filter_functions RELEASE',
    );
  }
  const lines = readFileSync(file, 'latin1').split(/\r?\n/);
  const names = [...new Set(lines.filter((line) => /^[\w.]+$/.test(line)))].sort();
  const packed = brotliCompressSync(rows(names).join('\n'), {
    params: { [constants.BROTLI_PARAM_LGWIN]: 24 },
  });
  writeFileSync(join(ROOT, `data/functions-${release}.br`), packed);
  console.log(`${names.length} functions, ${packed.length} bytes`);
}

function rows(sorted: readonly string[]): string[] {
  let before = '';
  return sorted.map((name) => {
    let same = 0;
    while (same < 35 && same < name.length && name[same] === before[same]) same++;
    before = name;
    return same.toString(36) + name.slice(same);
  });
}
