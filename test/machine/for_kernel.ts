// A fixture's module as kbuild would have made it for another kernel: what depends on the kernel is exchanged, and code
// and data stay. Of modules that call nothing but what has one form in all kernels.

import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { parseElf } from '../../src/elf/elf_object.ts';
import { rewriteElf, type SectionChange } from '../../src/elf/elf_writer.ts';
import type { ElfSection } from '../../src/elf/sections.ts';
import { BUILT_IN, type KernelDescription } from '../../src/kernel/description.ts';
import type { OpenedKernel } from '../../src/machine/native/cache.ts';

const MODULE = '.gnu.linkonce.this_module';
const RELA_SIZE = 24;

/**
 * @param asThere tables that it has in the form of that kernel
 * @throws Error for one with others that are laid out otherwise there
 */
export function moduleFor(
  bytes: Uint8Array,
  { description, native }: OpenedKernel,
  asThere: readonly string[] = [],
): Uint8Array {
  const elf = parseElf(bytes, 'fixture.ko', X86_64.elf);
  const other = ['.altinstructions', '__bug_table', '.parainstructions'].find(
    (name) => elf.section(name) && !asThere.includes(name),
  );
  if (other !== undefined) throw new Error(`a module with ${other} is not made for other kernels here`);
  const changed = (name: string, data: Uint8Array): SectionChange => {
    const section = elf.section(name) as ElfSection;
    const { index, type, flags, align, entsize, link, info } = section;
    return { name, index, type, flags, align, entsize, data, linkIndex: link, infoIndex: info };
  };
  const of = (name: string): Buffer => Buffer.from(elf.data(elf.section(name) as ElfSection));
  const crcs = new Map([...native.exports].map(({ name, crc }) => [name, crc]));
  const orc =
    description.orcHash === undefined ? [] : [changed('.orc_unwind', orcFor(of('.orc_unwind'), description))];
  const header: SectionChange[] =
    description.orcHash === undefined
      ? []
      : [
          {
            name: '.orc_header',
            type: 1,
            flags: 2,
            align: 1,
            entsize: 0,
            data: Buffer.from(description.orcHash, 'hex'),
          },
        ];
  const parts = rewriteElf(elf, [
    changed(
      '.modinfo',
      Buffer.from(
        of('.modinfo').toString('latin1').replace(BUILT_IN.vermagic, description.vermagic),
        'latin1',
      ),
    ),
    changed(MODULE, thisModule(of(MODULE), description)),
    changed(`.rela${MODULE}`, initAndExit(of(`.rela${MODULE}`), description)),
    changed(
      '__versions',
      description.layoutCrc === undefined ? new Uint8Array(0) : versions(of('__versions'), crcs),
    ),
    ...orc,
    ...header,
  ]);
  return new Uint8Array(Buffer.concat(parts));
}

/** struct module has another size, and its name is where it is. */
function thisModule(bytes: Buffer, { structs: { module } }: KernelDescription): Uint8Array {
  const made = Buffer.alloc(module.size);
  const { name } = BUILT_IN.structs.module.fields;
  bytes.copy(made, module.fields.name, name, name + 56);
  return made;
}

/** The two relocations of struct module: of the first word of init and of exit. */
function initAndExit(rela: Buffer, { structs }: KernelDescription): Uint8Array {
  for (let at = 0; at < rela.length; at += RELA_SIZE) {
    const member = (['init', 'exit'] as const).find(
      (one) => BUILT_IN.structs.module.fields[one] === Number(rela.readBigUInt64LE(at)),
    );
    if (member === undefined) throw new Error(`a relocation of struct module at ${rela.readBigUInt64LE(at)}`);
    rela.writeBigUInt64LE(BigInt(structs.module.fields[member]), at);
  }
  return rela;
}

function versions(table: Buffer, crcs: ReadonlyMap<string, number | undefined>): Uint8Array {
  const { size, fields } = BUILT_IN.structs.modversion_info;
  for (let at = 0; at < table.length; at += size) {
    const [name] = table.toString('latin1', at + fields.name, at + size).split('\0');
    table.writeBigUInt64LE(BigInt(crcs.get(name) ?? 0), at + fields.crc);
  }
  return table;
}

function orcFor(entries: Buffer, { orcHash }: KernelDescription): Uint8Array {
  const orc = X86_64.code?.orc;
  const [from, to] = [orc?.byHash(undefined), orc?.byHash(orcHash)];
  if (!from || !to) throw new Error(`no ORC format ${orcHash}`);
  const count = entries.length / from.size;
  const row = {
    spOffset: new Int16Array(count),
    fpOffset: new Int16Array(count),
    flags: new Uint16Array(count),
  };
  const made = new Uint8Array(count * to.size);
  const [view, into] = [
    new DataView(entries.buffer, entries.byteOffset, entries.length),
    new DataView(made.buffer),
  ];
  for (let i = 0; i < count; i++) {
    from.read(view, i * from.size, row, i);
    to.write(row, i, into, i * to.size);
  }
  return made;
}
