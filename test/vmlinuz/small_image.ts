// The small kernel of fixtures/objects/vmlinux as it would be installed: stripped, its symbols in kallsyms, types in BTF,
// packed in a bzImage.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { SYM_SIZE } from '../../src/elf/constants.ts';
import { packageRoot } from '../../src/guest/package_root.ts';
import { LinkedKernel } from '../../src/vmlinuz/linked_kernel.ts';
import { btfBytes } from '../btf/btf_bytes.ts';
import { kallsymsBytes, type Layout, type Listed } from './kallsyms_bytes.ts';
import { linkedElf, type Section } from './linked_elf.ts';
import { bzImage, type PackingName } from './packed_kernel.ts';

export const VMLINUX = join(packageRoot(), 'fixtures/objects/vmlinux/vmlinux');
const HALF = 0xffffffff00000000n;
const FUNC = 2;

const bytes = Uint8Array.from(readFileSync(VMLINUX));
const kernel = new LinkedKernel(bytes, VMLINUX, X86_64.elf);

/** What nm says of the kernel, by address. */
export const SYMBOLS: readonly Listed[] = readSymbols();

function readSymbols(): Listed[] {
  const [symtab, strtab] = ['.symtab', '.strtab'].map((name) => {
    const section = kernel.section(name);
    if (!section) throw new Error(name);
    return Buffer.from(kernel.data(section));
  });
  const found: Listed[] = [];
  for (let at = SYM_SIZE; at < symtab.length; at += SYM_SIZE) {
    const section = kernel.sections[symtab.readUInt16LE(at + 6)];
    const type = symtab[at + 4] & 15;
    if (!section || section.start === 0 || type > FUNC) continue;
    const nameAt = symtab.readUInt32LE(at);
    const letter = section.isText ? 't' : section.name === '.bss' ? 'b' : section.isWritable ? 'd' : 'r';
    found.push({
      address: symtab.readBigUInt64LE(at + 8),
      type: symtab[at + 4] >> 4 === 0 ? letter : letter.toUpperCase(),
      name: strtab.toString('latin1', nameAt, strtab.indexOf(0, nameAt)),
    });
  }
  return byAddress(found);
}

function byAddress(symbols: Listed[]): Listed[] {
  return symbols.sort((a, b) => Number(a.address - b.address));
}

/** Names of functions, all of them C's but the thunks. */
const FUNCTIONS = new Set(
  SYMBOLS.filter(({ type, name }) => 'tT'.includes(type) && !name.includes('.') && !name.startsWith('_')).map(
    ({ name }) => name,
  ),
);

const TYPES = btfBytes([
  { kind: 'int', name: 'int', size: 4 },
  { kind: 'proto', of: 1, parameters: [] },
  ...[...FUNCTIONS].map((name) => ({ kind: 'func' as const, name, of: 2 })),
  {
    kind: 'struct',
    name: 'klp_state',
    size: 24,
    members: [
      { name: 'id', type: FUNCTIONS.size + 4, at: 0 },
      { name: 'version', type: 1, at: 64 },
      { name: 'data', type: FUNCTIONS.size + 5, at: 128 },
    ],
  },
  { kind: 'int', name: 'long unsigned int', size: 8 },
  { kind: 'ptr', of: 0 },
]);

interface SmallImage {
  readonly layout?: Layout;
  readonly packing?: PackingName;
  /** Changes what a section has. */
  readonly change?: (name: string, bytes: Uint8Array) => void;
  readonly kallsyms?: (bytes: Uint8Array) => Uint8Array;
  readonly types?: Uint8Array;
  /** Symbols beside the kernel's own. */
  readonly more?: readonly Listed[];
}

/** Without symbols, but for kallsyms and types. */
export function strippedKernel({
  layout = '6.4',
  change,
  kallsyms,
  types = TYPES,
  more = [],
}: SmallImage = {}): Uint8Array {
  const sections: Section[] = kernel.sections
    .filter(({ start }) => start !== 0)
    .map((section) => ({
      name: section.name,
      address: HALF + BigInt(section.start),
      flags: section.flags,
      type: section.type,
      bytes: kernel.data(section).slice(),
      size: section.size,
    }));
  for (const section of sections) change?.(section.name, section.bytes);
  const last = sections[sections.length - 1];
  const at = (last.address + BigInt(last.size ?? 0) + 0xfffn) & ~0xfffn;
  const names = kallsymsBytes(byAddress([...SYMBOLS, ...more]), layout, at).bytes;
  sections.push({ name: '.rodata.names', address: at, flags: 2, bytes: kallsyms?.(names) ?? names });
  sections.push({ name: '.BTF', address: at + 0x10000n, flags: 2, bytes: types });
  return linkedElf(sections);
}

export const smallImage = (options: SmallImage = {}): Uint8Array =>
  bzImage(strippedKernel(options), options.packing ?? 'xz');
