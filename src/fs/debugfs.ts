// The tree of /sys/kernel/debug: files and directories by their paths. Mirrors fs/debugfs/inode.c; what modules
// make in it comes through debugfs_create.ts.

import type { Addr } from '../guest/addr.ts';
import type { HostFile, OpeningHostFile } from './host_files.ts';

/** A file with file_operations of a module's. */
interface GuestFile {
  /** Permission bits. */
  readonly mode: number;
  /** A struct file that is not open yet. @param flags of open() */
  open(flags: number): Addr;
}

type DebugFile = HostFile | OpeningHostFile | GuestFile;

export class DebugFs {
  readonly #files = new Map<string, DebugFile>();
  /** Those that were made as such; what has files in it is one as well. */
  readonly #directories = new Set<string>();

  /** @param path below the mount point: `dynamic_debug/control`. */
  add(path: string, file: DebugFile): void {
    this.#files.set(path, file);
  }

  addDirectory(path: string): void {
    this.#directories.add(path);
  }

  /** A file, or a directory and all below it. */
  remove(path: string): void {
    const gone = (name: string): boolean => name === path || name.startsWith(`${path}/`);
    for (const name of this.#files.keys()) if (gone(name)) this.#files.delete(name);
    for (const name of this.#directories) if (gone(name)) this.#directories.delete(name);
  }

  lookup(path: string): DebugFile | undefined {
    return this.#files.get(path);
  }

  isDirectory(path: string): boolean {
    return path === '' || this.#directories.has(path) || this.names(path).length > 0;
  }

  exists(path: string): boolean {
    return this.#files.has(path) || this.isDirectory(path);
  }

  /** Names in a directory. */
  names(path: string): string[] {
    return namesBelow([...this.#files.keys(), ...this.#directories], path === '' ? '' : `${path}/`);
  }
}

/** The next names of the paths that start with a prefix, each once. */
export function namesBelow(paths: Iterable<string>, prefix: string): string[] {
  const names = new Set<string>();
  for (const path of paths) {
    if (path.startsWith(prefix) && path.length > prefix.length)
      names.add(path.slice(prefix.length).split('/')[0]);
  }
  return [...names].sort();
}
