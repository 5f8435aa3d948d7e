// A bundle as a file: what it holds, and each thing that is wrong with one, in words.

import { describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { Bundle } from '../../src/bundle/bundle.ts';
import { checkNoCycle, takenFrom } from '../../src/bundle/contents.ts';
import { BundleError } from '../../src/bundle/error.ts';
import { createBundle, patchModule, readBundle, sha256 } from '../../src/bundle/format.ts';
import { firstMissing, placeOf, placeText } from '../../src/bundle/from_user.ts';
import { parseManifest } from '../../src/bundle/manifest.ts';
import { readTar, type TarEntry, writeTar } from '../../src/bundle/tar.ts';
import { World as Core } from '../ftrace/world.ts';
import { bundleOf, ko } from './world.ts';

const { elf } = X86_64;
const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));

/** `CODE: reason` of what it throws. */
function why(does: () => unknown): string {
  try {
    does();
    return '';
  } catch (error) {
    if (error instanceof BundleError) return `${error.code}: ${error.message}`;
    throw error;
  }
}

type Json = Record<string, unknown> & { members: Record<string, unknown>[] };

/** A bundle with another manifest, or other entries. */
function changed(
  bundle: Uint8Array,
  manifest: (json: Json) => void = () => {},
  entries: (files: TarEntry[]) => TarEntry[] = (files) => files,
): Uint8Array {
  const [first, ...files] = readTar(bundle);
  const json = JSON.parse(Buffer.from(first.bytes).toString()) as Json;
  manifest(json);
  return writeTar(entries([{ name: first.name, bytes: bytes(JSON.stringify(json)) }, ...files]));
}

