// The user space of the real machine: Debian 12's bash, coreutils, kmod and what they need, fetched and unpacked in
// .cache/oracle; nothing is installed. It is always Debian 12's: klpemu's shell has the words of those versions.

import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { withArchive } from '../debian/archive.ts';
import { oneAtATime } from '../setup/one_at_a_time.ts';
import { log } from '../setup/run.ts';
import type { CpioArchive } from './cpio.ts';

const PACKAGES = [
  'bash',
  'coreutils',
  'diffutils',
  'grep',
  'kmod',
  'mawk',
  'mount',
  'procps',
  'sed',
  'util-linux',
  'util-linux-extra',
  'libacl1',
  'libattr1',
  'libblkid1',
  'libc-bin',
  'libc6',
  'libgmp10',
  'liblzma5',
  'libmount1',
  'libpcre2-8-0',
  'libproc2-0',
  'libselinux1',
  'libsmartcols1',
  'libssl3',
  'libtinfo6',
  'libudev1',
  'libzstd1',
];
/** Programs that operations start, and those of init.sh. */
const PROGRAMS = (
  'bash cat chmod comm cp cut date dd depmod diff dmesg echo env expr false getconf grep head id insmod kill kmod ls lsmod mawk ' +
  'mkdir mkfifo modinfo modprobe mount mv rm rmmod sed seq sleep sort stat stty sysctl tail test timeout touch tr true umount ' +
  'uname uniq wc which [ basename dirname readlink tee tac mktemp paste'
).split(' ');
const LIBRARY = /(^|\/)(lib|lib64)\/(x86_64-linux-gnu\/)?[^/]+\.so[^/]*$/;
const PROGRAM = /(^|\/)s?bin\/([^/]+)$/;

/** Nothing else is needed there. */
function isNeeded(path: string, isDirectory: boolean): boolean {
  if (isDirectory) return /^(usr\/?)?(s?bin|lib|lib64)?(\/x86_64-linux-gnu)?$/.test(path);
  const program = PROGRAM.exec(path)?.[2];
  return program === undefined ? LIBRARY.test(path) : PROGRAMS.includes(program);
}

/** Of Debian 12 on; the packages still have both. */
const MERGED = ['bin', 'sbin', 'lib', 'lib64'];

/** The folder that it is unpacked in. */
export function fetchUserspace(cache: string): string {
  // Of another list of packages it would lack some.
  const digest = createHash('sha256').update(PACKAGES.join(' ')).digest('hex').slice(0, 12);
  const folder = join(cache, `userspace-${digest}`);
  if (!existsSync(folder))
    oneAtATime(`${folder}.lock`, () => {
      if (!existsSync(folder)) fetchTo(folder);
    });
  return folder;
}

/** Whole or not at all. */
function fetchTo(folder: string): void {
  log('fetching bash, coreutils and kmod of Debian 12');
  const part = `${folder}.part`;
  rmSync(part, { recursive: true, force: true });
  mkdirSync(part, { recursive: true });
  withArchive(['bookworm'], (archive) => {
    for (const name of PACKAGES) archive.unpack(name, part);
  });
  renameSync(part, folder);
}

export function addUserspace(archive: CpioArchive, folder: string): void {
  archive.tree(folder, '', (path, isDirectory) => !MERGED.includes(path) && isNeeded(path, isDirectory));
  for (const name of MERGED) {
    archive.link(name, `usr/${name}`);
    if (existsSync(join(folder, name))) archive.tree(join(folder, name), `usr/${name}`, isNeeded);
  }
  archive.link('usr/bin/sh', 'bash');
  archive.link('usr/bin/awk', 'mawk');
  archive.file('etc/passwd', 'root:x:0:0:root:/root:/bin/bash\n');
  archive.file('etc/group', 'root:x:0:\n');
  for (const name of ['proc', 'sys', 'dev', 'tmp', 'root']) archive.directory(name);
}
