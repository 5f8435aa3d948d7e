// How long a whole kernel takes, image and all, beside its modules in the same run: `klpemu check` and `klpemu orc
// --diff` of a vmlinuz, and of the modules that the other benchmarks have, by processor time an instruction.
//
//   npm run bench kernel
//
// Needs modules as bench/check.ts does, and a kernel: the file that KLPEMU_KERNEL names, or the running kernel's. What was
// unpacked of it is kept (.cache/vmlinuz): the first run of a new file is told by itself.

import { existsSync } from 'node:fs';
import { release } from 'node:os';
import { moduleFolder, NEEDS, namedModules, type Summary, seconds, summaryOf } from './lib/modules.ts';

const ROUNDS = 3;
const COMMANDS = [
  { name: 'check', args: ['check', '-j', '1'], aim: 5 },
  { name: 'orc --diff', args: ['orc', '--diff', '-j', '1'], aim: 4 },
] as const;

function main(): void {
  const folder = moduleFolder();
  const kernel = process.env.KLPEMU_KERNEL ?? `/boot/vmlinuz-${release()}`;
  if (!folder || !existsSync(kernel)) {
    console.log(`skipped: ${NEEDS}, and a kernel (KLPEMU_KERNEL)`);
    return;
  }
  const modules = namedModules(folder);
  for (const { name, args, aim } of COMMANDS) {
    const first = summaryOf([...args, kernel]);
    let [image, beside] = [first, summaryOf([...args, ...modules])];
    for (let round = 1; round < ROUNDS; round++) {
      image = less(image, summaryOf([...args, kernel]));
      beside = less(beside, summaryOf([...args, ...modules]));
    }
    const ratio = image.cpuMs / image.instructions / (beside.cpuMs / beside.instructions);
    console.log(
      `${name} of ${kernel}: ${image.instructions.toLocaleString('en-US')} instructions in ` +
        `${seconds(image.cpuMs / 1000)} s of processor time (the first time ${seconds(first.cpuMs / 1000)} s; aim ${aim} s), ` +
        `${(image.peakMemory / 2 ** 20).toFixed(0)} MiB; an instruction of ${modules.length} modules: ratio ${ratio.toFixed(2)}`,
    );
  }
}

const less = (a: Summary, b: Summary): Summary => (a.cpuMs <= b.cpuMs ? a : b);

main();