describe('a bundle file', () => {
  const good = bundleOf('v1', ['p1_vmlinux', 'p1_core', 's1_mid'], { replace: true, version: '7' });

  it('holds its members in their order, each with what it is for and has', () => {
    const file = readBundle(good, elf);
    expect(file).toMatchObject({ name: 'v1', version: '7', replace: true });
    expect(file.members.map(({ file: name, module, object }) => [name, module, object])).toEqual([
      ['klpbundle_p1_vmlinux.ko', 'klpbundle_p1_vmlinux', 'vmlinux'],
      ['klpbundle_p1_core.ko', 'klpbundle_p1_core', 'klpbundle_core'],
      ['klpbundle_s1_mid.ko', 'klpbundle_s1_mid', 'klpbundle_mid'],
    ]);
    expect(file.members.map(({ states }) => states)).toEqual([
      [],
      [],
      [
        { id: 1n, version: 1 },
        { id: 2n, version: 1 },
      ],
    ]);
    const [{ contents, sha256: hash, bytes: own, srcversion, vermagic }] = file.members;
    expect(hash).toBe(sha256(own));
    expect([srcversion, vermagic]).toEqual([undefined, expect.stringMatching(/^6\.1\.0-/)]);
    expect(contents.functions).toEqual(expect.arrayContaining(['new_show', 'klpbundle_patch_init']));
    expect(contents.data).toEqual(expect.arrayContaining(['patch', 'objs', 'funcs']));
    expect(contents.exports).toEqual([]);
    expect(contents.imports).toEqual(expect.arrayContaining(['klp_enable_patch', 'seq_puts']));
    expect(contents.relocations).toEqual({ late: 0, ordinary: 0 });
  });

  it('has what members export and take from each other, and relocations by their kind', () => {
    const file = readBundle(bundleOf('y', ['y_vmlinux', 'y_core']), elf);
    const [kernel, core] = file.members;
    expect(kernel.contents.exports).toEqual(['klpbundle_y_count']);
    expect([...takenFrom(core, file.members)]).toEqual([['klpbundle_y_count', 'klpbundle_y_vmlinux.ko']]);
    expect([...takenFrom(kernel, file.members)]).toEqual([]);
    const [member] = readBundle(bundleOf('p1', ['p1_core']), elf).members;
    expect(member.contents.relocations).toEqual({ late: 1, ordinary: 0 });
    const [whole] = readBundle(bundleOf('bad', ['bad_reloc']), elf).members;
    expect(whole.contents.relocations).toEqual({ late: 1, ordinary: 0 });
  });

  it('is one patch module an object: name, object, functions', () => {
    expect(patchModule('a.ko', ko('p1_core'), elf)).toEqual({
      name: 'klpbundle_p1_core',
      object: 'klpbundle_core',
      functions: ['klpbundle_core_step'],
      states: [],
    });
    expect(why(() => patchModule('a.ko', ko('core'), elf))).toBe('ENOEXEC: a.ko is no livepatch module');
    expect(why(() => patchModule('a.ko', ko('c1'), elf))).toBe(
      'EINVAL: a.ko is for 2 objects (klpbundle_asker, klpbundle_core), not for one',
    );
    expect(why(() => patchModule('a.ko', bytes('no module'), elf))).toMatch(/^ENOEXEC: a\.ko: /);
  });

  const wrong: [string, () => Uint8Array][] = [
    [
      'EINVAL: the first entry is not bundle.json',
      () => changed(good, undefined, ([first, ...files]) => [...files, first]),
    ],
    ['EINVAL: the first entry is not bundle.json', () => changed(good, undefined, () => [])],
    [
      'EINVAL: more.ko is in the tar and not in bundle.json',
      () => changed(good, undefined, (files) => [...files, { name: 'more.ko', bytes: bytes('') }]),
    ],
    [
      'EINVAL: member klpbundle_p1_core.ko is in the tar 2 times',
      () => changed(good, undefined, (files) => [...files, files[2]]),
    ],
    [
      'EINVAL: member klpbundle_s1_mid.ko is in the tar 0 times',
      () => changed(good, undefined, (files) => files.slice(0, 3)),
    ],
    [
      'EBADMSG: member klpbundle_p1_vmlinux.ko is not the file whose SHA-256 the manifest has',
      () => changed(good, (json) => Object.assign(json.members[0], { sha256: '0'.repeat(64) })),
    ],
    [
      'EINVAL: member klpbundle_p1_core.ko is for object klpbundle_core, not for klpbundle_top',
      () => changed(good, (json) => Object.assign(json.members[1], { object: 'klpbundle_top' })),
    ],
    [
      'EINVAL: state 1 is of version 1 in member klpbundle_s1_core.ko and 2 in klpbundle_s2_mid.ko',
      () => bundleOf('states', ['s1_core', 's2_mid']),
    ],
    [
      'EINVAL: bundle.json: version: Invalid input',
      () => changed(good, (json) => Object.assign(json, { version: '' })),
    ],
    [
      'EINVAL: bundle.json: members: Invalid input',
      () => changed(good, (json) => Object.assign(json, { members: [] })),
    ],
    [
      'EINVAL: bundle.json: replace: Invalid input',
      () => changed(good, (json) => Object.assign(json, { replace: 1 })),
    ],
    [
      "EINVAL: bundle.json: unknown field 'more'",
      () => changed(good, (json) => Object.assign(json, { more: 1 })),
    ],
    [
      "EINVAL: bundle.json: members.1: unknown field 'a', 'b'",
      () => changed(good, (json) => Object.assign(json.members[1], { a: 1, b: 2 })),
    ],
    [
      'EINVAL: members klpbundle_p1_vmlinux.ko and klpbundle_p1_core.ko are both for object vmlinux',
      () => changed(good, (json) => Object.assign(json.members[1], { object: 'vmlinux' })),
    ],
    [
      'EINVAL: member klpbundle_p1_vmlinux.ko does not say which vmlinux it is for',
      () => changed(good, (json) => delete json.members[0].vermagic),
    ],
  ];
  it.each(wrong)('%s', (reason, make) => {
    expect(why(() => readBundle(make(), elf))).toBe(reason);
  });

  it('has a manifest that is JSON', () => {
    expect(why(() => parseManifest('{'))).toMatch(/^EINVAL: bundle\.json is no JSON: ./);
  });

  it('is not made of files of one name, nor of targets or members without what says which they are', () => {
    const file = { file: 'a.ko', bytes: ko('p1_core') };
    const source = { name: 'a', version: '1', replace: false, targets: new Map() };
    expect(why(() => createBundle({ ...source, files: [file, { ...file, file: 'b.ko' }] }, elf))).toBe(
      'EINVAL: members a.ko and b.ko are both for object klpbundle_core',
    );
    expect(
      why(() =>
        createBundle({ ...source, files: [file], targets: new Map([['klpbundle_core', bytes('x')]]) }, elf),
      ),
    ).toMatch(/^ENOEXEC: klpbundle_core\.ko: /);
    // The version of the source where the target has one.
    const top = createBundle(
      {
        ...source,
        files: [{ file: 't.ko', bytes: ko('p1_top') }],
        targets: new Map([['klpbundle_top', ko('top')]]),
      },
      elf,
    );
    const [member] = readBundle(top, elf).members;
    expect([typeof member.srcversion, member.vermagic]).toEqual(['string', undefined]);
  });
});

