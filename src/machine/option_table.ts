// The options of a machine: type, default and range of each, in one place. Machine.boot(), the command line, scenarios
// and docs/scenario.md go by it (test/machine/options.test.ts).

import { ENGINE_OPTION } from '../arch/engine.ts';

export interface NumberRow {
  readonly type: 'number';
  readonly default: number;
  readonly min: number;
  readonly max: number;
  /** What it must be a multiple of. */
  readonly step?: number;
}
interface FlagRow {
  readonly type: 'boolean';
  readonly default: boolean;
}
interface ChoiceRow {
  readonly type: 'choice';
  readonly default: string;
  readonly choices: readonly string[];
}
interface TextRow {
  readonly type: 'text';
  readonly default: string;
  /** Bytes. */
  readonly max: number;
}
export type OptionRow = NumberRow | FlagRow | ChoiceRow | TextRow;

const MiB = 1 << 20;

export const MACHINE_OPTIONS = {
  /** CPUs. */
  cpus: { type: 'number', default: 2, min: 1, max: 64 },
  /** Of all choices. */
  seed: { type: 'number', default: 1, min: 0, max: 0xffffffff },
  unwinder: { type: 'choice', default: 'orc', choices: ['orc', 'frame pointer', 'none'] },
  engine: ENGINE_OPTION,
  /** Bytes. */
  heap: { type: 'number', default: 64 * MiB, min: 4 * MiB, max: 1024 * MiB, step: 4096 },
  /** Bytes, from the first module to MODULES_END. */
  moduleArea: { type: 'number', default: 0x3edff000, min: 4096, max: 0x3edff000, step: 4096 },
  /** Tasks at once; PID_MAX_DEFAULT is the most that the kernel has. */
  maxTasks: { type: 'number', default: 512, min: 16, max: 32768 },
  shadow: { type: 'boolean', default: true },
  /**
   * Kernel and users are kept apart, each process has its address space: where the engine can do that.
   * KLPEMU_PROTECTION=off says no for whoever says nothing: a comparison with an engine that cannot.
   */
  protection: {
    type: 'boolean',
    get default(): boolean {
      return process.env.KLPEMU_PROTECTION !== 'off';
    },
  },
  /** Virtual ns. 10,000 instructions a tick: seconds of virtual time are cheap to pass. */
  instructionNs: { type: 'number', default: 400, min: 1, max: 1_000_000 },
  debug: { type: 'boolean', default: false },
  /** Of the order of events: schedule.ts. */
  schedule: { type: 'text', default: '', max: 65536 },
  /** A file: a kernel's vmlinuz or vmlinux that is put under the machine. None: the built-in one. */
  kernel: { type: 'text', default: '', max: 4095 },
  model: { type: 'choice', default: 'classic', choices: ['classic', 'bundle', 'per-object modules'] },
  /** COMMAND_LINE_SIZE, with its NUL. */
  cmdline: { type: 'text', default: 'BOOT_IMAGE=klpemu root=/dev/ram0 quiet', max: 2047 },
} as const satisfies Record<string, OptionRow>;

/** An option that no machine has, or a value that it cannot have. */
export class MachineOptionError extends Error {
  readonly code = 'EINVAL';
  readonly option: string;
  constructor(option: string, reason: string) {
    super(`machine option ${option} ${reason}`);
    this.name = 'MachineOptionError';
    this.option = option;
  }
}

/** Options with the defaults where nothing is said. @throws MachineOptionError */
export function checkedOptions(options: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const rows: Readonly<Record<string, OptionRow>> = MACHINE_OPTIONS;
  const all = Object.fromEntries(Object.entries(rows).map(([name, row]) => [name, row.default as unknown]));
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined) continue;
    const row = Object.hasOwn(rows, name) ? rows[name] : undefined;
    if (!row)
      throw new MachineOptionError(`'${name}'`, `is not known: there are ${Object.keys(rows).join(', ')}`);
    const wanted = allows(row, value) ? undefined : wantedText(row);
    if (wanted) throw new MachineOptionError(name, `must be ${wanted}, not ${shown(value)}`);
    all[name] = value;
  }
  return all;
}

function allows(row: OptionRow, value: unknown): boolean {
  switch (row.type) {
    case 'number':
      return Number.isInteger(value) && inRange(row, value as number);
    case 'boolean':
      return typeof value === 'boolean';
    case 'choice':
      return (row.choices as readonly unknown[]).includes(value);
    case 'text':
      return typeof value === 'string' && Buffer.byteLength(value) <= row.max && !/[\0\n]/.test(value);
  }
}

export function inRange({ min, max, step = 1 }: NumberRow, value: number): boolean {
  return value >= min && value <= max && value % step === 0;
}

export function wantedText(row: OptionRow): string {
  switch (row.type) {
    case 'number': {
      const of = row.step ? `, a multiple of ${row.step}` : '';
      return `a whole number from ${row.min} to ${row.max}${of}`;
    }
    case 'boolean':
      return 'true or false';
    case 'choice':
      return `one of ${row.choices.map((choice) => `'${choice}'`).join(', ')}`;
    case 'text':
      return `one line of at most ${row.max} bytes`;
  }
}

function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 40));
  return typeof value === 'object' ? typeof value : String(value);
}
