// The modules below /lib/modules/RELEASE: which files there are, what each needs of others, modules.dep, modules.klp.
// Mirrors depmod and the look-ups of libkmod.
//
// modprobe goes by modules.dep alone, as the real one: a module that depmod has not seen is not found.

import { BundleError } from '../bundle/error.ts';
import { type BundleFile, readBundle } from '../bundle/format.ts';
import { type ElfObject, parseElf } from '../elf/elf_object.ts';
import { ElfError } from '../elf/error.ts';
import type { ElfMachine } from '../elf/machine.ts';
import { MODULE_FILE, moduleName, unpack } from '../elf/unpack.ts';
import { latin1Bytes } from '../fs/context.ts';
import type { Machine } from '../machine/machine.ts';
import {
  directDependencies,
  loadOrder,
  type ModuleFile,
  moduleFile,
  symbolOwners,
} from '../module/dependencies.ts';
import { modulesKlp, type PatchModule, patchModulesOf } from './modules_klp.ts';

/** Where module files come from. */
type ModuleSource = () => Iterable<{ readonly name: string; readonly bytes: Uint8Array }>;

interface DepmodReport {
  readonly modules: number;
  /** What depmod would print. */
  readonly warnings: readonly string[];
}

export class ModuleStore {
  /** /lib/modules/RELEASE */
  readonly dir: string;
  readonly #machine: Machine;
  readonly #elf: ElfMachine;
  /** By path: reading an object again is only needed when its bytes are others. */
  readonly #read = new Map<string, { bytes: Uint8Array; file: ModuleFile | undefined }>();
  #parsed: { bytes: Uint8Array; deps: Map<string, string[]> } | undefined;

  readonly #source: ModuleSource | undefined;

  constructor(machine: Machine, source?: ModuleSource) {
    this.#machine = machine;
    this.#elf = machine.inspect.core.arch.elf;
    this.dir = `/lib/modules/${machine.inspect.core.kernel.release}`;
    this.#source = source;
  }

  /** Puts a module file there; depmod() finds it. */
  add(file: string, bytes: Uint8Array): void {
    this.#machine.addFile(`${this.dir}/extra/${file}`, bytes);
  }

