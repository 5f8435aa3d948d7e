// How fast the guest executes on the core and on Unicorn, with its timer ticking every 10,000 instructions and with the
// ground truth on, against the same bytes in an engine without a machine: one run that counts instructions, and with
// Unicorn one that does not (which cannot be stopped at an instruction, and so is a limit and no alternative).

import type { EngineName } from '../src/arch/engine.ts';
import { PROT_EXEC, PROT_READ } from '../src/guest/memory.ts';
import { Machine } from '../src/machine/machine.ts';
import { BareEngine } from './lib/bare.ts';
import { type Part, timeParts } from './lib/parts.ts';
import { type Figure, Report } from './lib/report.ts';

/** Of one timed call: ten ticks. */
const INSTRUCTIONS = 100_000;
const KERNEL_TEXT = 0xffffffffc0800000n;
const USER_TEXT = 0x700000n;
const PAGE = 4096;

interface Loop {
  readonly name: string;
  readonly code: readonly number[];
  /** The same with `dec rdi; jnz` for the endless jump, and hlt behind: it ends by itself. */
  readonly ending: readonly number[];
  /** Instructions of a round of `ending`. */
  readonly endingInstructions: number;
}

const COMPUTE = [
  ...[0x48, 0xff, 0xc3], // inc rbx
  ...[0x48, 0x6b, 0xc3, 0x11], // imul rax, rbx, 17
  ...[0x48, 0x31, 0xc1], // xor rcx, rax
];
const CALL = [
  ...[0xe8, 0x09, 0x00, 0x00, 0x00], // call +9: the function behind the loop
  ...[0x48, 0x01, 0xc3], // add rbx, rax
];
const FUNCTION = [
  ...[0x55], // push rbp
  ...[0x48, 0x8d, 0x43, 0x07], // lea rax, [rbx+7]
  ...[0x48, 0x31, 0xd8], // xor rax, rbx
  ...[0x5d], // pop rbp
  ...[0xc3], // ret
];
const DEC_RDI = [0x48, 0xff, 0xcf];
const HLT = 0xf4;

const jump = (length: number): number[] => [0xeb, 0x100 - length - 2];
const loopUntilZero = (body: readonly number[]): number[] => [
  ...body,
  ...DEC_RDI,
  ...[0x75, 0x100 - body.length - 5],
  HLT,
];

const LOOPS: readonly Loop[] = [
  {
    name: 'arithmetic',
    code: [...COMPUTE, ...jump(COMPUTE.length)],
    ending: loopUntilZero(COMPUTE),
    endingInstructions: 5,
  },
  {
    name: 'calls and stack',
    // A multi-byte nop keeps the distance to the function the same in both.
    code: [...CALL, ...jump(CALL.length), 0x0f, 0x1f, 0x40, 0x00, ...FUNCTION],
    ending: [...loopUntilZero(CALL), ...FUNCTION],
    endingInstructions: 9,
  },
];

/** A machine with one task that executes the loop for ever. */
async function machineWith(loop: Loop, mode: Mode, engine: EngineName, shadow: boolean): Promise<Machine> {
  const machine = await Machine.boot({ cpus: 1, engine, shadow });
  const { mem } = machine.inspect.core;
  const text = mode === 'user' ? USER_TEXT : KERNEL_TEXT;
  mem.map(text, PAGE, PROT_READ | PROT_EXEC);
  mem.pokeText(text, Uint8Array.from(loop.code));
  const task =
    mode === 'user'
      ? machine.inspect.fork.createUserTask(
          { comm: 'loop', entry: text, argv: ['loop'] },
          machine.inspect.core.tasks.byPid(1),
        )
      : machine.inspect.kthreads.create(text, 0n, 'loop');
  machine.inspect.sched.wakeUpNewTask(task);
  machine.runFor(2e9);
  return machine;
}

/** Runs the machine for at least that many instructions. */
function run(machine: Machine, instructions: number): void {
  const { options } = machine;
  const { executor } = machine.inspect;
  const before = executor.instructions;
  machine.runFor(instructions * options.instructionNs);
  if (executor.instructions - before < instructions * 0.999)
    throw new Error('the loop did not run all the time');
}

const MODES = ['user', 'kernel'] as const;
type Mode = (typeof MODES)[number];

function partsOf(mode: Mode, loop: Loop): Record<string, Part> {
  const text = mode === 'user' ? USER_TEXT : KERNEL_TEXT;
  const bare = (code: readonly number[], engine: EngineName): BareEngine =>
    new BareEngine(Uint8Array.from(code), text, engine);
  const counted = (engine: EngineName) => () => {
    const made = bare(loop.code, engine);
    return () => made.counted(INSTRUCTIONS);
  };
  const machine = (engine: EngineName, shadow: boolean) => async () => {
    const booted = await machineWith(loop, mode, engine, shadow);
    return () => run(booted, INSTRUCTIONS);
  };
  return {
    'core, bare': counted('core'),
    'core, no truth': machine('core', false),
    'core, truth': machine('core', true),
    'unicorn, bare': counted('unicorn'),
    'unicorn, uncounted': () => {
      const engine = bare(loop.ending, 'unicorn');
      return () => engine.toHlt(Math.round(INSTRUCTIONS / loop.endingInstructions));
    },
    'unicorn, no truth': machine('unicorn', false),
    'unicorn, truth': machine('unicorn', true),
  };
}

function figures({ name, aim }: Case, ms: (part: string) => number): Figure[] {
  const mips = (part: string): number => INSTRUCTIONS / ms(part) / 1000;
  const unit = 'million instructions/s';
  const baseline = { name: 'bare Unicorn, counted', value: mips('unicorn, bare') };
  const figure = (part: string): Figure => ({ name: `${name}: ${part}`, value: mips(part), unit, baseline });
  return [
    { ...figure('core, truth'), ...(aim && ({ aim: { atLeast: aim }, judged: 'value' } as const)) },
    figure('core, no truth'),
    figure('core, bare'),
    figure('unicorn, truth'),
    figure('unicorn, no truth'),
    figure('unicorn, uncounted'),
  ];
}

interface Case {
  readonly mode: Mode;
  readonly loop: Loop;
  readonly name: string;
  /** Million instructions a second, in a machine with the ground truth on. */
  readonly aim: number | undefined;
}

const AIMS: Readonly<Record<string, number>> = {
  'kernel mode, calls and stack': 200,
  'user mode, arithmetic': 300,
};
const cases = MODES.flatMap((mode) =>
  LOOPS.map((loop): Case => {
    const name = `${mode} mode, ${loop.name}`;
    return { mode, loop, name, aim: AIMS[name] };
  }),
);
const named = cases.flatMap(({ mode, loop, name }) =>
  Object.entries(partsOf(mode, loop)).map(([part, prepare]) => [`${name}: ${part}`, prepare] as const),
);
const times = await timeParts(Object.fromEntries(named));
const report = new Report('guest speed');
for (const one of cases) {
  for (const figure of figures(one, (part) => times[`${one.name}: ${part}`])) report.add(figure);
}
report.end();
