// What `klpemu check` prints: a table of objects, wrong places with entry and truth side by side, and the sums.

import { whereaboutsText } from '../../check/saved_registers.ts';
import { FP_FIELD, SP_NAME } from '../../check/target.ts';
import {
  type FunctionReport,
  isAllLookedAt,
  type NotLookedAt,
  type ObjectCheck,
  type SavedRulesReport,
  type Truth,
  type UnwinderAnswer,
  type WrongPlace,
} from '../../check/verdicts.ts';
import { borneOutText } from '../borne_out_text.ts';
import { type FittedColumn, fittedTable } from '../fitted_table.ts';
import { counted, percent, whole } from '../numbers.ts';
import { resourcesUsed } from '../resources.ts';
import { type Colors, colorsFor, print, printError, printFolded, tableColumns } from '../terminal.ts';
import type { CheckReport } from './file.ts';
import { frameMapLines, ruleLines } from './frames.ts';

interface CheckReportOptions {
  readonly functions?: boolean;
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly ms: number;
}

const COUNTS = ['instructions', 'reached', 'right', 'unreliable', 'wrong', 'skipped'] as const;
type CheckSums = Record<(typeof COUNTS)[number] | 'objects' | 'failed' | 'partly' | 'functions', number>;

/** Wrong places printed for an object. */
const MAX_PLACES = 20;

function sumsOf(reports: readonly CheckReport[]): CheckSums {
  const sums = { objects: reports.length, failed: 0, partly: 0, functions: 0 } as CheckSums;
  for (const name of COUNTS) sums[name] = 0;
  for (const { check, error } of reports) {
    if (error) sums.failed++;
    if (!check) continue;
    sums.functions += check.functions.length;
    if (!isAllLookedAt(check.notLookedAt)) sums.partly++;
    for (const name of COUNTS) sums[name] += check[name];
  }
  return sums;
}

/** Nothing in it is a reason to look. */
const isGood = ({ wrong, right, notLookedAt }: ObjectCheck): boolean =>
  wrong === 0 && right > 0 && isAllLookedAt(notLookedAt);

export function printChecks(reports: readonly CheckReport[], options: CheckReportOptions): void {
  const sums = sumsOf(reports);
  if (options.json) {
    const summary = { ...sums, ms: Math.round(options.ms), ...resourcesUsed() };
    print(`${JSON.stringify({ objects: reports, summary }, named)}\n`);
    return;
  }
  const colors = colorsFor(process.stdout);
  const lines: string[] = [];
  const shown = options.quiet ? reports.filter(({ check }) => check && !isGood(check)) : reports;
  if (shown.some(({ check }) => check)) lines.push(objectTable(shown));
  for (const report of shown) lines.push(...details(report, options, colors));
  const maps = reports.flatMap(({ check }) => check?.frames ?? []);
  if (maps.length > 0) lines.push(...ruleLines(maps, colors));
  lines.push(...sumLines(sums, options.ms, colors));
  printFolded(`${lines.join('\n')}\n`);
  for (const { error } of reports) if (error) printError(`klpemu: ${error.message}\n`);
}

/** A replacer for JSON: what is said of the frame pointer has its name on the port. */
export function named(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || !('prevFp' in value || 'prevFpRight' in value))
    return value;
  const name = `prev${FP_FIELD[0].toUpperCase()}${FP_FIELD.slice(1)}`;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key.replace(/^prevFp/, name), one]));
}

const COLUMNS: readonly FittedColumn[] = [
  { head: 'object' },
  { head: 'functions', leaveOut: 1 },
  { head: 'insns' },
  { head: 'covered' },
  { head: 'right', leaveOut: 2 },
  { head: 'wrong,\nunreliable' },
  { head: 'wrong,\nreliable' },
];

export function objectTable(reports: readonly Pick<CheckReport, 'file' | 'check'>[]): string {
  const rows = reports.flatMap(({ file, check }) => {
    if (!check) return [];
    const { functions, instructions, reached, right, unreliable, wrong } = check;
    const counts = [right, unreliable, wrong].map(whole);
    const name = file.split('/').pop() || file;
    return [[name, whole(functions.length), whole(instructions), percent(reached, instructions), ...counts]];
  });
  return fittedTable(COLUMNS, rows, tableColumns());
}

function details(
  { file, check, format, several }: CheckReport,
  options: CheckReportOptions,
  colors: Colors,
): string[] {
  if (!check) return [];
  const lines: string[] = [];
  if (format?.by === 'entries') lines.push(`  entries of the ${format.format} format, told by themselves`);
  if (format?.borneOut) lines.push(`  entries of the ${format.format} format, ${borneOutText(format)}`);
  if (several) lines.push(`  several sections of one name, of which the kernel reads: ${several.join(', ')}`);
  if (options.functions) lines.push(...functionLines(check));
  if (check.frames) lines.push(...frameMapLines(check.frames, options.functions === true, colors));
  else lines.push(...wrongPlaces(check, colors));
  const reasons = Object.entries(check.notCovered).map(([why, n]) => `${whole(n)} ${why}`);
  const skips = Object.entries(check.skippedBecause).map(([why, n]) => `${whole(n)} ${why}`);
  if (options.functions && skips.length > 0) lines.push(`  stepped over: ${skips.join(', ')}`);
  if (reasons.length > 0) lines.push(`  not covered: ${reasons.join(', ')}`);
  if (check.savedRules) lines.push(savedRulesLine(check.savedRules));
  if (check.notLookedAt) lines.push(...notLookedAtLines(check.notLookedAt));
  return lines.length === 0 ? [] : [colors.bold(file), ...lines];
}

