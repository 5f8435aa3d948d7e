// The tree of /sys/kernel/debug: files by their paths. Mirrors fs/debugfs.

import type { HostFile } from './host_files.ts';

export class DebugFs {
  readonly #files = new Map<string, HostFile>();

  /** @param path below the mount point: `dynamic_debug/control`. */
  add(path: string, file: HostFile): void {
    this.#files.set(path, file);
  }

  remove(path: string): void {
    this.#files.delete(path);
  }

  lookup(path: string): HostFile | undefined {
    return this.#files.get(path);
  }

  isDirectory(path: string): boolean {
    return path === '' || this.names(path).length > 0;
  }

  /** Names in a directory. */
  names(path: string): string[] {
    return namesBelow(this.#files.keys(), path === '' ? '' : `${path}/`);
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
