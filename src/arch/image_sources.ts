// The text of a port's kernel: what is assembled to the image that a machine boots.

import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';

export interface ImageSource {
  /** From the package's root: what errors name, and the image is ordered by. */
  readonly path: string;
  readonly text: string;
}

/** @param root the package's folder on the host. @returns `.s` and `.inc` files, in any order */
export type ImageSources = (root: string) => readonly ImageSource[];

/** All assembler sources of a folder and of those in it. */
export function sourcesIn(root: string, folder: string): ImageSource[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((path) => /\.(s|inc)$/.test(path))
    .map((path) => join(root, folder, path))
    .map((path) => ({ path: relative(root, path), text: readFileSync(path, 'utf8') }));
}
