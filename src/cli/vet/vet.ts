// `klpemu vet`: the verdict on livepatches.

import { statSync } from 'node:fs';
import { join } from 'node:path';
import { X86_64 } from '../../arch/x86_64/x86_64.ts';
import { ElfError } from '../../elf/error.ts';
import { packageRoot } from '../../guest/package_root.ts';
import { ModuleLibrary } from '../../vet/module_library.ts';
import { VetError } from '../../vet/patch_file.ts';
import { Vet, type VetInput, type VetReport } from '../../vet/vet.ts';
import { EXIT, UsageError } from '../exit.ts';
import { readObject } from '../object_files.ts';
import { print, printError } from '../terminal.ts';
import { reportText } from './report.ts';

interface VetCommandOptions {
  readonly kernel?: string;
  readonly modules?: string;
  readonly replaces?: readonly string[];
  readonly params?: string;
  readonly vmlinuxOnly?: boolean;
  readonly json?: boolean;
}

export async function vetFiles(paths: readonly string[], options: VetCommandOptions): Promise<void> {
  const reports = await usable(() => reportsOf(paths, options));
  if (options.json) print(`${JSON.stringify({ vet: reports }, undefined, 2)}\n`);
  process.exitCode = exitCode(reports);
}

async function reportsOf(paths: readonly string[], options: VetCommandOptions): Promise<VetReport[]> {
  const { kernel = '', params = '', replaces = [], vmlinuxOnly = false, json = false } = options;
  const olds = replaces.map(inputOf);
  const inputs = paths.map(inputOf);
  const modules = new ModuleLibrary(X86_64.elf, options.modules ?? folderOf(kernel));
  const tell = progress(json);
  const vet = await Vet.of(X86_64, { kernel, modules, params, olds, vmlinuxOnly, tell });
  const reports: VetReport[] = [];
  const asks = [
    ...inputs.map((input) => () => vet.vet(input)),
    ...(inputs.length > 1 ? [() => vet.together(inputs)] : []),
  ];
  for (const ask of asks) {
    const report = await ask();
    tell('');
    reports.push(report);
    if (!json) print(reportText(report));
  }
  return reports;
}

/** Of an installed kernel its own modules; of the built-in one the fixtures. */
function folderOf(kernel: string): string | undefined {
  if (kernel === '') return join(packageRoot(), 'fixtures/modules');
  const own = ['/lib/modules', '/usr/lib/modules'].map((root) => join(root, kernel));
  return kernel.includes('/')
    ? undefined
    : own.find((folder) => statSync(folder, { throwIfNoEntry: false })?.isDirectory());
}

const inputOf = (path: string): VetInput => {
  if (!statSync(path, { throwIfNoEntry: false })?.isFile()) throw new UsageError(`${path}: no such file`);
  return { path, bytes: readObject(path) };
};

/** A line that is written over, where a person waits. */
function progress(json: boolean): (what: string) => void {
  if (json || !process.stderr.isTTY) return () => {};
  return (what) => printError(`\r\x1b[K${what === '' ? '' : `... ${what}`}`);
}

async function usable<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (error instanceof ElfError || error instanceof VetError) throw new UsageError(error.message);
    throw error;
  }
}

function exitCode(reports: readonly VetReport[]): number {
  if (reports.some(({ verdict }) => verdict === 'not good')) return EXIT.failed;
  return reports.every(({ verdict }) => verdict === 'good') ? EXIT.ok : EXIT.usage;
}