  /** Writes modules.dep, modules.symbols and modules.klp for all modules and bundles below the directory. */
  depmod(): DepmodReport {
    for (const { name, bytes } of this.#source?.() ?? []) this.add(name, bytes);
    const warnings: string[] = [];
    const files = this.#files(warnings);
    const owners = symbolOwners(files);
    const direct = (file: ModuleFile) => directDependencies(file, owners);
    let dep = '';
    for (const file of files) {
      const order = loadOrder(file, direct, warnings);
      dep += `${this.#relative(file.path)}:${order.map((d) => ` ${this.#relative(d.path)}`).join('')}\n`;
    }
    let symbols = '# Aliases for symbols, used by symbol_request().\n';
    for (const [symbol, file] of owners) symbols += `alias symbol:${symbol} ${file.name}\n`;
    this.#machine.addFile(this.#depPath, latin1Bytes(dep));
    this.#machine.addFile(`${this.dir}/modules.symbols`, latin1Bytes(symbols));
    this.#machine.addFile(this.#klpPath, latin1Bytes(this.#modulesKlp(files, warnings)));
    return { modules: files.length, warnings };
  }

  /** Path of a bundle that is kept beside the modules. */
  bundlePath(name: string): string {
    return `${this.dir}/extra/${name.replace(/\.klpb$/, '')}.klpb`;
  }

  /** Names of those bundles. */
  bundleNames(): string[] {
    const names = this.#machine.inspect.fs.list(`${this.dir}/extra`) ?? [];
    return names.filter((name) => name.endsWith('.klpb')).map((name) => name.slice(0, -'.klpb'.length));
  }

  /** Paths of a module and of what it needs, in the order in which they must be loaded; undefined: not found. */
  resolve(name: string): string[] | undefined {
    const found = this.#deps().get(moduleName(name));
    return found && [...found].reverse();
  }

  /** Patch modules that modules.klp has for a target, with absolute paths. */
  patchModules(target: string): PatchModule[] {
    const bytes = this.#machine.inspect.fs.ramfs.lookup(this.#klpPath)?.bytes;
    const text = bytes ? Buffer.from(bytes).toString('latin1') : '';
    return patchModulesOf(text, moduleName(target)).map(({ bundle, path }) => ({
      bundle,
      path: this.#absolute(path),
    }));
  }

  /** Names that modprobe knows. */
  names(): string[] {
    return [...this.#deps().keys()].sort();
  }

  /** The object at a path of the guest, or of a module by its name; undefined where there is none. */
  object(nameOrPath: string): { path: string; elf: ElfObject } | undefined {
    const path =
      nameOrPath.includes('/') || MODULE_FILE.test(nameOrPath)
        ? nameOrPath
        : this.resolve(nameOrPath)?.at(-1);
    const bytes = path === undefined ? undefined : this.#machine.inspect.fs.ramfs.lookup(path)?.bytes;
    return path === undefined || !bytes
      ? undefined
      : { path, elf: parseElf(unpack(bytes, path), path, this.#elf) };
  }

  #modulesKlp(files: readonly ModuleFile[], warnings: string[]): string {
    const bytesOf = (path: string): Uint8Array =>
      this.#machine.inspect.fs.ramfs.lookup(path)?.bytes ?? new Uint8Array();
    const bundles = new Map<string, BundleFile>();
    for (const path of this.#paths(this.dir, /\.klpb$/)) {
      try {
        bundles.set(path, readBundle(bytesOf(path), this.#elf, this.#machine.inspect.core.kernel));
      } catch (error) {
        if (!(error instanceof BundleError)) throw error;
        warnings.push(`depmod: ERROR: ${path}: ${error.message}`);
      }
    }
    const candidates = files.map(({ name, path }) => ({
      name,
      path: this.#relative(path),
      bytes: unpack(bytesOf(path), path),
    }));
    return modulesKlp(bundles, candidates, (line) => warnings.push(line));
  }

  get #klpPath(): string {
    return `${this.dir}/modules.klp`;
  }

  get #depPath(): string {
    return `${this.dir}/modules.dep`;
  }

  #relative(path: string): string {
    return path.startsWith(`${this.dir}/`) ? path.slice(this.dir.length + 1) : path;
  }

  #absolute(path: string): string {
    return path.startsWith('/') ? path : `${this.dir}/${path}`;
  }

  /** modules.dep: by module name, its own path and then those of its dependencies. */
  #deps(): Map<string, string[]> {
    const bytes = this.#machine.inspect.fs.ramfs.lookup(this.#depPath)?.bytes;
    if (!bytes) return new Map();
    if (this.#parsed?.bytes === bytes) return this.#parsed.deps;
    const deps = new Map<string, string[]>();
    for (const line of Buffer.from(bytes).toString('latin1').split('\n')) {
      const [own, rest] = line.split(':', 2);
      if (rest === undefined) continue;
      const paths = [own, ...rest.split(' ').filter(Boolean)];
      deps.set(
        moduleName(own),
        paths.map((path) => this.#absolute(path)),
      );
    }
    this.#parsed = { bytes, deps };
    return deps;
  }

  #files(warnings: string[]): ModuleFile[] {
    const files: ModuleFile[] = [];
    for (const path of this.#paths(this.dir, MODULE_FILE)) {
      const { ramfs } = this.#machine.inspect.fs;
      const bytes = ramfs.lookup(path)?.bytes;
      if (!bytes) continue;
      let known = this.#read.get(path);
      if (known?.bytes !== bytes) {
        known = { bytes, file: readModule(path, bytes, this.#elf, warnings) };
        this.#read.set(path, known);
      }
      if (known.file) files.push(known.file);
    }
    return files;
  }

  *#paths(dir: string, ending: RegExp): IterableIterator<string> {
    const { fs } = this.#machine.inspect;
    for (const name of fs.list(dir) ?? []) {
      const path = `${dir}/${name}`;
      if (fs.stat(path)?.kind === 'directory') yield* this.#paths(path, ending);
      else if (ending.test(name)) yield path;
    }
  }
}

function readModule(
  path: string,
  bytes: Uint8Array,
  machine: ElfMachine,
  warnings: string[],
): ModuleFile | undefined {
  try {
    return moduleFile(path, parseElf(unpack(bytes, path), path, machine));
  } catch (error) {
    const why = error instanceof ElfError ? error.withoutFile : (error as Error).message;
    warnings.push(`depmod: ERROR: failed to load symbols from ${path}: ${why}`);
    return undefined;
  }
}
