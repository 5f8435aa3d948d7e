// What `klpemu orc` prints: a line an object, the differences, and the sums.

import { type ClassifiedDifference, DIFFERENCE_CLASSES, type DifferenceClass } from '../../objtool/diff.ts';
import type { KnownFormat } from '../../objtool/orc_format_of.ts';
import { bytesOf } from '../../objtool/undecoded.ts';
import { borneOutText } from '../borne_out_text.ts';
import { counted, whole } from '../numbers.ts';
import { resourcesUsed } from '../resources.ts';
import { type Colors, colorsFor, print, printError, toTerminal } from '../terminal.ts';
import type { OrcReport } from './object.ts';

interface ReportOptions {
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly diff?: boolean;
  readonly ms: number;
}

interface OrcSums {
  objects: number;
  failed: number;
  functions: number;
  instructions: number;
  entries: number;
  /** Objects that brought a table, and those whose table is ours. */
  compared: number;
  same: number;
  functionsCompared: number;
  functionsSame: number;
  instructionsCompared: number;
  instructionsSame: number;
  /** Functions by class of their differences. */
  classes: Record<DifferenceClass, number>;
}

function sumsOf(reports: readonly OrcReport[]): OrcSums {
  const sums: OrcSums = {
    objects: reports.length,
    failed: 0,
    functions: 0,
    instructions: 0,
    entries: 0,
    compared: 0,
    same: 0,
    functionsCompared: 0,
    functionsSame: 0,
    instructionsCompared: 0,
    instructionsSame: 0,
    classes: Object.fromEntries(DIFFERENCE_CLASSES.map((name) => [name, 0])) as Record<
      DifferenceClass,
      number
    >,
  };
  for (const report of reports) addTo(sums, report);
  return sums;
}

function addTo(sums: OrcSums, report: OrcReport): void {
  if (report.error) sums.failed++;
  sums.functions += report.functions ?? 0;
  sums.instructions += report.instructions ?? 0;
  sums.entries += report.entries ?? 0;
  const { agreement } = report;
  if (!agreement) return;
  sums.compared++;
  if (agreement.differences.length === 0) sums.same++;
  sums.functionsCompared += agreement.functions.total;
  sums.functionsSame += agreement.functions.same;
  sums.instructionsCompared += agreement.instructions.total;
  sums.instructionsSame += agreement.instructions.same;
  for (const [, differences] of byFunction(agreement.differences)) sums.classes[classOf(differences)]++;
}

/** The differences of each function, in order. */
function byFunction(differences: readonly ClassifiedDifference[]): Map<string, ClassifiedDifference[]> {
  const functions = new Map<string, ClassifiedDifference[]>();
  for (const difference of differences) {
    const name = difference.place.replace(/\+0x[0-9a-f]+$/, '');
    const list = functions.get(name);
    if (list) list.push(difference);
    else functions.set(name, [difference]);
  }
  return functions;
}

/** Of several classes the gravest for us. */
function classOf(differences: readonly ClassifiedDifference[]): DifferenceClass {
  for (const name of ['ours wrong', 'open', 'theirs wrong'] as const) {
    if (differences.some((d) => d.class === name)) return name;
  }
  return 'information no longer in the object';
}

export function printReports(reports: readonly OrcReport[], options: ReportOptions): void {
  if (options.json) {
    const summary = { ...sumsOf(reports), ms: Math.round(options.ms), ...resourcesUsed() };
    print(`${JSON.stringify({ objects: reports, summary })}\n`);
    return;
  }
  const colors = colorsFor(process.stdout);
  const lines: string[] = [];
  for (const report of reports) {
    // An entry of a dump is a line, however wide the terminal.
    lines.push(...(report.dump ?? toTerminal(objectLines(report, options, colors))));
  }
  if (reports.length > 1) lines.push('', ...toTerminal(sumLines(sumsOf(reports), options)));
  if (lines.length > 0) print(`${lines.join('\n')}\n`);
  for (const { error } of reports) if (error) printError(`klpemu: ${error.message}\n`);
}

