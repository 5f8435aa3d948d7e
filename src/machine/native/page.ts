// The page of native and hosted functions of a kernel, as the machine has them (docs/native-functions.md).

import type { KernelImage } from '../boot/image.ts';
import { isJoined, joinedSites, untracedSites } from './join.ts';

const LINE = 116;

/** @throws Error for an image without a real kernel */
export function functionsPage(image: KernelImage): string {
  if (!isJoined(image)) throw new Error('the built-in kernel has no functions but hosted ones');
  const { native, hosting } = image.real;
  const { names, types, high } = native.symbols;
  const functions = Array.from({ length: names.length }, (_, i) => high[i] !== 0 && isText(types[i])).filter(
    Boolean,
  ).length;
  const ours = new Set(image.asm.fentrySites).size - untracedSites(image).length;
  const sites = joinedSites(image).length;
  const jumps = [...hosting.jumps.keys()].map((name) => hosting.names.get(name) ?? name).sort();
  const functionsOfAsm = new Set(
    image.asm.symbols.filter(({ section }) => section === '.text').map(({ name }) => name),
  );
  const all = [...hosting.places.keys()].sort();
  const real = all.filter((name) => functionsOfAsm.has(name));
  const data = all.filter((name) => !functionsOfAsm.has(name));
  return [
    `# Native and hosted functions of ${image.kernel.release}`,
    '',
    'Made by `node scripts/run.mjs native-functions`; `docs/your-kernel.md` says what the words mean.',
    '',
    '| | |',
    '| --- | --- |',
    `| symbols of functions | ${functions} |`,
    `| of them hosted | ${jumps.length} |`,
    `| fentry sites | ${sites} |`,
    `| of them native | ${sites - ours} |`,
    `| of them ours | ${ours} |`,
    `| data that both have, in one place | ${data.length} |`,
    '',
    '## Native where the machine has a function of its own',
    '',
    ...wrapped(real),
    '',
    '## Hosted',
    '',
    ...wrapped(jumps),
    '',
    '## Data of both',
    '',
    ...wrapped(data),
    '',
  ].join('\n');
}

/** Initial text is gone when the kernel runs, and is counted all the same: it has symbols. */
const isText = (type: number): boolean => 'tTwW'.includes(String.fromCharCode(type));

function wrapped(names: readonly string[]): string[] {
  const lines: string[] = [];
  for (const name of names) {
    const word = `\`${name}\``;
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= LINE)
      lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}
