// Modules that were built for another kernel: the words of 6.1, and what klpemu says beside them.

import { describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { parseElf } from '../../src/elf/elf_object.ts';
import { BUILT_IN } from '../../src/kernel/description.ts';
import { MODULE_INIT_IGNORE_MODVERSIONS, MODULE_INIT_IGNORE_VERMAGIC } from '../../src/module/load_info.ts';
import { fixture, Rig, replaced } from './harness.ts';

const LAYOUT = BUILT_IN.structs;

const OTHER = 'vermagic=6.9.7-1-amd64 ';

/** klpdemo_target as another kernel's build would have it: each part by name. */
function altered({ crc, release, size, versions = true }: Altered): Uint8Array {
  const bytes = fixture('klpdemo_target').slice();
  const elf = parseElf(bytes, 'klpdemo_target.ko', X86_64.elf);
  const view = new DataView(bytes.buffer);
  const table = elf.section('__versions');
  if (!table) throw new Error('no __versions');
  const layout = Buffer.from(bytes).indexOf('module_layout\0', table.offset);
  if (crc !== undefined) view.setUint32(layout - 8, crc, true);
  const header = (index: number): number => elf.header.shoff + 64 * index;
  if (!versions) view.setBigUint64(header(table.index) + 8, 0n, true);
  if (size !== undefined) {
    const section = elf.section('.gnu.linkonce.this_module');
    view.setBigUint64(header(section?.index ?? 0) + 32, BigInt(size), true);
  }
  if (release) {
    const at = Buffer.from(bytes).indexOf('vermagic=6.1.0-56-amd64 ');
    const text = Buffer.from(bytes.subarray(at)).toString('latin1');
    const rest = text.slice(text.indexOf(' '), text.indexOf('\0')).trimStart();
    const pad = 'vermagic=6.1.0-56-amd64 '.length - OTHER.length;
    bytes.set(Buffer.from(`${OTHER}${rest}${'\0'.repeat(pad)}`, 'latin1'), at);
  }
  return bytes;
}

interface Altered {
  readonly crc?: number;
  readonly release?: boolean;
  readonly size?: number;
  readonly versions?: boolean;
}

function load(how: Altered, flags = 0) {
  const rig = new Rig();
  const bytes = altered(how);
  rig.exportAll(
    parseElf(bytes, 'x', X86_64.elf)
      .symbols.filter((s) => s.shndx === 0 && s.name !== '')
      .map((s) => s.name),
  );
  const result = rig.run(rig.loader.loadModule({ file: 'x.ko', bytes, flags }));
  const notes = rig.events.flatMap((event) => (event.type === 'note' ? [event.text] : []));
  return { result, notes, dmesg: rig.dmesg };
}

const NAME = 'klpdemo_target';

describe('a module of another kernel', () => {
  it('has another checksum of module_layout: refused with ENOEXEC before anything of it is used', () => {
    const { result, dmesg, notes } = load({ crc: 0x12345678, release: true, size: 0x400 });
    expect(result).toMatchObject({ ok: false, errno: 8 });
    expect(dmesg.at(-1)).toBe(`${NAME}: disagrees about version of symbol module_layout`);
    expect(notes).toEqual([
      `${NAME} was built for 6.9.7-1-amd64; this machine is 6.1.0-56-amd64: ` +
        'build it with the package linux-headers-6.1.0-56-amd64 (klpemu help modules)',
    ]);
  });

  it('has no checksum of a symbol that it uses: refused, as one with another', () => {
    const rig = new Rig();
    const { core } = rig;
    const bytes = replaced(fixture(NAME), 'module_layout', 'module_layou_');
    expect(rig.load(bytes)).toMatchObject({ ok: false, errno: 8 });
    expect(rig.dmesg).toEqual([`${NAME}: no symbol version for module_layout`]);
    expect(core.taints).toBe(0);
  });

  it('is another build of the same release: the note does not name that as the fault', () => {
    expect(load({ crc: 1 }).notes[0]).toContain(
      `${NAME} says that it is for 6.1.0-56-amd64, but was built with other structures or options than Debian's`,
    );
  });

  it('does not say for which: the note says so', () => {
    const rig = new Rig();
    expect(rig.load(replaced(altered({ crc: 1 }), 'vermagic=', 'vermagix='))).toMatchObject({ ok: false });
    expect(rig.events).toContainEqual(
      expect.objectContaining({
        type: 'note',
        text: expect.stringContaining(
          `${NAME} does not say for which kernel it was built; this machine is 6.1.0-`,
        ),
      }),
    );
  });

  it('of another release is taken when every checksum agrees, as the version does not count then', () => {
    expect(load({ release: true }).result.ok).toBe(true);
  });

  it('without checksums must be of this release, and taints the kernel as loaded by force', () => {
    const { result, dmesg, notes } = load({ versions: false, release: true });
    expect(result.ok).toBe(false);
    expect(dmesg).toContain(`${NAME}: module_layout: kernel tainted.`);
    expect(dmesg.at(-1)).toMatch(/version magic '6\.9\.7-1-amd64 .*' should be '6\.1\.0-56-amd64 /);
    expect(notes[0]).toContain('was built for 6.9.7-1-amd64');
    expect(load({ versions: false }).result.ok).toBe(true);
  });

  it('loads by force where its struct module has the right size, and only there', () => {
    const force = MODULE_INIT_IGNORE_MODVERSIONS | MODULE_INIT_IGNORE_VERMAGIC;
    const how = { crc: 1, release: true };
    expect(load(how, force)).toMatchObject({ result: { ok: true }, notes: [] });
    for (const size of [LAYOUT.module.size - 8, LAYOUT.module.size + 64]) {
      const { result, dmesg, notes } = load({ ...how, size }, force);
      expect(result).toMatchObject({ ok: false, errno: 8 });
      expect(dmesg.at(-1)).toBe(
        `module ${NAME}: .gnu.linkonce.this_module section size must match the kernel's built struct module ` +
          'size at run time',
      );
      expect(notes).toHaveLength(1);
    }
  });
});
