// `klpemu orc` for one object: its table made, compared and written.
//
// Invariant: whatever the file holds, the result is a report; nothing is thrown for it.

import { closeSync, mkdirSync, openSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import type { OrcFormat } from '../../arch/orc.ts';
import { X86_64 } from '../../arch/x86_64/x86_64.ts';
import { type ElfObject, parseElf } from '../../elf/elf_object.ts';
import { severalSections } from '../../elf/several_sections.ts';
import { type Agreement, diffOrc } from '../../objtool/diff.ts';
import { inputFromElf } from '../../objtool/elf_input.ts';
import { withEntryCode } from '../../objtool/entry_code.ts';
import { dumpOrc } from '../../objtool/orc_dump.ts';
import { encodeOrc, readOrcAs } from '../../objtool/orc_format.ts';
import {
  type KnownFormat,
  orcFormatOf,
  orcFormatToWrite,
  possibleOrcFormats,
  readOrc,
} from '../../objtool/orc_format_of.ts';
import { createOrc, type OrcResult } from '../../objtool/orc_gen.ts';
import type { OrcRows } from '../../objtool/orc_rows.ts';
import { writeOrc } from '../../objtool/orc_write.ts';
import { type UndecodedPlace, undecodedPlaces } from '../../objtool/undecoded.ts';
import { createSettledOrc, type SettledOrc } from '../../objtool/unsure_arms.ts';
import { parseKernelObject, wasKernel } from '../../objtool/vmlinux.ts';
import { errorMessage } from '../exit.ts';
import { kernelCache } from '../kernel_input.ts';
import { readObject } from '../object_files.ts';
import { printError } from '../terminal.ts';
import { writeWhole } from '../write_whole.ts';

const { orc: ORC } = X86_64.code;

export interface OrcJob {
  readonly path: string;
  /** Where to write the copy with the tables. */
  readonly output?: string;
  readonly diff: boolean;
  readonly dump: boolean;
  readonly format?: OrcFormat;
}

export interface OrcReport {
  readonly file: string;
  readonly error?: { readonly code: string; readonly message: string };
  /** How the object's table was read, or how ours was written. */
  readonly format?: KnownFormat;
  readonly functions?: number;
  readonly instructions?: number;
  readonly entries?: number;
  /** Text that no entry was made for: it is no instruction. */
  readonly undecoded?: readonly UndecodedPlace[];
  readonly warnings?: readonly string[];
  readonly output?: string;
  /** With the object's own table, where it has one. */
  readonly agreement?: Agreement;
  readonly dump?: readonly string[];
}

export async function orcObject(job: OrcJob): Promise<OrcReport> {
  const file = job.path;
  try {
    return await makeReport(job);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const message = errorMessage(error as Error);
    const known = typeof code === 'string';
    // Without a code it is a mistake in klpemu itself; the other objects are not to suffer from it.
    if (!known && process.env.KLPEMU_DEBUG) printError(`${(error as Error).stack}\n`);
    const text = known ? message : `internal error: ${message}`;
    return { file, error: { code: known ? code : 'EINTERNAL', message: withFile(file, text) } };
  }
}

const withFile = (file: string, text: string): string => (text.includes(file) ? text : `${file}: ${text}`);

async function makeReport(job: OrcJob): Promise<OrcReport> {
  // A copy of a vmlinux would be no kernel: its table can be made and compared only.
  const bytes = readObject(job.path);
  const elf =
    job.output === undefined
      ? parseKernelObject(bytes, job.path, X86_64, kernelCache())
      : parseElf(bytes, job.path, X86_64.elf);
  const { own, format } = formatsOf(elf, job, await byExecution(elf, job));
  const isKernel = wasKernel(elf);
  const table = job.diff || isKernel ? ownTable(elf, own) : undefined;
  const theirs = job.diff ? table : undefined;
  const input = inputFromElf(elf, X86_64.code, own?.format);
  const { result, arms } =
    isKernel && table
      ? { result: createOrc(withEntryCode(input, table)) }
      : createSettledOrc(input, () => table ?? ownTable(elf, own));
  const agreement = theirs && (await compare(elf, result, theirs, own?.format));
  if (job.output !== undefined) save(job.path, job.output, written(elf, result.rows, format, arms));
  const undecoded = undecodedPlaces(result.code);
  const report = {
    file: job.path,
    ...(format ? { format } : {}),
    ...counts(result),
    ...(undecoded.length > 0 ? { undecoded } : {}),
    warnings: [...result.warnings, ...armsText(arms), ...unread(elf)],
    ...(job.output === undefined ? {} : { output: job.output }),
    ...(agreement ? { agreement } : {}),
    ...(job.dump ? { dump: dumpOrc(elf, result.rows, ORC) } : {}),
  };
  result.code.release();
  return report;
}

/** What is to be said of annotations that two times meant differently. */
function armsText(arms: SettledOrc['arms']): string[] {
  if (arms === undefined) return [];
  if (arms !== 'in doubt') return [`alternatives are left out ${arms}`];
  return [`${IN_DOUBT}: the entries are those of the latter`];
}

const IN_DOUBT =
  'nothing tells whether alternatives are left out as in 6.13 and 6.14, or as since 6.15 (execution cannot: either is true of the form it follows)';

function unread(elf: ElfObject): string[] {
  const several = severalSections(elf);
  return several.length === 0
    ? []
    : [`several sections of one name, of which the kernel reads: ${several.join(', ')}`];
}

/** What nothing else tells is what execution bears out; undefined where it need not be asked, or has no answer. */
async function byExecution(elf: ElfObject, { format: wanted }: OrcJob): Promise<KnownFormat | undefined> {
  const formats = wanted === undefined ? possibleOrcFormats(elf, ORC) : [];
  if (formats.length < 2) return undefined;
  const { bearOut, dismissJudge } = await import('./judge.ts');
  try {
    return bearOut(elf, ORC, formats);
  } catch (error) {
    // Without an engine, or in text that it cannot hold, the entries have to tell.
    if (process.env.KLPEMU_DEBUG) printError(`${(error as Error).stack}\n`);
    dismissJudge();
    return undefined;
  }
}

function ownTable(elf: ElfObject, own: KnownFormat | undefined): OrcRows | undefined {
  return own?.by === 'execution' ? readOrcAs(elf, ORC, own.format) : readOrc(elf, ORC, own?.format);
}

/** Of the object's own table, and of the one that is reported or written. */
function formatsOf(
  elf: ElfObject,
  { format: wanted, diff }: OrcJob,
  executed: KnownFormat | undefined,
): { readonly own: KnownFormat | undefined; readonly format: KnownFormat | undefined } {
  if (wanted === undefined || diff) {
    const own = executed ?? orcFormatOf(elf, ORC, wanted);
    return { own, format: own };
  }
  return { own: ownFormat(elf, wanted), format: orcFormatToWrite(elf, ORC, wanted) };
}

/** Of a table that is not read, or not there, for what else hangs on it: hints, and the kernel's rules. */
function ownFormat(elf: ElfObject, wanted: OrcFormat): KnownFormat | undefined {
  try {
    return orcFormatOf(elf, ORC) ?? orcFormatOf(elf, ORC, wanted);
  } catch {
    return orcFormatOf(elf, ORC, wanted);
  }
}

function written(
  elf: ElfObject,
  rows: OrcRows,
  known: KnownFormat | undefined,
  arms: SettledOrc['arms'],
): Uint8Array[] {
  if (arms === 'in doubt') throw elf.error(`${IN_DOUBT}: no table is written`);
  const { format, or } = known ?? {};
  if (format === undefined) {
    throw elf.error(
      `nothing tells which ORC format to write: --format does (${[...ORC.formats.keys()].join(', ')})`,
    );
  }
  if (or && Buffer.compare(encodeOrc(rows, ORC, format), encodeOrc(rows, ORC, or)) !== 0) {
    throw elf.error(`nothing tells whether to write the ORC format of ${format} or ${or}: --format does`);
  }
  return writeOrc(elf, rows, format, X86_64.code);
}

/** Execution is asked only where there is something to decide. */
async function compare(
  elf: ElfObject,
  result: OrcResult,
  theirs: OrcRows,
  format: OrcFormat | undefined,
): Promise<Agreement> {
  const several = elf.sectionsNamed('.orc_unwind').length > 1;
  const agreement = diffOrc(result, theirs, undefined, several);
  if (agreement.differences.length === 0) return agreement;
  const { dismissJudge, judgeOf } = await import('./judge.ts');
  try {
    return diffOrc(result, theirs, judgeOf(elf, result, theirs, format), several);
  } catch (error) {
    // Without an engine, or in text that it cannot hold, differences stay unproved.
    if (process.env.KLPEMU_DEBUG) printError(`${(error as Error).stack}\n`);
    dismissJudge();
    const why = `was not possible: ${(error as Error).message}`;
    return diffOrc(result, theirs, () => why, several);
  }
}

/** Of the text that has entries. */
function counts({ code, rows }: OrcResult): { functions: number; instructions: number; entries: number } {
  const { sections, symbols } = code.input;
  const hasEntries = (index: number): boolean => sections[index].text && !sections[index].replacement;
  let instructions = 0;
  sections.forEach((_, i) => {
    if (hasEntries(i)) instructions += code.endOf[i] - code.firstOf[i];
  });
  const functions = code.funcs.filter((f) => hasEntries(symbols.section[f])).length;
  return { functions, instructions, entries: rows.count };
}

class SameFileError extends Error {
  override readonly name = 'SameFileError';
  readonly code = 'EEXIST';
}

/** @throws SameFileError, Error of the system */
function save(from: string, to: string, pieces: readonly Uint8Array[]): void {
  const [source, target] = [statSync(from), statSync(to, { throwIfNoEntry: false })];
  if (target && source.ino === target.ino && source.dev === target.dev) {
    throw new SameFileError(`${to}: would be written over the object it is made from`);
  }
  mkdirSync(dirname(to), { recursive: true });
  const file = openSync(to, 'w');
  try {
    for (const piece of pieces) writeWhole(file, piece);
  } finally {
    closeSync(file);
  }
}
