// A set of livepatches as both machines try them: each alone, with the modules that it is for before, behind and without it,
// and then all of them on top of each other.

import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { ElfError } from '../../src/elf/error.ts';
import type { KernelDescription } from '../../src/kernel/description.ts';
import { readPatch, VetError } from '../../src/vet/patch_file.ts';
import { ScriptUsageError } from '../errors.ts';

const SUFFIX = '.ko';
const LIVEPATCH = '/sys/kernel/livepatch';

/** One of the set, as far as operations speak of it. */
export interface PatchOfSet {
  /** As modprobe finds it. */
  readonly file: string;
  /** As it is called when it is loaded. */
  readonly name: string;
  /** Modules that it is for. */
  readonly targets: readonly string[];
}

/** @throws ScriptUsageError for a file that cannot be read, or is no livepatch */
export function readPatches(files: readonly string[], kernel: KernelDescription): PatchOfSet[] {
  return files.map((path) => {
    if (!path.endsWith(SUFFIX)) throw new ScriptUsageError(`${path}: not a ${SUFFIX} file`);
    try {
      const { name, objects, unread } = readPatch(path, new Uint8Array(readFileSync(path)), X86_64, kernel);
      if (unread !== undefined)
        throw new ScriptUsageError(`${path}: what it patches cannot be read: ${unread}`);
      const targets = objects.flatMap(({ module }) => (module === undefined ? [] : [module]));
      return { file: basename(path, SUFFIX), name, targets };
    } catch (error) {
      if (error instanceof ScriptUsageError) throw error;
      if (error instanceof VetError || error instanceof ElfError) throw new ScriptUsageError(error.message);
      throw new ScriptUsageError(`${path}: ${(error as Error).message}`);
    }
  });
}

/**
 * What both machines get: the set, and the other modules.
 * @param folder is made anew
 * @returns names of all of them, as they are loaded
 */
export function folderOf(files: readonly string[], others: string, folder: string): ReadonlySet<string> {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const all = readdirSync(others).filter((name) => name.endsWith(SUFFIX));
  for (const name of all) cpSync(join(others, name), join(folder, name));
  for (const path of files) cpSync(path, join(folder, basename(path)));
  return new Set(readdirSync(folder).map((name) => basename(name, SUFFIX).replaceAll('-', '_')));
}

/** Each alone, and where there are several all of them together. */
export function operationsOf(patches: readonly PatchOfSet[]): string[] {
  const alone = patches.flatMap((patch) => [
    ...comesAndGoes(patch, []),
    ...(patch.targets.length > 0 ? comesAndGoes(patch, patch.targets) : []),
  ]);
  return patches.length > 1 ? [...alone, ...together(patches)] : alone;
}

const enabledFunctions = 'cat /sys/kernel/tracing/enabled_functions';
const load = ({ file }: PatchOfSet): string => `modprobe ${file}`;
const disable = ({ name }: PatchOfSet): string => `echo 0 > ${LIVEPATCH}/${name}/enabled`;
const unload = ({ name }: PatchOfSet): string => `rmmod ${name}`;

/** @param before modules that are there before it; otherwise they come while it is in force, go, and come again */
function comesAndGoes(patch: PatchOfSet, before: readonly string[]): string[] {
  const { targets } = patch;
  const later = before.length > 0 ? [] : targets;
  return [
    ...before.map((target) => `modprobe ${target}`),
    load(patch),
    ...looks(patch),
    ...later.flatMap((target) => [
      `modprobe ${target}`,
      ...looks(patch),
      `rmmod ${target}`,
      ...looks(patch),
      `modprobe ${target}`,
    ]),
    ...looks(patch),
    disable(patch),
    `ls -l ${LIVEPATCH}`,
    enabledFunctions,
    unload(patch),
    ...[...targets].reverse().map((target) => `rmmod ${target}`),
    'cat /proc/modules',
    enabledFunctions,
  ];
}

/** All that can be read of it. */
function looks({ name, targets }: PatchOfSet): string[] {
  const patch = `${LIVEPATCH}/${name}`;
  return [
    `ls -l ${patch}`,
    `cat ${patch}/enabled`,
    `cat ${patch}/transition`,
    ...['vmlinux', ...targets].flatMap((object) => [
      `ls -l ${patch}/${object}`,
      `cat ${patch}/${object}/patched`,
    ]),
    'cat /proc/modules',
    enabledFunctions,
  ];
}

/** In their order, each on top of those before it, and away from the last on. What one replaces is gone by then on both. */
function together(patches: readonly PatchOfSet[]): string[] {
  const targets = [...new Set(patches.flatMap((patch) => patch.targets))];
  return [
    ...targets.map((target) => `modprobe ${target}`),
    ...patches.flatMap((patch) => [load(patch), ...looks(patch)]),
    `ls -l ${LIVEPATCH}`,
    ...[...patches].reverse().flatMap((patch) => [disable(patch), unload(patch), `ls -l ${LIVEPATCH}`]),
    ...[...targets].reverse().map((target) => `rmmod ${target}`),
    'cat /proc/modules',
    enabledFunctions,
  ];
}
