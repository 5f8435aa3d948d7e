// klpemu run: runs a scenario, tells of it as it happens, and ends with what came of it.

import { closeSync, openSync } from 'node:fs';
import type { KernelEvent } from '../../kernel/events.ts';
import { type Coverage, coverageOf, startCoverage } from '../../machine/coverage.ts';
import type { Machine, MachineOptions } from '../../machine/machine.ts';
import type { FileAccess } from '../../scenario/host_file.ts';
import type { RunReport } from '../../scenario/report.ts';
import type { RunObserver } from '../../scenario/run_options.ts';
import type { Scenario } from '../../scenario/scenario.ts';
import { jsonValue, traceLine } from '../../scenario/trace.ts';
import { EXIT, systemReason, UsageError } from '../exit.ts';
import { open } from '../scenario.ts';
import { type Colors, colorsFor, columns, print, toTerminal, visible } from '../terminal.ts';
import { writeWhole } from '../write_whole.ts';
import { Narrator } from './narrate.ts';
import { Progress } from './progress.ts';

interface RunCommandOptions extends FileAccess {
  readonly seed?: number;
  readonly kernel?: string;
  readonly schedule?: string;
  readonly json?: boolean;
  readonly coverage?: string | true;
  readonly trace?: string;
  readonly html?: string;
  readonly perfetto?: string;
  readonly quiet?: boolean;
  readonly verbose?: boolean;
}

export async function run(file: string, options: RunCommandOptions): Promise<void> {
  const scenario = await open(file, options);
  const trace = options.trace === undefined ? undefined : new TraceFile(options.trace);
  const pictures = await picturesOf(options);
  try {
    const report = await runAndTell(scenario, options, [...(trace ? [trace] : []), ...pictures]);
    for (const picture of pictures) picture.write(report, scenario);
    process.exitCode = report.failure ? EXIT.machine : report.ok ? EXIT.ok : EXIT.failed;
  } finally {
    trace?.close();
  }
}

interface PictureFile extends RunObserver {
  write(report: RunReport, scenario: Scenario): void;
}

async function picturesOf({ html, perfetto }: RunCommandOptions): Promise<PictureFile[]> {
  return [
    ...(html === undefined ? [] : [new (await import('./html.ts')).HtmlFile(html)]),
    ...(perfetto === undefined ? [] : [new (await import('./perfetto.ts')).PerfettoFile(perfetto)]),
  ];
}

async function runAndTell(
  scenario: Scenario,
  options: RunCommandOptions,
  files: readonly RunObserver[],
): Promise<RunReport> {
  const { runScenario } = await import('../../scenario/runner.ts');
  const colors = colorsFor(process.stdout);
  const silent = options.json === true || options.quiet === true || options.trace === '-';
  const progress = silent ? undefined : await Progress.on(process.stderr);
  const write = (text: string) => {
    progress?.hide();
    printTold(text);
  };
  const narrator = new Narrator({ colors, width: columns(), verbose: options.verbose === true, write });
  if (!silent) write(heading(scenario, colors));
  const covered = options.coverage === undefined ? undefined : new Covered();
  const observers: RunObserver[] = [
    ...files,
    ...(silent ? [] : [narrator]),
    ...(progress ? [progress] : []),
    ...(covered ? [covered] : []),
  ];
  const report = await runScenario(scenario, {
    ...(covered ? { boot: covered.boot } : {}),
    ...(options.seed === undefined ? {} : { seed: options.seed }),
    ...(options.kernel === undefined ? {} : { kernel: options.kernel }),
    ...(options.schedule === undefined ? {} : { schedule: options.schedule }),
    observers,
  });
  if (!silent) await narrator.end();
  progress?.hide();
  const coverage = covered?.coverage;
  if (options.json) print(`${JSON.stringify(coverage ? { ...report, coverage } : report, jsonValue)}\n`);
  else if (options.trace !== '-') {
    const { summary } = await import('./summary.ts');
    write(`${silent ? '' : '\n'}${summary(report, colors)}`);
    if (coverage) {
      const { coverageText } = await import('./coverage.ts');
      print(`\n${coverageText(coverage, options.coverage ?? true)}\n`);
    }
  }
  return report;
}

/** Counts what a run executes. */
class Covered implements RunObserver {
  coverage: Coverage | undefined;
  #machine: Machine | undefined;

  readonly boot = async (settings: MachineOptions): Promise<Machine> => {
    const { Machine } = await import('../../machine/machine.ts');
    const machine = await Machine.boot(settings);
    startCoverage(machine.inspect);
    this.#machine = machine;
    return machine;
  };

  ended(): void {
    this.coverage = this.#machine && coverageOf(this.#machine.inspect);
  }
}

/** Kernel lines stay as they are; what stands below them, with its indentation, fits the terminal. */
function printTold(text: string): void {
  const lines = text.split('\n').map((line) => (line.startsWith(' ') ? toTerminal([line]) : line));
  print(lines.flat().join('\n'));
}

function heading({ name, about, machine }: Scenario, colors: Colors): string {
  const { cpus = 2, seed = 1, unwinder = 'orc' } = machine;
  const text = about === '' ? '' : `${toTerminal(about.split('\n'), 0).join('\n')}\n`;
  return `${colors.bold(name)}\n${text}${colors.dim(`${cpus} CPUs, seed ${seed}, unwinder ${unwinder}`)}\n\n`;
}

/** Events to a file, some thousands of lines at a time. */
class TraceFile implements RunObserver {
  readonly #path: string;
  readonly #fd: number;
  #lines: string[] = [];

  constructor(path: string) {
    this.#path = path === '-' ? 'standard output' : path;
    try {
      this.#fd = path === '-' ? 1 : openSync(path, 'w');
    } catch (error) {
      throw new UsageError(`${path}: ${systemReason(error)}`);
    }
  }

  event(event: KernelEvent): void {
    this.#lines.push(visible(traceLine(event)));
    if (this.#lines.length >= 4096) this.#write();
  }

  #write(): void {
    if (this.#lines.length === 0) return;
    const text = `${this.#lines.join('\n')}\n`;
    this.#lines = [];
    try {
      writeWhole(this.#fd, Buffer.from(text));
    } catch (error) {
      throw new UsageError(`${this.#path}: ${systemReason(error)}`);
    }
  }

  close(): void {
    this.#write();
    if (this.#fd !== 1) closeSync(this.#fd);
  }
}
