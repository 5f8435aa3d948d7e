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
import type { Past } from '../../shell/command.ts';
import type { Drive } from '../../shell/guest.ts';
import { INSTRUCTION_LIMIT, Interrupt } from '../../shell/interrupt.ts';
import type { Shell } from '../../shell/shell.ts';
import { engineOption } from '../engine_option.ts';
import { systemReason, UsageError } from '../exit.ts';
import { kernelOption, scheduleOption } from '../scenario_options.ts';
import { printError } from '../terminal.ts';
import type { ShellPast } from './past.ts';

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
  /** Asked between slices: whether somebody wants no more of the command. */
  readonly interrupted?: () => boolean;
  /** Has the machine run, for its commands: it can be held then. */
  readonly drive?: (machine: Machine) => Drive;
  /** Called before it executes what comes behind its boot. */
  readonly booted?: (machine: Machine) => void;
  /** Of a machine that executes beside what its shell has it do. */
  readonly past?: Past;
}

/** A shell, and what is done with it. */
export interface KeptShell {
  readonly shell: Shell;
  readonly past: ShellPast;
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

/** Boots a machine and gives it a shell; what is done with it is kept. @throws UsageError for a directory that is none */
export async function bootShell(options: ShellMachineOptions, host: ShellHost = {}): Promise<KeptShell> {
  const dirs = directories(options);
  const { ShellPast } = await import('./past.ts');
  const past = new ShellPast((again) =>
    shellOn(options, {
      past: again.past,
      drive: () => again.drive,
      machine: () => {},
      interrupt: new Interrupt(again.interrupted),
      modules: () => moduleFiles(dirs, again.checkFile),
      warn: () => {},
    }),
  );
  const { warn = (line: string) => printError(`${line}\n`), interrupted = () => false } = host;
  const shell = await shellOn(options, {
    ...(host.drive ? { drive: host.drive } : {}),
    ...(host.booted ? { booted: host.booted } : {}),
    machine: (machine) => past.begin(machine),
    interrupt: past.interrupt(interrupted),
    modules: () => moduleFiles(dirs, (path) => past.read(path)),
    past: host.past ?? past,
    warn,
  });
  return { shell, past };
}

/** Where its modules are. */
function directories({ unwinder, dir = [], modules }: ShellMachineOptions): readonly string[] {
  const fixtures = unwinder === 'frame pointer' ? 'fixtures/modules/frame-pointer' : 'fixtures/modules';
  const named = [...dir, ...(modules === undefined ? [] : [modules])];
  const dirs = named.length > 0 ? named : [join(packageRoot(), fixtures)];
  for (const each of dirs) checkDirectory(each);
  return dirs;
}

interface ShellParts extends Required<Pick<ShellHost, 'warn'>> {
  readonly drive?: (machine: Machine) => Drive;
  readonly booted?: (machine: Machine) => void;
  readonly machine: (machine: Machine) => void;
  readonly interrupt: Interrupt;
  readonly modules: () => Iterable<{ name: string; bytes: Uint8Array }>;
  readonly past: Past;
}

async function shellOn(options: ShellMachineOptions, parts: ShellParts): Promise<Shell> {
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
  parts.booted?.(machine);
  machine.runFor(SETTLE_NS);
  parts.machine(machine);
  const { interrupt, modules, past, drive, warn } = parts;
  const shell = new Shell(machine, {
    ...{ interrupt, modules, past },
    ...(drive ? { drive: drive(machine) } : {}),
    ...(options.limit === undefined ? {} : { instructionLimit: options.limit }),
  });
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
function* moduleFiles(
  dirs: readonly string[],
  reads: (path: string) => void,
): IterableIterator<{ name: string; bytes: Uint8Array }> {
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
  for (const path of found.values()) {
    reads(path);
    yield { name: basename(path), bytes: bytesOf(path) };
  }
}

const isFile = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isFile() === true;

function bytesOf(path: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new UsageError(`${path}: ${systemReason(error)}`);
  }
}
