// Annotation 6 of an object that does not name its kernel: 6.13 and 6.14 left out all alternatives of an instruction by
// it, later kernels leave out one of them. The two readings make other entries; an object that has a table of its own
// shows which of them its objtool knew.
//
// Invariant: a reading is told by nothing but that table, and by all of it where the two readings differ. Execution does
// not tell: each is true of the form of the code that it follows.

import { comparedText, compareOrc } from './compare.ts';
import type { ObjtoolInput } from './input.ts';
import { createOrc, type OrcResult } from './orc_gen.ts';
import { isSameRows, type OrcRows } from './orc_rows.ts';

export interface SettledOrc {
  readonly result: OrcResult;
  /** How the annotations were read, where that makes a difference. */
  readonly arms?: 'as in 6.13, by its table' | 'as since 6.15, by its table' | 'in doubt';
}

/** @param own the object's own table, which is asked for only where there is something to decide. @throws CfiLimitError */
export function createSettledOrc(input: ObjtoolInput, own: () => OrcRows | undefined): SettledOrc {
  const { unsureArms = [], ignoredAlternatives } = input;
  const later = createOrc(input);
  if (unsureArms.length === 0) return { result: later };
  const asBefore = {
    ...input,
    ignoredArms: [],
    ignoredAlternatives: [...ignoredAlternatives, ...unsureArms],
  };
  const earlier = createOrc(asBefore);
  const settled = isSameRows(earlier.rows, later.rows)
    ? { result: later }
    : byTable(input, later, earlier, own());
  (settled.result === later ? earlier : later).code.release();
  return settled;
}

function byTable(
  input: ObjtoolInput,
  later: OrcResult,
  earlier: OrcResult,
  own: OrcRows | undefined,
): SettledOrc {
  const limits = comparedText(input);
  const between = compareOrc(earlier.rows, later.rows, limits);
  /** Whether a table says there what the object's does. */
  const fits = ({ rows }: OrcResult): boolean => {
    if (!own) return false;
    const differences = compareOrc(rows, own, limits);
    return between.every((a) =>
      differences.every((b) => b.section !== a.section || b.end <= a.start || b.start >= a.end),
    );
  };
  if (fits(later)) return { result: later, arms: 'as since 6.15, by its table' };
  if (fits(earlier)) return { result: earlier, arms: 'as in 6.13, by its table' };
  return { result: later, arms: 'in doubt' };
}
