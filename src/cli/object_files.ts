// Which object files the arguments of a command mean, and their bytes, unpacked.
//
// Invariant: an argument that means nothing is an error; a file that cannot be read is one only when it is read.

import { readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, join, relative, sep } from 'node:path';
import { UNPACKED_MAX, unpack } from '../elf/unpack.ts';
import { UsageError } from './exit.ts';

export interface ObjectFile {
  readonly path: string;
  /** Where it goes under an output folder: below the folder or pattern that it was found by, unpacked. */
  readonly name: string;
  readonly size: number;
}

const OBJECT = /\.(ko|o)(\.(xz|zst|gz))?$/;
const PACKED = /\.(xz|zst|gz)$/;
const PATTERN = /[*?[]/;

/** Files, folders (with all below them) and patterns (`*`, `?`, `[a-z]`, `**`). @throws UsageError */
export function findObjects(args: readonly string[]): ObjectFile[] {
  const found = new Map<string, ObjectFile>();
  for (const arg of args) {
    const paths = expand(arg);
    if (paths.length === 0) throw new UsageError(`${arg}: no object files (.ko or .o) there`);
    for (const { path, root } of paths) {
      const name = (root === '' ? basename(path) : relative(root, path)).replace(PACKED, '');
      if (!found.has(path)) found.set(path, { path, name, size: sizeOf(path) });
    }
  }
  return [...found.values()];
}

interface Found {
  readonly path: string;
  readonly root: string;
}

function expand(arg: string): Found[] {
  const stat = statSync(arg, { throwIfNoEntry: false });
  if (stat?.isDirectory()) return walk(arg).map((path) => ({ path, root: arg }));
  if (stat) return [{ path: arg, root: '' }];
  if (!PATTERN.test(arg)) throw new UsageError(`${arg}: no such file`);
  const parts = arg.split(sep);
  const fixed = parts.slice(
    0,
    parts.findIndex((part) => PATTERN.test(part)),
  );
  const root = fixed.length === 0 ? '.' : fixed.join(sep) || sep;
  const matches = patternOf(arg);
  const isFolder = statSync(root, { throwIfNoEntry: false })?.isDirectory() === true;
  const paths = isFolder ? walk(root).map((path) => (fixed.length === 0 ? relative('.', path) : path)) : [];
  return paths.filter((path) => matches.test(path)).map((path) => ({ path, root }));
}

function walk(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => OBJECT.test(entry.name) && (entry.isFile() || entry.isSymbolicLink()))
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .sort();
}

const SPECIAL: Readonly<Record<string, string>> = {
  '**/': '(?:.*/)?',
  '**': '.*',
  '*': '[^/]*',
  '?': '[^/]',
};

function patternOf(pattern: string): RegExp {
  const source = pattern.replace(/\*\*\/|\*\*|\*|\?|\[!?[^\]]*\]|[^*?[]/g, (part) => {
    if (part.startsWith('[') && part.length > 1) return part.replace(/^\[!/, '[^').replace(/\\/g, '\\\\');
    return SPECIAL[part] ?? part.replace(/[\\^$.|+(){}[\]]/g, '\\$&');
  });
  try {
    return new RegExp(`^${source}$`);
  } catch {
    throw new UsageError(`${pattern}: not a pattern`);
  }
}

const sizeOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0;

/** The bytes of an object file, unpacked. @throws UsageError, ElfError with the file's name in the message */
export function readObject(path: string): Uint8Array {
  if (sizeOf(path) > UNPACKED_MAX) throw new UsageError(`${path}: larger than ${UNPACKED_MAX >> 20} MiB`);
  return unpack(readFileSync(path), path);
}
