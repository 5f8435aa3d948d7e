// Makes the bundles of fixtures/bundles of the modules in fixtures/modules, by `klpemu bundle create`; then damages
// copies of them, each in one way. The same modules give the same bytes.
//
//   node scripts/build-bundles.mjs [FOLDER]
//
// The .klpb files are checked in: only who changes a module or the format needs this.

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, loadSource } from './build.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const ko = (name) => join(root, 'fixtures/modules', `klpbundle_${name}.ko`);

/** What `klpemu bundle create` makes: those of bad_*.klpb are bundles like any other, until they are enabled. */
const CREATED = {
  v1: { version: 1, members: ['p1_vmlinux', 'p1_core', 'p1_mid', 'p1_top'], targets: ['core', 'mid', 'top'] },
  v2: { version: 2, members: ['p2_core', 'p2_top', 'p1_asker'], targets: ['core', 'top'], replace: true },
  bad_reloc: { version: 1, members: ['p1_vmlinux', 'p1_core', 'bad_reloc'], targets: [] },
  bad_callback: { version: 1, members: ['p1_vmlinux', 'p1_core', 'bad_callback'], targets: [] },
  bad_target: { version: 1, members: ['p1_core', 'p1_top'], targets: ['core'], otherTargets: ['top'] },
};

/** Each damages the entries of v1.klpb: [{ name, bytes }], the manifest first. */
const DAMAGED = {
  bad_hash: (entries) => change(entries, (manifest) => (manifest.members[1].sha256 = '0'.repeat(64))),
  bad_member: (entries) => entries[2].bytes.fill(0xcc, 0x40, 0x44),
  bad_field: (entries) => change(entries, (manifest) => (manifest.members[2].colour = 'blue')),
  bad_two_members: (entries) => {
    entries.push({ name: 'klpbundle_p2_core.ko', bytes: bytesOf('p2_core') });
    change(entries, ({ members }) => members.push(member('p2_core', 'klpbundle_core', members[1])));
  },
  bad_two_objects: (entries) => {
    entries.push({ name: 'klpbundle_c1.ko', bytes: bytesOf('c1') });
    change(entries, ({ members }) => members.push(member('c1', 'klpbundle_asker', members[1])));
  },
};

const bytesOf = (name) => new Uint8Array(readFileSync(ko(name)));

function member(name, object, { vermagic }) {
  const sha256 = createHash('sha256').update(bytesOf(name)).digest('hex');
  return { file: `klpbundle_${name}.ko`, object, vermagic, sha256 };
}

function change(entries, edit) {
  const manifest = JSON.parse(Buffer.from(entries[0].bytes).toString());
  edit(manifest);
  entries[0].bytes = new Uint8Array(Buffer.from(`${JSON.stringify(manifest, null, 2)}\n`));
}

async function main(out) {
  await build();
  const { readTar, writeTar } = await loadSource('src/bundle/tar.ts');
  mkdirSync(out, { recursive: true });
  const file = (name) => join(out, `${name}.klpb`);
  for (const [name, source] of Object.entries(CREATED)) create(file(name), name, source);
  const good = new Uint8Array(readFileSync(file('v1')));
  for (const [name, damage] of Object.entries(DAMAGED)) {
    const entries = readTar(good).map((entry) => ({ ...entry }));
    damage(entries);
    writeFileSync(file(name), writeTar(entries));
  }
  writeFileSync(file('bad_tar'), good.subarray(0, 14_000));
}

function create(file, name, { version, members, targets, otherTargets = [], replace = false }) {
  const work = mkdtempSync(join(tmpdir(), 'klpemu-bundles-'));
  try {
    const others = otherTargets.map((target) => otherVersion(target, work));
    const args = ['--name', `steps_${name}`, '--bundle-version', String(version)];
    for (const target of [...targets.map(ko), ...others]) args.push('--target', target);
    if (replace) args.push('--replace');
    klpemu('bundle', 'create', file, ...members.map(ko), ...args);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** The module as it would be had its sources been others: with another srcversion. */
function otherVersion(name, dir) {
  const text = readFileSync(ko(name)).toString('latin1');
  const path = join(dir, `klpbundle_${name}.ko`);
  writeFileSync(path, text.replace(/(?<=srcversion=)\w{23}/, '0123456789ABCDEF0123456'), 'latin1');
  return path;
}

function klpemu(...args) {
  const { status, stderr } = spawnSync(process.execPath, [join(root, 'dist/cli/main.js'), ...args], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`klpemu ${args.slice(0, 2).join(' ')}: ${stderr}`);
}

await main(resolve(process.argv[2] ?? join(root, 'fixtures/bundles')));
