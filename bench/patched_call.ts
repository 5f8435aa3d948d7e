// What a call of a patched function costs beside the same call unpatched: the fentry call, the trampoline that
// saves registers, klp_ftrace_handler(), the new function in place of the old. In guest instructions, counted one
// by one, and in time.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { EngineName } from '../src/arch/engine.ts';
import { PROT_EXEC, PROT_READ } from '../src/guest/memory.ts';
import { packageRoot } from '../src/guest/package_root.ts';
import { Machine } from '../src/machine/machine.ts';
import { answer, askPart, wantedPart } from './lib/child.ts';
import { Report } from './lib/report.ts';

const SECOND = 1e9;
const TEXT = 0xffffffffc0800000n;
const INSTRUCTIONS = 20_000;
const TURNS = 3;
/** On the core, the first ones wait for V8's compiler. */
const ROUNDS: Record<EngineName, number> = { core: 5000, unicorn: 100 };
/** Calls of which each instruction is counted; a timer interrupt makes one longer, so the shortest counts. */
const COUNTED = 5;

interface Part {
  readonly engine: EngineName;
  readonly shadow: boolean;
  readonly patched: boolean;
}

interface Measured {
  /** Instructions of a call, from the call instruction to the one after it. */
  readonly instructions: number;
  readonly ns: number;
}

/** mov edi, 1; call FUNCTION; inc rbx; jmp to the start. */
function loopCode(target: bigint): Uint8Array {
  const code = new Uint8Array([0xbf, 1, 0, 0, 0, 0xe8, 0, 0, 0, 0, 0x48, 0xff, 0xc3, 0xeb, 0xf1]);
  new DataView(code.buffer).setInt32(6, Number(BigInt.asIntN(32, target - (TEXT + 10n))), true);
  return code;
}
/** Of the loop, besides the call: mov, inc, jmp. */
const LOOP_INSTRUCTIONS = 3;

function load(machine: Machine, name: string, params = ''): void {
  machine.addFile(`/${name}.ko`, readFileSync(join(packageRoot(), 'fixtures/modules', `${name}.ko`)));
  const insmod = machine.insmod(`/${name}.ko`, params);
  machine.runUntil(() => machine.exitStatus(insmod) !== undefined, 10 * SECOND);
  if (machine.exitStatus(insmod) !== 0) throw new Error(`${name} does not load: ${machine.dmesg().at(-1)}`);
}

/** A machine whose one busy task calls the second klpdemo_twin() for ever. */
async function callingMachine({ engine, shadow, patched }: Part): Promise<Machine> {
  const machine = await Machine.boot({ cpus: 1, engine, shadow });
  load(machine, 'klpdemo_target', 'period_ms=1000000');
  const twin = machine.inspect.modules.find('klpdemo_target')?.symbolsNamed('klpdemo_twin')[1];
  if (twin === undefined) throw new Error('klpdemo_target has no second klpdemo_twin');
  if (patched) {
    load(machine, 'klpdemo_patch_sympos');
    const complete = (): boolean => machine.dmesg().some((line) => line.endsWith('patching complete'));
    if (!machine.runUntil(complete, 60 * SECOND)) throw new Error('the transition stays open');
  }
  const { mem } = machine.inspect.core;
  mem.map(TEXT, 4096, PROT_READ | PROT_EXEC);
  mem.pokeText(TEXT, loopCode(twin));
  machine.inspect.sched.wakeUpNewTask(machine.inspect.kthreads.create(TEXT, 0n, 'caller'));
  machine.runFor(SECOND);
  return machine;
}

function countCall(machine: Machine): number {
  const [cpu] = machine.inspect.smp.cpus;
  const stepTo = (rip: bigint): number => {
    let steps = 0;
    do steps += machine.inspect.loop.runCpu(cpu, 1);
    while (cpu.pc !== rip);
    return steps;
  };
  let shortest = Number.POSITIVE_INFINITY;
  for (let call = 0; call < COUNTED; call++) {
    stepTo(TEXT + 5n);
    shortest = Math.min(shortest, stepTo(TEXT + 10n));
  }
  return shortest;
}

async function measure(part: Part): Promise<Measured> {
  const machine = await callingMachine(part);
  const instructions = countCall(machine);
  let ns = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS[part.engine]; round++) {
    const before = machine.inspect.executor.instructions;
    const start = performance.now();
    machine.runFor(INSTRUCTIONS * machine.options.instructionNs);
    const ms = performance.now() - start;
    const calls = (machine.inspect.executor.instructions - before) / (instructions + LOOP_INSTRUCTIONS);
    ns = Math.min(ns, (ms * 1e6) / calls);
  }
  return { instructions, ns };
}

const ENGINES = ['core', 'unicorn'] as const;
const named = ENGINES.flatMap((engine) =>
  [true, false].flatMap((shadow) =>
    [false, true].map((patched): [string, Part] => {
      const name = `${patched ? 'patched' : 'unpatched'} call, ${engine}, ${shadow ? 'truth' : 'no truth'}`;
      return [name, { engine, shadow, patched }];
    }),
  ),
);
const parts = new Map(named);
const wanted = wantedPart();
if (wanted) {
  answer(await measure(parts.get(wanted) as Part));
  process.exit();
}
const best = new Map<string, Measured>();
for (let turn = 0; turn < TURNS; turn++) {
  for (const part of parts.keys()) {
    const measured = askPart<Measured>(part);
    if (measured.ns < (best.get(part)?.ns ?? Number.POSITIVE_INFINITY)) best.set(part, measured);
  }
}
const report = new Report('call of a patched function');
for (const [name, { engine, patched }] of parts) {
  if (!patched) continue;
  const one = best.get(name) as Measured;
  const unpatched = best.get(name.replace('patched', 'unpatched')) as Measured;
  const baseline = (value: number) => ({ name: 'the unpatched call', value });
  report.add({
    name,
    value: one.instructions,
    unit: 'instructions',
    baseline: baseline(unpatched.instructions),
  });
  report.add({
    name,
    value: one.ns,
    unit: 'ns',
    baseline: baseline(unpatched.ns),
    note: 'with the loop around it and its share of the timer ticks',
    ...(engine === 'core' && ({ aim: { below: 400 }, judged: 'value' } as const)),
  });
}
report.end();
