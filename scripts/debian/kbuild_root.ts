// A folder with the headers of one of Debian's kernels and the tools that its modules are built with, those of its own
// release: compiler, binutils, make and what kbuild starts. Modules built in it are as that kernel's packages would have them.
//
// Nothing is installed, and no root is needed: packages are unpacked, and what runs in the folder runs in namespaces of its own.

import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { ScriptError, UnavailableError } from '../errors.ts';
import { capture } from '../setup/run.ts';
import type { DebianArchive } from './archive.ts';

/** What kbuild starts beside the compiler. */
const TOOLS =
  'base-files bash binutils coreutils dash findutils gawk grep libc-bin make mawk sed xz-utils'.split(' ');
const HEADERS = '/usr/src';
const WORK = '/build';

export class KbuildRoot {
  /** Of the headers' package. */
  readonly version: string;
  readonly #root: string;

  private constructor(root: string, version: string) {
    this.#root = root;
    this.version = version;
  }

  /** @param release as uname -r says it, of which the archive has the headers. `into` holds nothing yet */
  static unpack(archive: DebianArchive, release: string, into: string): KbuildRoot {
    const headers = `linux-headers-${release}`;
    const needs = archive.dependencies(headers);
    const common = needs.filter((name) => /^linux-headers-/.test(name));
    const kbuild = needs.filter((name) => /^linux-kbuild-/.test(name));
    if (kbuild.length === 0) throw new ScriptError(`${headers} of Debian names no linux-kbuild`);
    const deb = archive.unpack(headers, into);
    for (const name of common) archive.unpack(name, into);
    archive.unpackWhole([compilerOf(join(into, HEADERS, headers)), ...kbuild, ...TOOLS], into);
    const awk = join(into, 'usr/bin/awk');
    if (!existsSync(awk)) symlinkSync('mawk', awk);
    return new KbuildRoot(into, versionOf(deb));
  }

  /** Builds the modules of a folder, by its own Makefile, and takes them with their debug information stripped. */
  build(source: string, target: string, variables: readonly string[] = []): void {
    const work = join(this.#root, WORK);
    rmSync(work, { recursive: true, force: true });
    cpSync(source, work, { recursive: true });
    const [release] = readdirSync(join(this.#root, 'lib/modules'));
    const make = ['make', '-s', '-C', `/lib/modules/${release}/build`, `M=${WORK}`, ...variables, 'modules'];
    this.#run(make);
    const modules = readdirSync(work).filter((name) => name.endsWith('.ko'));
    if (modules.length === 0) throw new ScriptError(`kbuild of ${release} made no module of ${source}`);
    this.#run(['strip', '--strip-debug', ...modules.map((name) => join(WORK, name))]);
    rmSync(target, { recursive: true, force: true });
    mkdirSync(target, { recursive: true });
    for (const name of modules) cpSync(join(work, name), join(target, name));
    rmSync(work, { recursive: true });
  }

  #run(command: readonly string[]): void {
    const script =
      'mount --rbind /dev "$1/dev" && mount --rbind /proc "$1/proc" && root=$1 && shift && exec chroot "$root" "$@"';
    const path = 'PATH=/usr/sbin:/usr/bin:/sbin:/bin';
    // Who is root needs no namespace of users, and may be where there are none.
    const user = process.getuid?.() === 0 ? [] : ['--map-root-user'];
    const inside = ['env', '-i', path, 'LC_ALL=C', ...command];
    try {
      capture('unshare', ['--mount', ...user, 'true']);
    } catch (error) {
      throw new UnavailableError(`no namespaces can be made here: ${(error as Error).message}`);
    }
    capture('unshare', ['--mount', ...user, 'sh', '-c', script, 'sh', this.#root, ...inside]);
  }
}

/** The compiler's package: headers name the one that their kernel was built with. */
function compilerOf(headers: string): string {
  const variables = readFileSync(join(headers, '.kernelvariables'), 'utf8');
  const found = /gcc-\d+/.exec(variables)?.[0];
  if (!found) throw new ScriptError(`${headers}/.kernelvariables names no compiler`);
  return found;
}

/** NAME_VERSION_ARCHITECTURE.deb */
function versionOf(deb: string): string {
  return decodeURIComponent(deb.split('_')[1]);
}
