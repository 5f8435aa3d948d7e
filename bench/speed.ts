// How fast the guest executes, with its timer ticking every 10,000 instructions, against the same bytes in an
// engine without a machine: one run that counts instructions, and one that does not (which cannot be stopped
// at an instruction, and so is a limit and no alternative).

import { PROT_EXEC, PROT_READ } from '../src/guest/memory.ts';
import { Machine } from '../src/machine/machine.ts';
import { BareEngine } from './lib/bare.ts';
import { type Part, timeParts } from './lib/parts.ts';
import { type Figure, Report } from './lib/report.ts';

const INSTRUCTIONS = 400_000;
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
async function machineWith(loop: Loop, mode: Mode, shadow: boolean): Promise<Machine> {
  const machine = await Machine.boot({ cpus: 1, shadow });
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
  const bare = (code: readonly number[]): BareEngine => new BareEngine(Uint8Array.from(code), text);
  const machine = (shadow: boolean) => async () => {
    const booted = await machineWith(loop, mode, shadow);
    return () => run(booted, INSTRUCTIONS);
  };
  return {
    counted: () => {
      const engine = bare(loop.code);
      return () => engine.counted(INSTRUCTIONS);
    },
    uncounted: () => {
      const engine = bare(loop.ending);
      return () => engine.toHlt(Math.round(INSTRUCTIONS / loop.endingInstructions));
    },
    plain: machine(false),
    shadow: machine(true),
  };
}

function figures(name: string, ms: (part: string) => number): Figure[] {
  const mips = (part: string): number => INSTRUCTIONS / ms(part) / 1000;
  const unit = 'million instructions/s';
  const counted = { name: 'one counted run', value: mips('counted') };
  const uncounted = { name: 'one uncounted run', value: mips('uncounted') };
  const value = mips('plain');
  return [
    { name, value, unit, baseline: counted, aim: { atLeast: 0.9 } },
    { name: `${name}, against the limit`, value, unit, baseline: uncounted },
    { name: `${name}, shadow stack on`, value: mips('shadow'), unit, baseline: counted },
  ];
}

const cases = MODES.flatMap((mode) =>
  LOOPS.map((loop) => ({ mode, loop, name: `${mode} mode, ${loop.name}` })),
);
const named = cases.flatMap(({ mode, loop, name }) =>
  Object.entries(partsOf(mode, loop)).map(([part, prepare]) => [`${name}: ${part}`, prepare] as const),
);
const times = await timeParts(Object.fromEntries(named));
const report = new Report('guest speed');
for (const { name } of cases) {
  for (const figure of figures(name, (part) => times[`${name}: ${part}`])) report.add(figure);
}
report.end();
