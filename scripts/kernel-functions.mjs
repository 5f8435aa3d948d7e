// Names of the functions that a livepatch may replace on the real kernel: writes data/functions-RELEASE.br.
//
//   node scripts/kernel-functions.mjs available_filter_functions RELEASE
//
// The file is /sys/kernel/tracing/available_filter_functions of that kernel, whose functions of modules are left out;
// QEMU and an initramfs of busybox are enough to get it. Each name is kept as how much of the one before it begins it
// with (one digit of base 36) and the rest; all of it is packed by brotli. Checked in; needed when the kernel changes.

import { readFileSync, writeFileSync } from 'node:fs';
import { brotliCompressSync, constants } from 'node:zlib';

const [file, release] = process.argv.slice(2);
if (release === undefined) {
  console.error('usage: node scripts/kernel-functions.mjs available_filter_functions RELEASE');
  process.exit(2);
}
const lines = readFileSync(file, 'latin1').split(/\r?\n/);
const names = lines.filter((line) => /^[\w.]+$/.test(line));
const sorted = [...new Set(names)].sort();
let before = '';
const rows = sorted.map((name) => {
  let same = 0;
  while (same < 35 && same < name.length && name[same] === before[same]) same++;
  before = name;
  return same.toString(36) + name.slice(same);
});
const packed = brotliCompressSync(rows.join('\n'), { params: { [constants.BROTLI_PARAM_LGWIN]: 24 } });
writeFileSync(new URL(`../data/functions-${release}.br`, import.meta.url), packed);
console.log(`${sorted.length} functions, ${packed.length} bytes`);
