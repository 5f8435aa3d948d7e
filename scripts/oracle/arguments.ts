// What `npm run oracle` is asked.

import { parseArgs } from 'node:util';
import type { BootedVersion } from '../debian/booted.ts';
import { ScriptUsageError } from '../errors.ts';

export const USAGE = `usage: npm run oracle -- --kernel 6.1|6.12|7.3 [WHAT] [OPTION]...

What is run there and there:
  --script FILE        operations, one a line, in the language of klpemu shell (docs/shell.md); empty lines and those
                       that begin with # are none
  --random COUNT       that many operations of the generator, from --seed (the default, with 100)
  --selftests          the kernel's own livepatch selftests; each script is an operation
  --patches FILE...    a set of livepatches (.ko): each alone, with the modules that it is for before it, and coming and
                       going behind it; then all of them on top of each other, in this order
  --livepatch NAME     a module of --modules is loaded, looked at, disabled and unloaded; may be given again

  --modules DIR        .ko files that both machines get in /lib/modules/RELEASE/extra (default: those of
                       fixtures/modules, built for the kernel)
  --seed N             of the generator and of the emulated machine (1)
  --cpus N             of both machines (1: QEMU counts instructions then, and waiting costs nothing)
  --stall SECONDS      how long a transition that does not end is waited for, in the machine's time (20)
  --kvm                the real kernel runs on the processor: not the same every time
  --record FILE        keeps what the real kernel did
  --against FILE       takes that instead of running it again, as far as the operations are the same; with nothing of the
                       above, the operations are those of the file
  --all                every operation that differs, not the first one alone
  --json               the result as JSON
  --help

Exit code: 0 all operations identical, 1 a difference, 2 wrong call, or something that is needed is not here, 3 a machine
failed before the operations were over.

Examples: npm run oracle -- --kernel 6.1 --random 200 --seed 3
          npm run oracle -- --kernel 6.1 --patches fix-a.ko fix-b.ko --modules build/targets`;

export interface OracleArguments {
  readonly kernel: BootedVersion;
  readonly script: string | undefined;
  readonly random: number;
  /** None was asked for: what there is else decides. */
  readonly isDefault: boolean;
  readonly selftests: boolean;
  readonly livepatches: readonly string[];
  /** Files. */
  readonly patches: readonly string[];
  readonly modules: string | undefined;
  readonly seed: number;
  readonly cpus: number;
  readonly stall: number;
  readonly kvm: boolean;
  readonly record: string | undefined;
  readonly against: string | undefined;
  readonly all: boolean;
  readonly json: boolean;
}

/** @throws ScriptUsageError */
export function readArguments(
  args: readonly string[],
  kernels: readonly BootedVersion[],
): OracleArguments | 'help' {
  const { values, positionals } = parsed(args);
  if (values.help) return 'help';
  const kernel = kernels.find((version) => version === values.kernel);
  if (kernel === undefined)
    throw new ScriptUsageError(`--kernel ${values.kernel ?? 'is missing'}: ${kernels.join(', ')}\n${USAGE}`);
  const whats = [values.script, values.random, values.livepatch, values.patches, values.selftests].filter(
    (one) => one !== undefined,
  );
  if (whats.length > 1)
    throw new ScriptUsageError(
      'one of --script, --random, --selftests, --patches and --livepatch can be given',
    );
  if (values.patches === undefined && positionals.length > 0)
    throw new ScriptUsageError(`unexpected argument '${positionals[0]}'\n${USAGE}`);
  if (values.kvm && values.against)
    throw new ScriptUsageError('--against runs no real kernel: --kvm has no sense');
  return {
    kernel,
    script: values.script,
    random: number('random', values.random, 100, 1_000_000),
    isDefault: whats.length === 0,
    selftests: values.selftests ?? false,
    livepatches: values.livepatch ?? [],
    patches: [...(values.patches ?? []), ...positionals],
    modules: values.modules,
    seed: number('seed', values.seed, 1, 0xffffffff),
    cpus: number('cpus', values.cpus, 1, 8),
    stall: number('stall', values.stall, 20, 600),
    kvm: values.kvm ?? false,
    record: values.record,
    against: values.against,
    all: values.all ?? false,
    json: values.json ?? false,
  };
}

function parsed(args: readonly string[]) {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean' } as const;
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        kernel: text,
        script: text,
        random: text,
        selftests: flag,
        livepatch: { type: 'string', multiple: true },
        patches: { type: 'string', multiple: true },
        modules: text,
        seed: text,
        cpus: text,
        stall: text,
        kvm: flag,
        record: text,
        against: text,
        all: flag,
        json: flag,
        help: flag,
      },
    });
  } catch (error) {
    throw new ScriptUsageError(`${(error as Error).message}\n${USAGE}`);
  }
}

function number(name: string, text: string | undefined, otherwise: number, max: number): number {
  if (text === undefined) return otherwise;
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= 1 && value <= max) return value;
  throw new ScriptUsageError(`--${name} ${text}: it must be a whole number from 1 to ${max}`);
}