function objectLines(report: OrcReport, { diff, quiet }: ReportOptions, colors: Colors): string[] {
  if (report.error) return [];
  const { agreement } = report;
  const differs = agreement !== undefined && agreement.differences.length > 0;
  // One entry a line, whatever the width: for diff and grep.
  if (quiet && !differs && (report.warnings ?? []).length + (report.undecoded ?? []).length === 0) return [];
  const counts =
    `${counted(report.functions ?? 0, 'function')}, ${counted(report.instructions ?? 0, 'instruction')}, ` +
    `${counted(report.entries ?? 0, 'entry')}${formatText(report.format)}`;
  const lines = [`${colors.bold(report.file)}: ${counts}`];
  if (report.output !== undefined) lines.push(`  written to ${report.output}`);
  const undecoded = report.undecoded ?? [];
  if (undecoded.length > 0) {
    const at = undecoded.slice(0, MAX_PLACES).map(({ place, bytes }) => `${place} to +${bytes}`);
    const more = undecoded.length > at.length ? ` and ${whole(undecoded.length - at.length)} more` : '';
    const bytes = bytesOf(undecoded);
    lines.push(`  not looked at: ${counted(bytes, 'byte')} that are no instruction: ${at.join(', ')}${more}`);
  }
  for (const warning of (report.warnings ?? []).slice(0, MAX_WARNINGS)) lines.push(`  warning: ${warning}`);
  if (diff) lines.push(...agreementLines(report, colors));
  return lines;
}

/** By whom it is told goes without saying where the object names it. */
function formatText(known: KnownFormat | undefined): string {
  if (!known) return '';
  const by =
    known.by === 'entries' ? ', told by its entries' : known.borneOut ? `, ${borneOutText(known)}` : '';
  return ` (${known.format} format${by})`;
}

const MAX_WARNINGS = 20;
const MAX_PLACES = 12;

function agreementLines({ agreement }: OrcReport, colors: Colors): string[] {
  if (!agreement) return ['  no table of its own to compare with'];
  const { functions, instructions, differences, omitted } = agreement;
  if (differences.length === 0) return [`  ${colors.green('the same')} as the table in the object`];
  const lines = [
    `  the same as the table in the object for ${whole(functions.same)} of ${counted(functions.total, 'function')}, ` +
      `${whole(instructions.same)} of ${counted(instructions.total, 'instruction')}`,
  ];
  for (const [name, list] of byFunction(differences)) lines.push(...functionLines(name, list, colors));
  if (omitted > 0) lines.push(`  and ${whole(omitted)} more places`);
  return lines;
}

function functionLines(name: string, list: readonly ClassifiedDifference[], colors: Colors): string[] {
  const name0 = classOf(list);
  const reasons = [...new Set(list.filter((d) => d.class === name0).map((d) => d.reason))];
  const lines = [`  ${colors.bold(name)}: ${colors.yellow(name0)} (${reasons.join('; ')})`];
  for (const { place, start, end, ours, theirs, proof } of list.slice(0, MAX_PLACES)) {
    const at = place.slice(name.length) || `+0x${start.toString(16)}`;
    lines.push(`    ${at} to +${end - start}: ours ${ours} | theirs ${theirs}`);
    lines.push(`      execution${proofText(proof, start)}`);
  }
  if (list.length > MAX_PLACES) lines.push(`    and ${list.length - MAX_PLACES} more places`);
  return lines;
}

function proofText(proof: ClassifiedDifference['proof'], start: number): string {
  if (typeof proof === 'string') return ` ${proof}`;
  const where = proof.offset === start ? '' : `, ${proof.offset - start} bytes further on`;
  return `${where}: ${proof.truth}; ours ${proof.ours}, theirs ${proof.theirs}`;
}

function sumLines(sums: OrcSums, { diff, ms }: ReportOptions): string[] {
  const lines = [
    `${counted(sums.objects, 'object')}: ${counted(sums.functions, 'function')}, ` +
      `${counted(sums.instructions, 'instruction')}, ${counted(sums.entries, 'entry')} in ${(ms / 1000).toFixed(1)} s`,
  ];
  if (sums.failed > 0) lines.push(`${whole(sums.failed)} of them could not be used`);
  if (!diff || sums.compared === 0) return lines;
  lines.push(
    `the same as the table in the object: ${whole(sums.same)} of ${counted(sums.compared, 'object')}, ` +
      `${whole(sums.functionsSame)} of ${counted(sums.functionsCompared, 'function')}, ` +
      `${whole(sums.instructionsSame)} of ${counted(sums.instructionsCompared, 'instruction')}`,
  );
  for (const name of DIFFERENCE_CLASSES) {
    if (sums.classes[name] > 0) lines.push(`  functions that differ, ${name}: ${whole(sums.classes[name])}`);
  }
  return lines;
}