/** Of what the caller's walk needs none of: it is no verdict. */
function savedRulesLine({ instructions, right, below, wrong, places }: SavedRulesReport): string {
  const parts = [
    `${whole(right)} of ${whole(instructions)} instructions right`,
    ...(below > 0 ? [`${whole(below)} below the stack pointer`] : []),
    ...(wrong > 0 ? [`${whole(wrong)} wrong`] : []),
  ];
  const [first] = places;
  const example = first ? `, as ${first.place} (${first.registers.join(', ')})` : '';
  return `  other registers that are given back, by the table: ${parts.join(', ')}${example}`;
}

/** A line for each kind; of many places the first. */
function notLookedAtLines({ bytes, places, instructions, functions, falls }: NotLookedAt): string[] {
  const some = (names: readonly string[]): string =>
    names.length <= MAX_NAMED
      ? names.join(', ')
      : `${names.slice(0, MAX_NAMED).join(', ')} and ${whole(names.length - MAX_NAMED)} more`;
  const lines: string[] = [];
  const add = (what: string, names: readonly string[]): number =>
    lines.push(`  not looked at: ${what}${names.length > 0 ? `: ${some(names)}` : ''}`);
  if (bytes > 0)
    add(
      `${counted(bytes, 'byte')} that are no instruction`,
      places.map((at) => `${at.place} to +${at.bytes}`),
    );
  if (instructions > 0) add(`${counted(instructions, 'instruction')} that no path could be followed to`, []);
  if (functions.length > 0) add(`${counted(functions.length, 'function')} without an instruction`, functions);
  if (falls.length > 0) {
    add(
      'what follows where a function runs out of itself',
      falls.map(({ name, into }) => `${name} into ${into}`),
    );
  }
  return lines;
}

const MAX_NAMED = 8;

function wrongPlaces(check: ObjectCheck, colors: Colors): string[] {
  const lines: string[] = [];
  const grave = check.places.filter(({ verdict }) => verdict === 'wrong, declared reliable');
  const places = grave.length > 0 ? grave : check.places;
  for (const place of places.slice(0, MAX_PLACES)) lines.push(...placeLines(place, colors));
  const all = check.wrong + check.unreliable;
  const more = all - Math.min(places.length, MAX_PLACES);
  if (more > 0) lines.push(`  and ${whole(more)} more wrong places`);
  return lines;
}

/** Of the functions with wrong or unreached instructions. */
export function functionLines(check: ObjectCheck): string[] {
  return check.functions.filter(isWorthALine).map(functionLine);
}

const isWorthALine = (f: FunctionReport): boolean => f.wrong + f.unreliable > 0 || f.reached < f.instructions;

function functionLine(f: FunctionReport): string {
  const covered = percent(f.reached, f.instructions);
  const wrong = `${whole(f.unreliable)} wrong and unreliable, ${whole(f.wrong)} wrong and reliable`;
  return `  ${f.name}: ${whole(f.instructions)} instructions, ${covered} covered, ${wrong}`;
}

function placeLines(place: WrongPlace, colors: Colors): string[] {
  const { stand, verdict, disassembly, entry, truth, answer } = place;
  return [
    `  ${colors.bold(place.place)} (${place.section}+0x${place.offset.toString(16)}): ${colors.red(verdict)}, ${stand}`,
    `    ${disassembly}`,
    `    entry  ${entry}: ${answerText(answer)}`,
    `    truth  ${truthText(truth)}`,
  ];
}

const plus = (n: number): string => (n < 0 ? `${n}` : `+${n}`);

function answerText({ prevSp, prevFpRight, returnAddressRight }: UnwinderAnswer): string {
  if (prevSp === undefined) return 'no frame';
  const address = returnAddressRight ? 'right' : 'wrong';
  const fp = prevFpRight ? 'right' : 'wrong';
  return `prev sp = ${SP_NAME}${plus(prevSp)}, return address ${address}, prev ${FP_FIELD} ${fp}`;
}

function truthText({ returnAddress, prevSp, prevFp, saved, hasNoCaller }: Truth): string {
  if (hasNoCaller) return 'the last frame of its stack: there is no caller';
  const at = whereaboutsText;
  // Those that are where a caller left them say nothing.
  const others = Object.entries(saved).filter(([, found]) => found !== 'register');
  const more = others.map(([name, found]) => `, ${name} ${at(found)}`).join('');
  const address = `return address at ${SP_NAME}${plus(returnAddress)}`;
  return `prev sp = ${SP_NAME}${plus(prevSp)}, ${address}, prev ${FP_FIELD} ${at(prevFp)}${more}`;
}

function sumLines(sums: CheckSums, ms: number, colors: Colors): string[] {
  const speed = ms > 0 ? Math.round(sums.reached / (ms / 1000)) : 0;
  const wrong = `${whole(sums.wrong)} wrong and declared reliable`;
  const lines = [
    `${counted(sums.objects, 'object')}: ${counted(sums.functions, 'function')}, ${whole(sums.reached)} of ` +
      `${counted(sums.instructions, 'instruction')} covered (${percent(sums.reached, sums.instructions)}) in ` +
      `${(ms / 1000).toFixed(1)} s, ${whole(speed)} a second`,
    `${whole(sums.right)} right, ${whole(sums.unreliable)} wrong and declared unreliable, ` +
      (sums.wrong > 0 ? colors.red(wrong) : colors.green(wrong)),
  ];
  if (sums.partly > 0) lines.push(`${counted(sums.partly, 'object')} not looked at as a whole`);
  if (sums.failed > 0) lines.push(`${counted(sums.failed, 'object')} could not be used`);
  return lines;
}
