// What of the toy's text is the same for every port, and is made here instead of written: the stubs of host functions and
// the data that the machine knows by name, taken from an image of another port.

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ImageSource, sourcesIn } from '../../../src/arch/image_sources.ts';
import { X86_64 } from '../../../src/arch/x86_64/x86_64.ts';
import type { AsmImage } from '../../../src/asm/assembler.ts';

const OWN = 'test/arch/toy/asm';
/** Host functions that the other port's own entry code calls. */
const NOT_OURS = new Set([
  'do_int3',
  'do_error_trap',
  'handle_invalid_op',
  'do_general_protection',
  'handle_page_fault',
  'handle_stack_overflow',
  'math_error',
  'stack_chk_panic',
]);
/** The image is kept by its sources: what makes instructions of them is named in one. */
function portHash(): string {
  const hash = createHash('sha256');
  for (const file of ['isa.ts', 'assembly.ts']) hash.update(readFileSync(join(import.meta.dirname, file)));
  return hash.digest('hex');
}

const DATA = new Set(['.data', '.rodata', '.bss']);

export function madeSources(root: string, like: AsmImage): ImageSource[] {
  const own = sourcesIn(root, OWN)
    .map(({ text }) => text)
    .join('\n');
  const isOwn = (name: string) =>
    new RegExp(`^(?:SYM_\\w+_START(?:_LOCAL)?\\(${name}\\)|(?:NEVER|LIST) ${name})$`, 'm').test(own);
  const stubs = [...X86_64.hostStubs.find(like).keys()].filter((name) => !NOT_OURS.has(name) && !isOwn(name));
  const data = like.symbols.filter(
    ({ name, type, section, global }) => global && type === 'object' && DATA.has(section) && !isOwn(name),
  );
  const exported = new Set(like.exports.map(({ name }) => name));
  const lines = [
    '.section .text',
    ...[...stubs, 'toy_fault'].map((name) => `HOST_FUNC ${name}`),
    ...stubs.filter((name) => exported.has(name)).map((name) => `EXPORT_SYMBOL_GPL(${name})`),
    '.section .bss',
    ...data.flatMap(({ name, size }) => [
      `SYM_DATA_START(${name})`,
      `    .skip ${size}`,
      `SYM_DATA_END(${name})`,
    ]),
  ];
  return [
    { path: `${OWN}/port.inc`, text: `# ${portHash()}\n` },
    { path: `${OWN}/made.s`, text: `${lines.join('\n')}\n` },
  ];
}
