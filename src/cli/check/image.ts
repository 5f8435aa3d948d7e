// `klpemu check --image`: the guest kernel's own code, by exploration and on the booted machine.

import { CheckGuest } from '../../check/check_guest.ts';
import { ObjectChecker } from '../../check/check_object.ts';
import { checkImage, imageSteps } from '../../check/image_check.ts';
import { imageSubject } from '../../check/image_subject.ts';
import type { Reason } from '../../check/live_tally.ts';
import type { ObjectCheck, Unwinder } from '../../check/verdicts.ts';
import { loadKernelImage } from '../../machine/boot/image.ts';
import { EXIT, UsageError } from '../exit.ts';
import { percent, whole } from '../numbers.ts';
import { type Colors, colorsFor, print, printFolded } from '../terminal.ts';
import { workProgress } from '../work_progress.ts';
import { frameMapLines, ruleLines } from './frames.ts';
import type { CheckCommandOptions } from './options.ts';
import { functionLines, objectTable } from './report.ts';

const SEED = 1;

interface Part {
  readonly name: string;
  readonly check: ObjectCheck;
  readonly reasons: readonly Reason[];
}

export async function checkTheImage(options: CheckCommandOptions): Promise<void> {
  const started = performance.now();
  const { unwinder } = options;
  if (unwinder !== 'orc' && unwinder !== 'fp') {
    throw new UsageError(
      `--image has an ORC table or frame pointers, and nothing for --unwinder ${unwinder}`,
    );
  }
  const isExecuted = unwinder === 'orc';
  const total = 1 + (isExecuted ? imageSteps() : 0);
  const progress = await workProgress('  [{bar}] {value}/{total} {now}', total, options);
  let steps = 0;
  const onStep = (now: string): void => progress?.update(steps++, { now });
  onStep('explored');
  const parts = [await explored(unwinder), ...(isExecuted ? await executed(onStep) : [])];
  progress?.stop();
  const wrong = parts.reduce((sum, { check }) => sum + check.wrong, 0);
  const ms = Math.round(performance.now() - started);
  if (options.json) print(`${JSON.stringify({ image: parts, wrong, ms })}\n`);
  else printReport(parts, options, ms);
  const isGood = wrong === 0 && parts.every(({ check }) => check.right > 0);
  process.exitCode = isGood ? EXIT.ok : EXIT.failed;
}

async function explored(unwinder: Unwinder): Promise<Part> {
  const image = await loadKernelImage(unwinder === 'fp' ? 'frame pointer' : 'orc');
  const guest = new CheckGuest();
  try {
    const check = new ObjectChecker(guest, imageSubject(image, unwinder), { unwinder }).check();
    return { name: 'image, explored', check, reasons: [] };
  } finally {
    guest.close();
  }
}

async function executed(onStep: (name: string) => void): Promise<Part[]> {
  const report = await checkImage(await loadKernelImage(), SEED, undefined, onStep);
  const rows = [
    ['image, interrupted', report.interrupted],
    ['image, preempted', report.preempted],
    ['ftrace and its handlers, interrupted', report.ftraceInterrupted],
    ['ftrace and its handlers, preempted', report.ftracePreempted],
  ] as const;
  return rows.map(([name, { check, reasons }]) => ({ name, check, reasons }));
}

function printReport(parts: readonly Part[], options: CheckCommandOptions, ms: number): void {
  const colors = colorsFor(process.stdout);
  const lines = [objectTable(parts.map(({ name, check }) => ({ file: name, check })))];
  for (const part of parts) lines.push(...partLines(part, options, colors));
  const [{ check }] = parts;
  if (check.frames) lines.push(...frameMapLines(check.frames, options.functions === true, colors));
  if (check.frames) lines.push(...ruleLines([check.frames], colors));
  const wrong = parts.reduce((sum, p) => sum + p.check.wrong, 0);
  const verdict = `${whole(wrong)} wrong and declared reliable`;
  lines.push(`${(ms / 1000).toFixed(1)} s; ${wrong > 0 ? colors.red(verdict) : colors.green(verdict)}`);
  printFolded(`${lines.join('\n')}\n`);
}

function partLines({ name, check, reasons }: Part, options: CheckCommandOptions, colors: Colors): string[] {
  const lines: string[] = [];
  if (name.startsWith('ftrace')) {
    for (const { name: func, instructions, reached, right } of check.functions) {
      lines.push(
        `  ${func}: ${reached} of ${instructions} instructions (${percent(reached, instructions)}), ${right} right`,
      );
    }
  } else if (options.functions) lines.push(...functionLines(check));
  for (const { why, verdict, instructions, place } of reasons) {
    lines.push(`  ${verdict}: ${why} (${whole(instructions)}, as ${place})`);
  }
  for (const [why, n] of Object.entries(check.notCovered)) lines.push(`  not covered: ${whole(n)} ${why}`);
  return lines.length === 0 ? [] : [colors.bold(name), ...lines];
}
