// Execution as the judge between two ORC tables of one object: the check of src/check, with either table.

import type { OrcFormat, OrcPort } from '../../arch/orc.ts';
import { formatBorneOut } from '../../check/borne_out.ts';
import { CheckGuest } from '../../check/check_guest.ts';
import { ObjectChecker } from '../../check/check_object.ts';
import { whereaboutsText } from '../../check/saved_registers.ts';
import { FP_NAME } from '../../check/target.ts';
import type { ProofAt, Truth } from '../../check/verdicts.ts';
import type { ElfObject } from '../../elf/elf_object.ts';
import { type Judge, NOT_REACHED, type ProofVerdict } from '../../objtool/diff.ts';
import type { KnownFormat } from '../../objtool/orc_format_of.ts';
import type { OrcResult } from '../../objtool/orc_gen.ts';
import type { OrcRows } from '../../objtool/orc_rows.ts';

/** The first in a function takes its exploration, twice. */
const MOST_PROOFS = 2000;
const TOO_MANY = `was asked about ${MOST_PROOFS} places before this one`;

/** One judge after the other: a guest is large. */
let guest: CheckGuest | undefined;

/** @throws EngineError where there is none to execute with */
export function judgeOf(
  elf: ElfObject,
  { rows: ours, code }: OrcResult,
  theirs: OrcRows,
  format: OrcFormat | undefined,
): Judge {
  guest ??= new CheckGuest();
  const judges = [ours, theirs].map(
    (orc) =>
      new ObjectChecker(guest as CheckGuest, elf, {
        unwinder: 'orc',
        orc,
        code,
        ...(format ? { format } : {}),
      }),
  );
  let left = MOST_PROOFS;
  return (section, offset) => {
    if (left-- <= 0) return TOO_MANY;
    const [first, second] = judges.map((judge) => judge.proveAt(section, offset));
    if (!first || !second) return NOT_REACHED;
    return { offset, truth: truthText(first.truth), ours: verdictOf(first), theirs: verdictOf(second) };
  };
}

/** Which reading of the object's table execution bears out. @throws EngineError where there is none to execute with */
export function bearOut(
  elf: ElfObject,
  orc: OrcPort,
  formats: readonly OrcFormat[],
): KnownFormat | undefined {
  guest ??= new CheckGuest();
  return formatBorneOut(guest, elf, orc, formats);
}

/** What a broken object left in the machine is not for the next one. */
export function dismissJudge(): void {
  guest?.close();
  guest = undefined;
}

function verdictOf({ verdict, answer }: ProofAt): ProofVerdict {
  if (verdict === 'right') return 'right';
  return answer.prevSp === undefined && verdict === 'wrong, declared unreliable' ? 'no answer' : 'wrong';
}

function truthText({ prevSp, prevFp, hasNoCaller }: Truth): string {
  if (hasNoCaller) return 'it is the last frame of its stack';
  const fp =
    typeof prevFp === 'number'
      ? `lies at sp+${prevFp}`
      : prevFp === 'register'
        ? `is in ${FP_NAME}`
        : `is ${whereaboutsText(prevFp)}`;
  return `the caller's sp is sp+${prevSp}, its ${FP_NAME} ${fp}`;
}
