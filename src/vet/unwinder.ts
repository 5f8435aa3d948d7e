// Is each new function sound? `klpemu check` of the patch's own code, and where its branches lead when it is loaded.

import { X86_64 } from '../arch/x86_64/x86_64.ts';
import type { CallGraph } from '../callgraph/graph.ts';
import { formatBorneOut } from '../check/borne_out.ts';
import { CheckGuest } from '../check/check_guest.ts';
import { ObjectChecker } from '../check/check_object.ts';
import { isAllLookedAt, type ObjectCheck } from '../check/verdicts.ts';
import { ElfError } from '../elf/error.ts';
import { readOrcAs } from '../objtool/orc_format.ts';
import { orcFormatOf, possibleOrcFormats } from '../objtool/orc_format_of.ts';
import type { Finding } from './finding.ts';
import type { PatchFile } from './patch_file.ts';

const { orc: ORC } = X86_64.code;
const MOST_LISTED = 10;

const finding = (weight: Finding['weight'], text: string, lines: readonly string[] = []): Finding => ({
  part: 'unwinder',
  weight,
  text,
  ...(lines.length > 0 ? { lines } : {}),
});

/** One for all files: it is of the size of the largest module. */
let guest: CheckGuest | undefined;

export function soundForUnwinder({ elf }: PatchFile): Finding[] {
  if (!elf.lastSection('.orc_unwind') || !elf.lastSection('.orc_unwind_ip'))
    return [
      finding('bad', 'it has no ORC tables: no stack with one of its functions on it can be relied upon'),
    ];
  guest ??= new CheckGuest();
  try {
    return verdicts(checked(guest, { elf }));
  } catch (error) {
    if (!(error instanceof ElfError)) throw error;
    return [finding('not seen', `its code cannot be checked: ${error.message}`)];
  }
}

/** @throws ElfError */
function checked(guest: CheckGuest, { elf }: Pick<PatchFile, 'elf'>): ObjectCheck {
  const known = formatBorneOut(guest, elf, ORC, possibleOrcFormats(elf, ORC)) ?? orcFormatOf(elf, ORC);
  const orc = known?.by === 'execution' ? readOrcAs(elf, ORC, known.format) : undefined;
  const checker = new ObjectChecker(guest, elf, {
    unwinder: 'orc',
    listed: MOST_LISTED,
    ...(orc ? { orc } : {}),
    ...(known ? { format: known.format } : {}),
  });
  const check = checker.check();
  checker.release();
  return check;
}

function verdicts(check: ObjectCheck): Finding[] {
  const { functions, instructions, reached, right, wrong, unreliable, notLookedAt } = check;
  const of = `of ${instructions} instructions in ${functions.length} functions`;
  const places = (verdict: string): string[] =>
    check.places
      .filter((place) => place.verdict === verdict)
      .map(({ place, entry, stand }) => `${place} (${stand}): ${entry}`);
  const findings: Finding[] = [];
  if (wrong > 0)
    findings.push(
      finding(
        'bad',
        `at ${wrong} ${of} a stack trace is wrong and called reliable`,
        places('wrong, declared reliable'),
      ),
    );
  if (unreliable > 0)
    findings.push(
      finding(
        'told',
        `at ${unreliable} ${of} a stack trace is unreliable, and a transition waits`,
        places('wrong, declared unreliable'),
      ),
    );
  if (!isAllLookedAt(notLookedAt)) findings.push(finding('not seen', `not all ${of} could be executed`));
  if (right === 0 && instructions > 0) findings.push(finding('bad', `not one ${of} has a right answer`));
  if (wrong === 0) findings.push(finding('good', `right at ${right} ${of}, ${reached} of them executed`));
  return findings;
}

/**
 * Branches that lead to no function: a relocation that is not right.
 * @param module the patch, as it is loaded
 * @param place what an address is called
 */
export function strays(graph: CallGraph, module: string, place: (address: number) => string): Finding[] {
  const lines = graph.strays(module).map(({ at, to }) => `${place(at)} goes to ${place(to)}`);
  if (lines.length === 0) return [];
  return [finding('bad', `${lines.length} of its branches lead to where no function begins`, lines)];
}
