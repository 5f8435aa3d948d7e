// How fast files of xz are unpacked, beside xz itself in the same run: kernel code, packed as a kernel is.
//
//   npm run bench unpack
//
// Needs xz, and modules: those of `npm run corpus`, of the running kernel, or of the folder that KLPEMU_MODULES names.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { unxz } from '../src/unpack/xz.ts';
import { moduleFolder, NEEDS, namedModules, seconds, time } from './lib/modules.ts';

const ROUNDS = 5;
/** As scripts/xz_wrap.sh of a kernel packs it. */
const OPTIONS = ['--check=crc32', '--x86', '--lzma2=,dict=32MiB'];
const LIMIT = 2 ** 30;

function main(): void {
  const folder = moduleFolder();
  if (!folder || spawnSync('xz', ['--version']).status !== 0) {
    console.log(`skipped: ${NEEDS}, and xz`);
    return;
  }
  const dir = mkdtempSync(join(tmpdir(), 'klpemu-bench-'));
  try {
    const plain = join(dir, 'code');
    writeFileSync(plain, Buffer.concat(namedModules(folder).map((path) => readFileSync(path))));
    const { status } = spawnSync('xz', [...OPTIONS, plain], { stdio: 'inherit' });
    if (status !== 0) throw new Error('xz failed');
    compare(`${plain}.xz`);
  } finally {
    rmSync(dir, { recursive: true });
  }
}

/** In turns; the shortest round of each counts. */
function compare(path: string): void {
  const packed = new Uint8Array(readFileSync(path));
  let [theirs, ours, size] = [Infinity, Infinity, 0];
  for (let round = 0; round < ROUNDS; round++) {
    theirs = Math.min(theirs, time('xz', ['-dc', path]).cpu);
    const start = process.cpuUsage();
    size = unxz(packed, LIMIT).length;
    const { user, system } = process.cpuUsage(start);
    ours = Math.min(ours, (user + system) / 1e6);
  }
  const rate = (cpu: number): string => `${(size / 2 ** 20 / cpu).toFixed(0)} MiB/s`;
  console.log(
    `${(size / 2 ** 20).toFixed(0)} MiB from ${(packed.length / 2 ** 20).toFixed(0)} MiB of xz, processor time: ` +
      `xz ${seconds(theirs)} s (${rate(theirs)}), klpemu ${seconds(ours)} s (${rate(ours)}), ` +
      `ratio ${(ours / theirs).toFixed(2)}`,
  );
}

main();
