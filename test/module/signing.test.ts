// Signatures behind modules: taken off where they are of the kernel's form, refused with EBADMSG where they are not, and never verified.

import { describe, expect, it } from 'vitest';
import { MODULE_INIT_IGNORE_VERMAGIC } from '../../src/module/load_info.ts';
import { fixture, Rig } from './harness.ts';

const NAME = 'klpdemo_target';
const MARKER = Buffer.from('~Module signature appended~\n');
const PKCS7 = 2;
/** Of what nobody reads here. */
const BYTES = Buffer.alloc(100, 0x30);

interface Parts {
  readonly module?: Uint8Array;
  /** sig_len, where it is another than that of the bytes. */
  readonly length?: number;
  readonly idType?: number;
  /** Bytes of struct module_signature that are to be 0 and are 1. */
  readonly set?: number;
}

/** The module, and behind it what scripts/sign-file writes. */
function signed({
  module = fixture(NAME),
  length = BYTES.length,
  idType = PKCS7,
  set,
}: Parts = {}): Uint8Array {
  const info = Buffer.alloc(12);
  info[2] = idType;
  if (set !== undefined) info[set] = 1;
  info.writeUInt32BE(length, 8);
  return new Uint8Array(Buffer.concat([module, BYTES, info, MARKER]));
}

describe('a module with a signature', () => {
  it('loads without it, and is one whose key nobody has', () => {
    const rig = new Rig();
    const result = rig.load(signed());
    expect(result).toMatchObject({ ok: true });
    expect(rig.dmesg).toContain(
      `${NAME}: module verification failed: signature and/or required key missing - tainting kernel`,
    );
    expect(result.ok && result.module.elf.bytes.length).toBe(fixture(NAME).length);
  });

  it.each([
    ['as long as the module and itself', fixture(NAME).length + BYTES.length],
    ['longer', 0xffffffff],
  ])('that is said to be %s is refused with EBADMSG, and nothing is said', (_, length) => {
    const rig = new Rig();
    expect(rig.load(signed({ length }))).toMatchObject({ ok: false, code: 'EBADMSG' });
    expect(rig.dmesg).toEqual([]);
  });

  it('that leaves one byte of the module is taken off: what is left is no module', () => {
    const rig = new Rig();
    const length = fixture(NAME).length + BYTES.length - 1;
    expect(rig.load(signed({ length }))).toMatchObject({ ok: false, code: 'ENOEXEC' });
  });

  it('and nothing else is refused with EBADMSG', () => {
    const rig = new Rig();
    for (const bytes of [signed().slice(-MARKER.length - 12), signed().slice(-MARKER.length - 3)])
      expect(rig.load(bytes)).toMatchObject({ ok: false, code: 'EBADMSG' });
    // The mark alone is a file that is no module.
    expect(rig.load(new Uint8Array(MARKER))).toMatchObject({ ok: false, code: 'ENOEXEC' });
  });

  it('of another form than PKCS#7 is loaded as unsigned, with a line', () => {
    const rig = new Rig();
    expect(rig.load(signed({ idType: 1 }))).toMatchObject({ ok: true });
    expect(rig.dmesg[0]).toBe('module: not signed with expected PKCS#7 message');
  });

  it.each([0, 1, 3, 4, 5, 6, 7])('of PKCS#7 has nothing else in its description: byte %i', (set) => {
    const rig = new Rig();
    expect(rig.load(signed({ set }))).toMatchObject({ ok: false, code: 'EBADMSG' });
    expect(rig.dmesg).toEqual(['module: PKCS#7 signature info has unexpected non-zero params']);
  });
});

describe('a kernel that enforces signatures', () => {
  it.each([
    ['unsigned module', fixture(NAME), 0],
    ['module with unavailable key', signed(), 0],
    ['module with unsupported crypto', signed({ idType: 0 }), 0],
    // Without its versions it is not the module that was signed.
    ['unsigned module', signed(), MODULE_INIT_IGNORE_VERMAGIC],
  ])('rejects it: %s', (reason, bytes, flags) => {
    const rig = new Rig({ sigEnforce: true });
    const result = rig.run(rig.loader.loadModule({ file: 'x.ko', bytes, flags }));
    expect(result).toMatchObject({ ok: false, code: 'EKEYREJECTED' });
    expect(rig.dmesg.at(-1)).toBe(`Loading of ${reason} is rejected`);
  });

  it('refuses what is no signature for that', () => {
    const rig = new Rig({ sigEnforce: true });
    expect(rig.load(signed({ set: 0 }))).toMatchObject({ ok: false, code: 'EBADMSG' });
  });
});
