// Which files of the host a scenario may name: a scenario is text of others, and what it names is read.
//
// Invariant: without --allow-files nothing is read that does not lie, with all symbolic links followed, below the
// scenario's folder or below `modules` or `bundles` beside it; and never what is no regular file, or has no end.

import { closeSync, openSync, readSync, realpathSync, statSync } from 'node:fs';
import { dirname, join, resolve, sep } from 'node:path';

export interface FileAccess {
  /** --allow-files: any regular file of the host. */
  readonly allowFiles?: boolean;
}

/** Folders beside the scenario's own from which it may take files: fixtures/scenarios has its modules there. */
const BESIDE = ['modules', 'bundles'];
/** Bytes of a file that is given to the guest, and of a scenario. */
export const HOST_FILE_MAX = 256 << 20;
const SCENARIO_MAX = 16 << 20;

type HostFile = { readonly path: string } | { readonly problem: string };

/** @param scenario path of the file that names it; `path` is relative to that. */
export function hostFile(scenario: string, path: string, { allowFiles = false }: FileAccess): HostFile {
  const folder = resolve(dirname(scenario));
  const file = resolve(folder, path);
  const outside = `${file} is not below ${folder}, nor in modules or bundles beside it: --allow-files lets a scenario name it`;
  if (!allowFiles && !isBelow(file, roots(folder))) return { problem: outside };
  const stat = statSync(file, { throwIfNoEntry: false });
  if (!stat) return { problem: `no such file: ${file}` };
  if (!stat.isFile()) return { problem: `${file} is no regular file` };
  if (stat.size > HOST_FILE_MAX) return { problem: `${file} is larger than ${HOST_FILE_MAX >> 20} MiB` };
  if (!allowFiles && !isBelow(realpathSync(file), roots(realpathSync(folder)))) {
    return { problem: `${file} leads to ${realpathSync(file)}, which is ${outside.slice(file.length + 4)}` };
  }
  return { path: file };
}

function roots(folder: string): string[] {
  return [folder, ...BESIDE.map((name) => join(dirname(folder), name))];
}

function isBelow(file: string, folders: readonly string[]): boolean {
  return folders.some((folder) => file.startsWith(folder.endsWith(sep) ? folder : `${folder}${sep}`));
}

export class FileTooLargeError extends Error {
  override readonly name = 'FileTooLargeError';
  readonly code = 'EFBIG';
}

/** The bytes of a scenario, which may come through a pipe. @throws FileTooLargeError, Error of the file system */
export function readScenarioBytes(file: string): Buffer {
  const fd = openSync(file, 'r');
  try {
    const chunks: Buffer[] = [];
    let size = 0;
    for (;;) {
      const chunk = Buffer.alloc(1 << 16);
      const count = readSync(fd, chunk);
      if (count === 0) return Buffer.concat(chunks);
      size += count;
      if (size > SCENARIO_MAX) throw new FileTooLargeError(`is larger than ${SCENARIO_MAX >> 20} MiB`);
      chunks.push(chunk.subarray(0, count));
    }
  } finally {
    closeSync(fd);
  }
}