describe('members that need each other', () => {
  const member = (file: string, exports: string[], imports: string[]) => ({
    file,
    contents: { exports, imports },
  });

  it('are refused with the circle, and only where there is one', () => {
    const a = member('a', ['x'], ['y', 'x', 'printk']);
    const b = member('b', ['y'], ['z']);
    const c = member('c', ['z'], []);
    expect(why(() => checkNoCycle([a, b, c]))).toBe('');
    expect(why(() => checkNoCycle([c, b, a, member('d', [], ['x', 'y', 'z'])]))).toBe('');
    const round = member('c', ['z'], ['y']);
    expect(why(() => checkNoCycle([a, b, round]))).toBe('EINVAL: members need each other: b needs c needs b');
    expect(why(() => checkNoCycle([a, b, member('c', ['z'], ['x'])]))).toBe(
      'EINVAL: members need each other: a needs b needs c needs a',
    );
  });
});

describe('the tar of a bundle, in words', () => {
  const one = [{ name: 'a.ko', bytes: new Uint8Array(600) }];
  /** A header with bytes changed, and a checksum that fits. */
  const header = (change: (bytes: Buffer) => void): Uint8Array => {
    const tar = Buffer.from(writeTar(one));
    change(tar);
    tar.fill(0x20, 148, 156);
    const sum = tar.subarray(0, 512).reduce((a, b) => a + b, 0);
    tar.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
    return new Uint8Array(tar);
  };
  const said = (tar: Uint8Array): string => why(() => readTar(tar));

  it('says where it ends too early', () => {
    const tar = writeTar(one);
    expect(said(new Uint8Array())).toBe('EBADMSG: the tar is cut short: it has no end');
    expect(said(tar.subarray(0, 511))).toBe('EBADMSG: the tar is cut short: it has no end');
    expect(said(tar.subarray(0, 512 + 599))).toBe('EBADMSG: the tar is cut short in a.ko');
    expect(said(tar.subarray(0, 512 + 600))).toBe('EBADMSG: the tar is cut short: it has no end');
    // One block of zeros is an end.
    expect(said(tar.subarray(0, 4 * 512))).toBe('');
  });

  it('says which entry is no file, and which number none', () => {
    expect(said(header((tar) => (tar[156] = 0x35)))).toBe('EBADMSG: a.ko is no regular file');
    expect(said(header((tar) => (tar[156] = 0)))).toBe('');
    expect(said(header((tar) => tar.write('0000000x', 124)))).toMatch(
      /^EBADMSG: '0000000x\d*' is no number of a tar header$/,
    );
    expect(said(header((tar) => tar.write('ustax', 257)))).toBe('EBADMSG: no tar header at byte 0');
  });

  it('takes a checksum that ends in NUL and space, or space and NUL, and no other', () => {
    const ends = (text: string) => {
      const tar = Buffer.from(writeTar(one));
      tar.write(text, 154, 'latin1');
      return said(new Uint8Array(tar));
    };
    expect([ends('\0 '), ends(' \0')]).toEqual(['', '']);
    for (const other of ['\0\0', '  ', '0 '])
      expect(ends(other)).toBe('EBADMSG: the tar header at byte 0 is damaged');
  });

  it('has long names by their two fields', () => {
    const tar = header((bytes) => bytes.write('dir/ectory', 345));
    expect(readTar(tar)[0].name).toBe('dir/ectory/a.ko');
    const name = 'n'.repeat(100);
    expect(readTar(writeTar([{ name, bytes: new Uint8Array() }]))[0].name).toBe(name);
    expect(why(() => writeTar([{ name: `${name}n`, bytes: new Uint8Array() }]))).toBe(
      `EINVAL: ${name}n: the name is too long for a tar`,
    );
  });

  it('is the same bytes for the same entries: no time, no owner', () => {
    const head = Buffer.from(writeTar(one)).subarray(0, 512).toString('latin1');
    const fields = [
      head.slice(100, 108),
      head.slice(108, 116),
      head.slice(116, 124),
      head.slice(124, 136),
      head.slice(136, 148),
    ];
    expect(fields).toEqual(['0000644\0', '0000000\0', '0000000\0', '00000001130\0', '00000000000\0']);
    expect(head.slice(257, 265)).toBe('ustar\x0000');
    expect(writeTar(one)).toHaveLength(512 * (1 + 2 + 2));
  });

  it('has extended headers that change nothing, of one entry or of all', () => {
    const pax = (records: string, type: string): Uint8Array => {
      const tar = Buffer.from(writeTar([{ name: 'pax', bytes: bytes(records) }])).subarray(0, -1024);
      tar.write(type, 156);
      tar.fill(0x20, 148, 156);
      const sum = tar.subarray(0, 512).reduce((a, b) => a + b, 0);
      tar.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
      return new Uint8Array(tar);
    };
    const entry = (name: string, size = 1): Uint8Array =>
      writeTar([{ name, bytes: new Uint8Array(size) }]).slice(0, -1024);
    const tar = (...parts: Uint8Array[]): string =>
      said(new Uint8Array(Buffer.concat([...parts, new Uint8Array(1024)])));
    const two = [entry('a'), entry('b')];
    /** Its own length, in digits, is part of a record. */
    const record = (keyword: string): string => {
      const rest = ` ${keyword}=1\n`;
      return (
        [1, 2]
          .map((digits) => `${rest.length + digits}${rest}`)
          .find((text) => Number.parseInt(text, 10) === text.length) ?? ''
      );
    };
    // What is said of one entry is said of no other.
    expect(tar(pax('10 path=a\n', 'x'), ...two)).toBe('');
    expect(tar(pax('10 path=a\n', 'g'), ...two)).toBe('EBADMSG: an extended header calls b otherwise: a');
    expect(tar(pax('10 path=b\n', 'g'), pax('10 path=a\n', 'x'), ...two)).toBe('');
    expect(tar(pax('10 size=1\n', 'g'), ...two)).toBe('');
    expect(tar(pax('10 size=2\n', 'x'), ...two)).toBe('EBADMSG: an extended header gives a another size');
    for (const harmless of [
      'mtime',
      'atime',
      'uid',
      'gname',
      'comment',
      'charset',
      'hdrcharset',
      'SCHILY.x',
      'LIBARCHIVE.x',
    ])
      expect(tar(pax(record(harmless), 'x'), ...two), harmless).toBe('');
    expect(tar(pax('13 linkpath=\n', 'x'), ...two)).toBe(
      "EBADMSG: an extended header of the tar has 'linkpath'",
    );
    expect(tar(pax('9 mtime=12\n', 'x'), ...two)).toBe('EBADMSG: an extended header of the tar is damaged');
    expect(tar(pax('5 =1\n', 'x'), ...two)).toBe('EBADMSG: an extended header of the tar is damaged');
    expect(tar(pax('11 mtime=1\n11 uid=123\n', 'x'), ...two)).toBe('');
  });
});

