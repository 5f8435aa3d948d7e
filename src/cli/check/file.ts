// `klpemu check` for one object.
//
// Invariant: whatever the file holds, the result is a report; nothing is thrown for it.

import type { OrcFormat } from '../../arch/orc.ts';
import { X86_64 } from '../../arch/x86_64/x86_64.ts';
import { formatBorneOut } from '../../check/borne_out.ts';
import { CheckGuest } from '../../check/check_guest.ts';
import { ObjectChecker } from '../../check/check_object.ts';
import { tableBytes } from '../../check/frame_tables.ts';
import type { ObjectCheck, Unwinder } from '../../check/verdicts.ts';
import type { ElfObject } from '../../elf/elf_object.ts';
import { severalSections } from '../../elf/several_sections.ts';
import { EngineError } from '../../guest/engine.ts';
import { readOrcAs } from '../../objtool/orc_format.ts';
import { type KnownFormat, orcFormatOf, possibleOrcFormats } from '../../objtool/orc_format_of.ts';
import { parseKernelObject } from '../../objtool/vmlinux.ts';
import { errorMessage } from '../exit.ts';
import { kernelCache } from '../kernel_input.ts';
import { readObject } from '../object_files.ts';
import { printError } from '../terminal.ts';

const { orc: ORC } = X86_64.code;

export interface CheckJob {
  readonly path: string;
  readonly unwinder: Unwinder;
  /** It is one of several that are compared. */
  readonly compared?: boolean;
  readonly into?: boolean;
  /** How the object's table is to be read. */
  readonly format?: OrcFormat;
}

export interface CheckReport {
  readonly file: string;
  readonly ms: number;
  /** Where several are compared: whose answers, and bytes of the tables that they come from. */
  readonly unwinder?: Unwinder;
  readonly tableBytes?: number;
  /** The object has no table for it. */
  readonly missing?: boolean;
  readonly error?: { readonly code: string; readonly message: string };
  readonly check?: ObjectCheck;
  /** How the object's table was read. */
  readonly format?: KnownFormat;
  /** Tables that the object has several of, and which the kernel reads. */
  readonly several?: readonly string[];
}

/** Wrong places of a verdict that a comparison has of an object: enough to count them by why. */
const MOST_COMPARED = 5000;

let guest: CheckGuest | undefined;

export function checkFile({ path, unwinder, compared, into = false, format: wanted }: CheckJob): CheckReport {
  const started = performance.now();
  const ms = (): number => Math.round(performance.now() - started);
  const whose = compared ? { unwinder } : {};
  let used = false;
  try {
    const elf = parseKernelObject(readObject(path), path, X86_64, kernelCache());
    const bytes = tableBytes(elf, unwinder);
    if (compared && bytes === undefined) return { file: path, ms: ms(), ...whose, missing: true };
    const hasTable = elf.lastSection('.orc_unwind') && elf.lastSection('.orc_unwind_ip');
    if (unwinder === 'orc' && !hasTable) throw elf.error('no .orc_unwind table to check');
    guest ??= new CheckGuest();
    used = true;
    const format = unwinder === 'orc' ? formatOf(guest, elf, wanted) : undefined;
    const own = format?.format ?? wanted;
    const orc = format?.by === 'execution' ? readOrcAs(elf, ORC, format.format) : undefined;
    const checker = new ObjectChecker(guest, elf, {
      unwinder,
      into,
      ...(compared ? { timed: true, listed: MOST_COMPARED } : {}),
      ...(orc ? { orc } : {}),
      ...(own ? { format: own } : {}),
    });
    const check = checker.check();
    checker.release();
    if (check.functions.length === 0) throw elf.error('no function to check');
    const several = severalSections(elf);
    return {
      file: path,
      ms: ms(),
      ...whose,
      ...(compared ? { tableBytes: bytes ?? 0 } : {}),
      check,
      ...(format ? { format } : {}),
      ...(several.length > 0 ? { several } : {}),
    };
  } catch (error) {
    if (error instanceof EngineError) throw error;
    // What a broken object left in the machine is not for the next one.
    if (used) closeGuest();
    const { code } = error as NodeJS.ErrnoException;
    const message = errorMessage(error as Error);
    const known = typeof code === 'string';
    if (!known && process.env.KLPEMU_DEBUG) printError(`${(error as Error).stack}\n`);
    const text = known ? message : `internal error: ${message}`;
    const full = text.includes(path) ? text : `${path}: ${text}`;
    return { file: path, ms: ms(), ...whose, error: { code: known ? code : 'EINTERNAL', message: full } };
  }
}

/** What nothing else tells is what execution bears out; else, the entries have to. @throws ElfError */
function formatOf(guest: CheckGuest, elf: ElfObject, wanted: OrcFormat | undefined): KnownFormat | undefined {
  const formats = wanted === undefined ? possibleOrcFormats(elf, ORC) : [];
  return formatBorneOut(guest, elf, ORC, formats) ?? orcFormatOf(elf, ORC, wanted);
}

function closeGuest(): void {
  guest?.close();
  guest = undefined;
}
