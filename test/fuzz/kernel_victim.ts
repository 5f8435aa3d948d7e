// Broken kernel images, made from a small one: its setup header, its packed bytes, and before it is packed its headers,
// kallsyms, types and tables.
//
// Invariant: the same seed makes the same broken image.

import { readFileSync } from 'node:fs';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { KIND } from '../../src/btf/kinds.ts';
import { layoutOf } from '../../src/btf/layout.ts';
import { KernelFile } from '../../src/vmlinuz/kernel_file.ts';
import { LinkedKernel } from '../../src/vmlinuz/linked_kernel.ts';
import type { Layout } from '../vmlinuz/kallsyms_bytes.ts';
import { bzImage, type PackingName } from '../vmlinuz/packed_kernel.ts';
import { strippedKernel } from '../vmlinuz/small_image.ts';
import type { Random } from './random.ts';

const SETUP: readonly number[] = [0x1f1, 0x1fe, 0x202, 0x206, 0x248, 0x249, 0x24c, 0x24d];
const LIMITS = [0, 1, 0x7f, 0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff];
const CHANGES = [1, 1, 1, 2, 2, 3, 5, 8];

/** What is broken, most often what was unpacked: then the readers behind are reached. */
const PARTS = [
  'setup header',
  'payload',
  'truncated',
  'headers',
  'kallsyms',
  'types',
  'tables',
  'anything',
] as const;

/** How an image is packed, and its kallsyms are laid out. */
const FORMS: readonly (readonly [PackingName, Layout])[] = [
  ['gzip', '2.6'],
  ['xz', '4.6'],
  ['zstd', '6.2'],
  ['lz4', '6.4'],
  ['nothing', '6.15'],
  ['nothing', '7.0'],
];

type Range = readonly [start: number, length: number];

export class KernelVictim {
  readonly name: string;
  readonly #packing: PackingName;
  readonly #kernel: Uint8Array;
  readonly #ranges: Readonly<Record<string, readonly Range[]>>;

  constructor(packing: PackingName, layout: Layout) {
    this.name = `${packing}, ${layout}`;
    this.#packing = packing;
    this.#kernel = strippedKernel({ layout });
    const { sections } = new LinkedKernel(this.#kernel, this.name, X86_64.elf);
    const of = (names: RegExp): Range[] =>
      sections
        .filter(({ name, size, type }) => names.test(name) && size > 0 && type !== 8)
        .map(({ offset, size }) => [offset, size]);
    const headers = new DataView(this.#kernel.buffer).getUint32(40, true);
    this.#ranges = {
      headers: [
        [0, 64],
        [headers, this.#kernel.length - headers],
      ],
      kallsyms: of(/^\.rodata\.names$/),
      types: of(/^\.BTF$/),
      tables: of(/^\.orc|^__|^\.alt/),
      anything: [[0, this.#kernel.length]],
    };
  }

  static all(): KernelVictim[] {
    return FORMS.map(([packing, layout]) => new KernelVictim(packing, layout));
  }

  whole(): Uint8Array {
    return bzImage(this.#kernel, this.#packing);
  }

  mutate(random: Random): { bytes: Uint8Array; kinds: string[] } {
    const kernel = this.#kernel.slice();
    const kinds = Array.from({ length: random.pick(CHANGES) }, () => random.pick(PARTS) as string);
    for (const kind of kinds) {
      const ranges = this.#ranges[kind];
      if (ranges) write(kernel, random, random.pick(ranges));
    }
    let bytes = bzImage(kernel, this.#packing);
    for (const kind of kinds) {
      if (kind === 'setup header') bytes[random.pick(SETUP)] = random.below(256);
      else if (kind === 'payload') write(bytes, random, [4 * 512 + 100, Math.max(1, bytes.length - 2200)]);
      else if (kind === 'truncated' && random.below(4) === 0)
        bytes = bytes.slice(0, random.below(bytes.length));
    }
    return { bytes, kinds };
  }
}

/** A byte, a bit, a word of a value that tends to be a limit, or some bytes from elsewhere. */
function write(bytes: Uint8Array, random: Random, [start, length]: Range): void {
  const at = start + random.below(length);
  if (at >= bytes.length) return;
  const how = random.below(5);
  if (how === 0) bytes[at] = random.below(256);
  else if (how === 1) bytes[at] ^= 1 << random.below(8);
  else if (how === 2) bytes.copyWithin(at, start + random.below(length), start + length);
  else {
    const word = start + ((at - start) & ~3);
    if (word + 4 <= bytes.length)
      new DataView(bytes.buffer).setUint32(
        word,
        random.pick([...LIMITS, random.below(0x10000), bytes.length]),
        true,
      );
  }
}

/** Everything that `klpemu symbols` and `klpemu layout` read. @throws ElfError */
export function readWholeKernel(path: string): void {
  const file = new KernelFile(readFileSync(path), path, X86_64);
  const { names, count } = file.symbols;
  for (let i = 0; i < count; i++) names.name(i);
  const { btf } = file;
  for (const type of btf?.ofKinds(KIND.struct, KIND.union) ?? []) if (btf) layoutOf(btf, btf.name(type));
  for (const type of btf?.ofKinds(KIND.enum, KIND.enum64) ?? []) btf?.enumerators(type);
}
