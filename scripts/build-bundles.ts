// Makes the bundles of fixtures/bundles of the modules in fixtures/modules, by `klpemu bundle create`; then damages
// copies of them, each in one way. The same modules give the same bytes.
//
//   node scripts/run.mjs build-bundles [FOLDER]
//
// The .klpb files are checked in: only who changes a module or the format needs this.

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { readTar, writeTar } from '../src/bundle/tar.ts';
import { build } from './build.ts';
import { ROOT } from './root.ts';
import { CommandError } from './setup/run.ts';

const ko = (name: string): string => join(ROOT, 'fixtures/modules', `klpbundle_${name}.ko`);

interface Source {
  readonly version: number;
  readonly members: readonly string[];
  readonly targets: readonly string[];
  /** Those that are given in another version than what is loaded. */
  readonly otherTargets?: readonly string[];
  readonly replace?: boolean;
}

interface Entry {
  name: string;
  bytes: Uint8Array;
}

/** Of bundle.json, what is changed here. */
interface Manifest {
  members: Record<string, string>[];
}

/** What `klpemu bundle create` makes: those of bad_*.klpb are bundles like any other, until they are enabled. */
const CREATED: Readonly<Record<string, Source>> = {
  v1: { version: 1, members: ['p1_vmlinux', 'p1_core', 'p1_mid', 'p1_top'], targets: ['core', 'mid', 'top'] },
  v2: { version: 2, members: ['p2_core', 'p2_top', 'p1_asker'], targets: ['core', 'top'], replace: true },
  bad_reloc: { version: 1, members: ['p1_vmlinux', 'p1_core', 'bad_reloc'], targets: [] },
  bad_callback: { version: 1, members: ['p1_vmlinux', 'p1_core', 'bad_callback'], targets: [] },
  bad_target: { version: 1, members: ['p1_core', 'p1_top'], targets: ['core'], otherTargets: ['top'] },
};

/** Each damages the entries of v1.klpb: [{ name, bytes }], the manifest first. */
const DAMAGED: Readonly<Record<string, (entries: Entry[]) => void>> = {
  bad_hash: (entries) => {
    change(entries, ({ members }) => {
      members[1].sha256 = '0'.repeat(64);
    });
  },
  bad_member: (entries) => entries[2].bytes.fill(0xcc, 0x40, 0x44),
  bad_field: (entries) => {
    change(entries, ({ members }) => {
      members[2].colour = 'blue';
    });
  },
  bad_two_members: (entries) => {
    entries.push({ name: 'klpbundle_p2_core.ko', bytes: bytesOf('p2_core') });
    change(entries, ({ members }) => members.push(member('p2_core', 'klpbundle_core', members[1])));
  },
  bad_two_objects: (entries) => {
    entries.push({ name: 'klpbundle_c1.ko', bytes: bytesOf('c1') });
    change(entries, ({ members }) => members.push(member('c1', 'klpbundle_asker', members[1])));
  },
};

const bytesOf = (name: string): Uint8Array => new Uint8Array(readFileSync(ko(name)));

function member(name: string, object: string, { vermagic }: Record<string, string>): Record<string, string> {
  const sha256 = createHash('sha256').update(bytesOf(name)).digest('hex');
  return { file: `klpbundle_${name}.ko`, object, vermagic, sha256 };
}

function change(entries: Entry[], edit: (manifest: Manifest) => void): void {
  const manifest = JSON.parse(Buffer.from(entries[0].bytes).toString()) as Manifest;
  edit(manifest);
  entries[0].bytes = new Uint8Array(Buffer.from(`${JSON.stringify(manifest, null, 2)}\n`));
}

export async function main([folder]: readonly string[]): Promise<void> {
  const out = resolve(folder ?? join(ROOT, 'fixtures/bundles'));
  await build();
  mkdirSync(out, { recursive: true });
  const file = (name: string): string => join(out, `${name}.klpb`);
  for (const [name, source] of Object.entries(CREATED)) create(file(name), name, source);
  const good = new Uint8Array(readFileSync(file('v1')));
  for (const [name, damage] of Object.entries(DAMAGED)) {
    const entries = readTar(good).map((entry) => ({ ...entry }));
    damage(entries);
    writeFileSync(file(name), writeTar(entries));
  }
  writeFileSync(file('bad_tar'), good.subarray(0, 14_000));
}

function create(
  file: string,
  name: string,
  { version, members, targets, otherTargets = [], replace = false }: Source,
): void {
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
function otherVersion(name: string, dir: string): string {
  const text = readFileSync(ko(name)).toString('latin1');
  const path = join(dir, `klpbundle_${name}.ko`);
  writeFileSync(path, text.replace(/(?<=srcversion=)\w{23}/, '0123456789ABCDEF0123456'), 'latin1');
  return path;
}

function klpemu(...args: string[]): void {
  const { status, stderr } = spawnSync(process.execPath, [join(ROOT, 'dist/cli/main.js'), ...args], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new CommandError(`klpemu ${args.slice(0, 2).join(' ')}: ${stderr}`);
}
