// The machine of `klpemu shell` and `klpemu up`: its options, and the modules that it is given.

import { readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { MODULE_FILE } from '../../elf/unpack.ts';
import { packageRoot } from '../../guest/package_root.ts';
import type { Machine } from '../../machine/machine.ts';
import { KernelFileError } from '../../machine/native/find.ts';
import { MACHINE_OPTIONS } from '../../machine/option_table.ts';
import type { PatchModelName } from '../../machine/options.ts';
import { ScheduleError } from '../../machine/schedule.ts';
import type { Drive } from '../../shell/guest.ts';
import { INSTRUCTION_LIMIT, type Interrupt } from '../../shell/interrupt.ts';
import type { Shell } from '../../shell/shell.ts';
import { engineOption } from '../engine_option.ts';
import { systemReason, UsageError } from '../exit.ts';
import { kernelOption, scheduleOption } from '../scenario_options.ts';
import { printError } from '../terminal.ts';

/** Name of the machine of `klpemu up` where none is given. */
export const DEFAULT_NAME = 'default';

export interface ShellMachineOptions {
  readonly dir?: readonly string[];
  /** Those of a kernel, beside `dir`. */
  readonly modules?: string;
  readonly cpus?: number;
  readonly seed?: number;
  readonly unwinder?: 'orc' | 'frame pointer' | 'none';
  readonly shadow?: boolean;
  readonly debug?: boolean;
  readonly model?: PatchModelName;
  /** A kernel's file, or a release that is installed. */
  readonly kernel?: string;
  readonly schedule?: string;
  /** Instructions that a command may execute. */
  readonly limit?: number;
}

/** What the machine has to do with the process that it runs in. */
interface ShellHost {
  /** Hears what depmod has to say of the modules. */
  readonly warn?: (line: string) => void;
  readonly interrupt?: Interrupt;
  /** Has the machine run, for its commands. */
  readonly drive?: (machine: Machine) => Drive;
  /** Called before it executes what comes behind its boot. */
  readonly booted?: (machine: Machine) => void;
}

/** Adds the options that say what machine is booted. */
export function machineOptions(command: Command): Command {
  const { cpus, seed, unwinder, model } = MACHINE_OPTIONS;
  return command
    .addOption(
      new Option(
        '--dir <modules>',
        'directory of .ko (.ko.xz, .zst, .gz) and .klpb files for /lib/modules; may be given again',
      ).argParser((dir: string, before: string[] = []) => [...before, dir]),
    )
    .addOption(
      new Option('--cpus <number>', `CPUs, ${cpus.min} to ${cpus.max}`).argParser(
        wholeNumber(cpus.min, cpus.max),
      ),
    )
    .addOption(
      new Option('--seed <number>', "seed of the machine's choices").argParser(
        wholeNumber(seed.min, seed.max),
      ),
    )
    .addOption(new Option('--unwinder <kind>', 'how stacks are walked').choices(unwinder.choices))
    .addOption(engineOption())
    .option('--no-shadow', 'without the shadow stack that checks every reliable trace: faster')
    .addOption(
      new Option(
        '--model <model>',
        'livepatches as the kernel has them, patch bundles, or a module an object',
      ).choices(model.choices),
    )
    .addOption(kernelOption())
    .addOption(scheduleOption())
    .addOption(
      new Option('--modules <dir>', "that kernel's modules, as /lib/modules/RELEASE has them: another --dir"),
    )
    .addOption(
      new Option(
        '--limit <instructions>',
        `how many a command may execute before it is given up, all CPUs together (default: ${INSTRUCTION_LIMIT})`,
      ).argParser(wholeNumber(1, Number.MAX_SAFE_INTEGER)),
    )
    .option('--debug', 'dynamic debug of kernel/livepatch from the start');
}

function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^(0x[0-9a-f]+|\d+)$/i.test(text) && value >= min && value <= max) return value;
    throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
  };
}

/** Virtual ns in which a machine that has just been booted comes to rest. */
const SETTLE_NS = 10e6;

/** Boots a machine and gives it a shell. @throws UsageError for a directory that is none */
export async function bootShell(options: ShellMachineOptions, host: ShellHost = {}): Promise<Shell> {
  const fixtures =
    options.unwinder === 'frame pointer' ? 'fixtures/modules/frame-pointer' : 'fixtures/modules';
  const named = [...(options.dir ?? []), ...(options.modules === undefined ? [] : [options.modules])];
  const dirs = named.length > 0 ? named : [join(packageRoot(), fixtures)];
  for (const dir of dirs) checkDirectory(dir);
  const [{ Machine }, { Shell }] = await Promise.all([
    import('../../machine/machine.ts'),
    import('../../shell/shell.ts'),
  ]);
  const { cpus, seed, unwinder, shadow, debug, model, kernel, schedule } = options;
  const machine = await Machine.boot({
    ...(cpus === undefined ? {} : { cpus }),
    ...(seed === undefined ? {} : { seed }),
    ...(unwinder === undefined ? {} : { unwinder }),
    ...(shadow === undefined ? {} : { shadow }),
    ...(debug === undefined ? {} : { debug }),
    ...(model === undefined ? {} : { model }),
    ...(kernel === undefined ? {} : { kernel }),
    ...(schedule === undefined ? {} : { schedule }),
  }).catch(asUsage);
  host.booted?.(machine);
  machine.runFor(SETTLE_NS);
  const shell = new Shell(machine, {
    modules: () => moduleFiles(dirs),
    ...(host.drive ? { drive: host.drive(machine) } : {}),
    ...(host.interrupt ? { interrupt: host.interrupt } : {}),
    ...(options.limit === undefined ? {} : { instructionLimit: options.limit }),
  });
  const { warn = (line: string) => printError(`${line}\n`) } = host;
  shell.context.modules.depmod().warnings.forEach(warn);
  return shell;
}

/** A kernel that no machine takes is the user's to change. */
function asUsage(error: unknown): never {
  if (error instanceof KernelFileError || error instanceof ScheduleError) throw new UsageError(error.message);
  throw error;
}

function checkDirectory(dir: string): void {
  if (!statSync(dir, { throwIfNoEntry: false })?.isDirectory())
    throw new UsageError(`${dir}: no such directory`);
}

/** All modules and bundles of the directories and those below; of two with one name, the one that is less deep down. */
function* moduleFiles(dirs: readonly string[]): IterableIterator<{ name: string; bytes: Uint8Array }> {
  const found = new Map<string, string>();
  const depth = (path: string): number => path.split('/').length;
  for (const dir of dirs) {
    const files = readdirSync(dir, { recursive: true, encoding: 'utf8' }).filter(
      (file) => MODULE_FILE.test(file) || file.endsWith('.klpb'),
    );
    for (const file of files.sort((a, b) => depth(a) - depth(b))) {
      // A module is one, however it is packed.
      const name = basename(file).replace(/\.(xz|zst|gz)$/, '');
      if (!found.has(name) && isFile(join(dir, file))) found.set(name, join(dir, file));
    }
  }
  for (const path of found.values()) yield { name: basename(path), bytes: bytesOf(path) };
}

const isFile = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isFile() === true;

function bytesOf(path: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new UsageError(`${path}: ${systemReason(error)}`);
  }
}
