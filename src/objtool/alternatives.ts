// Code that may be replaced when the kernel runs, and other ways that no branch shows.
// Mirrors add_special_section_alts() and handle_group_alt() of tools/objtool/check.c.
//
// Invariant: an original and its replacement share one array of states by byte offset, so that
// the table holds for either.

import { type CodeTable, DESTINATION_KNOWN } from './decode.ts';
import type { CodeAlternative } from './input.ts';
import {
  type AltGroup,
  find,
  IN_ALT_GROUP,
  IN_ALTS,
  IN_IGNORE,
  IN_IGNORE_ALTS,
  IN_IGNORE_ARM,
  IN_LAST,
  INSN_JUMP,
  INSN_JUMP_CONDITIONAL,
  INSN_NOP,
  nextInSection,
  warn,
} from './insn.ts';

export function addAlternatives(code: CodeTable): void {
  const fillers = new Fillers(code);
  for (const alternative of code.input.alternatives) {
    const from = find(code, alternative.from);
    if (from === 0) {
      code.warnings.push(`special: can't find orig instruction at ${placeOf(code, alternative.from)}`);
      continue;
    }
    const to = wayOf(code, alternative, from, fillers);
    if (to === 0 || (alternative.kind === 'replace' && code.flags[to] & IN_IGNORE_ARM)) continue;
    if (alternative.skip) code.flags[from] |= IN_IGNORE_ARM;
    addWay(code, from, to);
  }
}

export function addWay(code: CodeTable, from: number, to: number): void {
  const ways = code.alts.get(from);
  if (ways) ways.push(to);
  else code.alts.set(from, [to]);
  code.flags[from] |= IN_ALTS;
}

/** No-ops behind the last instruction of a section, one for each short replacement. */
class Fillers {
  readonly #code: CodeTable;
  #next: number;

  constructor(code: CodeTable) {
    this.#code = code;
    this.#next = code.count;
  }

  add(section: number, offset: number, length: number): number {
    const code = this.#code;
    const insn = this.#next++;
    code.section[insn] = section;
    code.offset[insn] = offset;
    code.length[insn] = length;
    code.type[insn] = INSN_NOP;
    return insn;
  }
}

/** The instruction that the alternative leads to. */
function wayOf(code: CodeTable, alternative: CodeAlternative, from: number, fillers: Fillers): number {
  let to = 0;
  if (alternative.kind !== 'replace' || alternative.toLength > 0) {
    to = alternative.to ? find(code, alternative.to) : 0;
    if (to === 0) {
      const at = alternative.to ? placeOf(code, alternative.to) : 'nowhere';
      code.warnings.push(`special: can't find new instruction at ${at}`);
      return 0;
    }
  }
  if (alternative.kind === 'jumpLabel') return jumpLabel(code, from, to);
  return alternative.kind === 'replace' ? replacement(code, alternative, from, to, fillers) : to;
}

/** A jump label is a no-op or a jump, and may become the other. */
function jumpLabel(code: CodeTable, from: number, to: number): number {
  if (code.type[from] === INSN_NOP) return to;
  if (code.type[from] === INSN_JUMP) return nextInSection(code, from);
  warn(code, from, 'unsupported instruction at jump label');
  return 0;
}

function replacement(
  code: CodeTable,
  { fromLength, toLength, from: mark, to: toMark }: CodeAlternative,
  from: number,
  to: number,
  fillers: Fillers,
): number {
  if (fromLength === 0) {
    warn(code, from, 'empty alternative entry');
    return 0;
  }
  const original = originalOf(code, from, mark.offset, fromLength);
  if (!original) return 0;
  const { last } = original;
  const end = (toMark?.offset ?? 0) + toLength;
  const lastNew = to === 0 ? 0 : lastInsn(code, to, end);
  let filler = 0;
  if (toLength < fromLength) {
    filler = fillers.add(toMark?.section ?? mark.section, end, fromLength - toLength);
  }
  const group: AltGroup = { original, first: to || filler, last: filler || lastNew, cfi: original.cfi };
  if (to !== 0) {
    for (let insn = to; insn <= lastNew; insn++) {
      adopt(code, insn, from, group);
      leadOut(code, insn, end, nextInSection(code, last));
    }
  }
  if (filler !== 0) adopt(code, filler, from, group);
  return group.first;
}

/** What is replaced; several replacements of one length have it in common. */
function originalOf(code: CodeTable, from: number, offset: number, length: number): AltGroup | undefined {
  const known = code.input.sharedOriginals ? code.altGroups.get(from) : undefined;
  if (known && known.original === undefined && known.first === from) {
    if (known.cfi.length === length) return known;
    warn(code, from, `weirdly overlapping alternative! ${known.cfi.length} != ${length}`);
    return undefined;
  }
  const last = lastInsn(code, from, offset + length);
  const original: AltGroup = { original: undefined, first: from, last, cfi: new Int32Array(length) };
  for (let insn = from; insn <= last; insn++) join(code, insn, original);
  return original;
}

/** The last instruction that starts before `end`. */
function lastInsn(code: CodeTable, first: number, end: number): number {
  let last = first;
  while (!(code.flags[last] & IN_LAST) && code.offset[last + 1] < end) last++;
  return last;
}

function join(code: CodeTable, insn: number, group: AltGroup): void {
  code.altGroups.set(insn, group);
  code.flags[insn] |= IN_ALT_GROUP;
}

/** A replacement's instruction counts as one of the function that it may get into. */
function adopt(code: CodeTable, insn: number, from: number, group: AltGroup): void {
  join(code, insn, group);
  code.func[insn] = code.func[from];
  if (code.flags[from] & IN_IGNORE_ALTS) code.flags[insn] |= IN_IGNORE;
}

/** A jump to the end of the replacement goes to the end of the original. */
function leadOut(code: CodeTable, insn: number, end: number, after: number): void {
  const type = code.type[insn];
  if (type !== INSN_JUMP && type !== INSN_JUMP_CONDITIONAL) return;
  const displacement = code.jumpDest[insn] - code.offset[insn] - code.length[insn];
  if (displacement === 0 || code.jumpDest[insn] !== end || code.reloc[insn] === DESTINATION_KNOWN) return;
  if (after === 0) {
    warn(code, insn, "can't find alternative jump destination");
    return;
  }
  code.jumpDest[insn] = after;
  code.reloc[insn] = DESTINATION_KNOWN;
}

const placeOf = (code: CodeTable, { section, offset }: { section: number; offset: number }): string =>
  `${code.input.sections[section]?.name ?? '?'}+0x${offset.toString(16)}`;