describe('a bundle in the kernel', () => {
  const file = readBundle(bundleOf('v1', ['p1_core', 'p1_vmlinux', 'p1_mid'], { replace: true }), elf);

  it('keeps the files of members for modules, and gives all back when it goes', async () => {
    const { core } = await Core.boot();
    const used = core.slab.used();
    const bundle = new Bundle(core, file);
    expect(bundle.patch.name).toBe('v1');
    expect(bundle.patch.replace).toBe(true);
    expect(bundle.members.map(({ blob }) => blob !== 0n)).toEqual([true, false, true]);
    const [first, , third] = bundle.members;
    expect(bundle.bytesOf(first)).toEqual(file.members[0].bytes);
    const sizes = [first.size, third.size];
    expect(bundle.blobBytes()).toBe(sizes[0] + sizes[1]);
    first.module = {} as never;
    expect(bundle.blobBytes(true)).toBe(sizes[1]);
    expect(bundle.loadOrder().map(({ place }) => place)).toEqual([1, 0, 2]);
    expect(bundle.memberFor('klpbundle_mid')).toBe(third);
    expect(bundle.memberFor('klpbundle_top')).toBeUndefined();
    bundle.free();
    expect(core.slab.used()).toBe(used);
  });

  it('is not there where memory is short, and leaves none of it taken', async () => {
    const { core } = await Core.boot();
    const used = core.slab.used();
    const tryAlloc = core.slab.tryAlloc.bind(core.slab);
    for (const owner of ['klp_bundle', 'blob klpbundle_p1_core.ko', 'blob klpbundle_p1_mid.ko']) {
      core.slab.tryAlloc = (size, of) => (of === owner ? 0n : tryAlloc(size, of));
      expect(why(() => new Bundle(core, file))).toMatch(
        new RegExp(`^ENOMEM: no memory for ${owner} \\(\\d+ bytes\\)$`),
      );
      expect(core.slab.used()).toBe(used);
    }
  });

  it('has its live members in their order, whatever the order in which they come', async () => {
    const { core } = await Core.boot();
    const bundle = new Bundle(core, file);
    const [a, b, c] = bundle.members;
    expect(bundle.noteLinked(b)).toBeUndefined();
    expect(bundle.noteLinked(c)).toBeUndefined();
    expect(bundle.noteLinked(a)).toBe(b);
    expect(bundle.noteLinked(b)).toBe(c);
    bundle.noteUnlinked(b);
    bundle.noteUnlinked(b);
    expect(bundle.noteLinked(a)).toBe(c);
  });

  it('says to user space whose turn it is', async () => {
    const { core } = await Core.boot();
    const [older, newer] = [new Bundle(core, file), new Bundle(core, { ...file, name: 'v2' })];
    const both = [older, newer];
    const [spec] = file.members;
    const ask = (module: string, given = spec.bytes, object = 'klpbundle_core') =>
      why(() => placeOf(both, object, module, given));
    expect(placeOf(both, 'klpbundle_core', spec.module, spec.bytes).bundle).toBe(older);
    expect(placeText({ bundle: newer, member: newer.members[0] })).toBe(
      "member 'klpbundle_p1_core' of bundle 'v2'",
    );
    expect(ask('other')).toBe(
      "EINVAL: 'other' is no member of an enabled bundle for 'klpbundle_core', which is paused",
    );
    expect(ask(spec.module, spec.bytes, 'klpbundle_top')).toMatch(/^EINVAL: .*for 'klpbundle_top'/);
    expect(ask(spec.module, bytes('another'))).toBe(
      "EBADMSG: the file of member 'klpbundle_p1_core' of bundle 'v1' is not the one of the bundle",
    );
    expect(firstMissing(both, 'klpbundle_core')).toMatchObject({ bundle: older });
    older.members[0].module = {} as never;
    expect(placeOf(both, 'klpbundle_core', spec.module, spec.bytes).bundle).toBe(newer);
    expect(firstMissing(both, 'klpbundle_core')).toMatchObject({ bundle: newer });
    newer.members[0].module = {} as never;
    expect(firstMissing(both, 'klpbundle_core')).toBeUndefined();
    older.members[0].module = undefined;
    Object.assign(older.members[0], { spec: { ...spec, module: 'first' } });
    newer.members[0].module = undefined;
    expect(ask(spec.module)).toBe(
      "EAGAIN: member 'first' of bundle 'v1' comes before member 'klpbundle_p1_core' of bundle 'v2'",
    );
  });
});
