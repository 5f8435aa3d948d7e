// Live text is changed while another CPU executes it: one CPU stands still between two steps of a poke,
// the other comes along.

import { afterEach, describe, expect, it } from 'vitest';
import { bootWithModules, Stepper } from '../../src/check/stepper.ts';
import type { KernelEvent } from '../../src/kernel/events.ts';
import type { Cpu } from '../../src/machine/cpu/cpu.ts';
import type { Machine } from '../../src/machine/machine.ts';

type Step = Extract<KernelEvent, { type: 'poke' }>['step'];

const MS = 1e6;
const SIGKILL = 9;
const PATCH = 'klpdemo_patch_target';
const FUNC = 'klpdemo_target:klpdemo_show_version';
/** More than a reader executes between two passes of the site. */
const ROUND = 8000;

let machine: Machine;
afterEach(() => machine.close());

/** A machine with the target loaded, and patched or not; the site in klpdemo_show_version. */
async function bootTarget(patched: boolean): Promise<bigint> {
  machine = await bootWithModules({ cpus: 2 });
  const load = machine.insmod('/klpdemo_target.ko');
  machine.runUntil(() => machine.exitStatus(load) !== undefined, 1000 * MS);
  if (patched) {
    machine.insmod(`/${PATCH}.ko`);
    expect(machine.runUntil(() => said(': patching complete'), 20_000 * MS)).toBe(true);
  }
  return machine.inspect.ftrace.location(machine.inspect.core.symbols.lookupName(FUNC) as bigint);
}

function said(text: string): boolean {
  return machine.dmesg().some((line) => line.endsWith(text));
}

/** Two readers of /proc/klpdemo that never pause, one for each CPU. @returns what ends them. */
function startReaders(): () => void {
  const readers = [0, 1].map(() => machine.spawn('reader', ['/proc/klpdemo', '0']));
  machine.runFor(10 * MS);
  return () => {
    for (const reader of readers) machine.inspect.exit.sendSignal(reader, SIGKILL);
  };
}

/** Runs until the poke of the site has done a step: the CPU that pokes waits for the other one then. */
function untilStep(site: bigint, step: Step): { poking: Cpu; other: Cpu } {
  let by = -1;
  const stop = machine.events.subscribe((e) => {
    if (e.type === 'poke' && e.addr === site && e.step === step) by = e.cpu;
  });
  expect(machine.runUntil(() => by >= 0, 20_000 * MS)).toBe(true);
  stop();
  return { poking: machine.inspect.smp.cpus[by], other: machine.inspect.smp.cpus[1 - by] };
}

/** Runs to where the transition is over and the sites are about to be changed back. */
function disable(): void {
  let completing = false;
  machine.events.subscribe((e) => {
    completing ||= e.type === 'transition' && e.what === 'completing';
  });
  machine.spawn('echo', ['0\n', `/sys/kernel/livepatch/${PATCH}/enabled`]);
  expect(machine.runUntil(() => completing, 20_000 * MS)).toBe(true);
}

/** Where the other CPU came by on its way over the site, alone; and what the int3 stood for. */
function pass(site: bigint, cpu: Cpu): { way: string[]; emulated: string[]; wrong: string[] } {
  const stepper = new Stepper(machine);
  const emulated: string[] = [];
  const stop = machine.events.subscribe((e) => {
    if (e.type === 'int3') emulated.push(e.emulated.replace(/0x[0-9a-f]+/, 'trampoline'));
  });
  for (let i = 0; i < ROUND && cpu.pc !== site; i++) stepper.step(cpu);
  expect(cpu.pc).toBe(site);
  // It may have been at the site before, and on its way out of the trap.
  emulated.length = 0;
  const way: string[] = [];
  // To the body of the function, whichever: its first call.
  while (way.at(-1) !== 'seq_printf') {
    stepper.step(cpu);
    const { name } = stepper.place(cpu.context.halves[32]);
    if (way.at(-1) !== name) way.push(name);
  }
  stop();
  return { way, emulated, wrong: stepper.wrong };
}

const TRAP_IN = ['asm_exc_int3', 'exc_int3', 'do_int3', '__x86_return_thunk', 'exc_int3', 'irqentry_exit'];
const TRAP_OUT = ['exc_int3', 'asm_exc_int3', 'error_return', 'restore_regs_and_return_to_kernel'];
const TRAP = [...TRAP_IN, ...TRAP_OUT];
const HANDLER = ['trampoline', 'klp_ftrace_handler', 'trampoline'];

/** Steps of a poke, the site's bytes after it (its displacement apart), and the way of who comes by. */
type Row = readonly [step: Step, first: number, tailOfNew: boolean, emulated: string[]];

describe('a site whose function is being patched', () => {
  it.each<Row>([
    ['int3', 0xcc, false, ['call trampoline']],
    ['tail', 0xcc, true, ['call trampoline']],
    ['first byte', 0xe8, true, []],
  ])('carries a CPU into the trampoline after the step "%s"', async (step, first, tailOfNew, emulated) => {
    const site = await bootTarget(false);
    const endReaders = startReaders();
    machine.insmod(`/${PATCH}.ko`);
    const { other } = untilStep(site, step);
    const bytes = machine.inspect.core.mem.readBytes(site, 5);
    expect(bytes[0]).toBe(first);
    expect([...bytes.subarray(1)].join() === '31,68,0,0').toBe(!tailOfNew);
    const passed = pass(site, other);
    expect(passed.emulated).toEqual(emulated);
    // The transition has not begun: the trampoline sends everybody to the original.
    expect(passed.way).toEqual([
      ...(emulated.length ? TRAP : []),
      ...HANDLER,
      'klpdemo_show_version',
      'seq_printf',
    ]);
    expect(passed.wrong).toEqual([]);
    endReaders();
    expect(machine.runUntil(() => said(': patching complete'), 20_000 * MS)).toBe(true);
  });
});

describe('a site whose function is no longer patched', () => {
  it.each<Row>([
    ['int3', 0xcc, false, ['nop']],
    ['tail', 0xcc, true, ['nop']],
    ['first byte', 0x0f, true, []],
  ])('carries a CPU over the nop after the step "%s"', async (step, first, tailOfNew, emulated) => {
    const site = await bootTarget(true);
    disable();
    const endReaders = startReaders();
    const { other } = untilStep(site, step);
    const bytes = machine.inspect.core.mem.readBytes(site, 5);
    expect(bytes[0]).toBe(first);
    expect([...bytes.subarray(1)].join() === '31,68,0,0').toBe(tailOfNew);
    const passed = pass(site, other);
    expect(passed.emulated).toEqual(emulated);
    expect(passed.way).toEqual([...(emulated.length ? TRAP : []), 'klpdemo_show_version', 'seq_printf']);
    expect(passed.wrong).toEqual([]);
    endReaders();
    expect(machine.runUntil(() => said('unpatching complete'), 20_000 * MS)).toBe(true);
  });
});

describe('the CPU that pokes', () => {
  it('waits after each step until the other has had a turn', async () => {
    const site = await bootTarget(false);
    startReaders();
    machine.insmod(`/${PATCH}.ko`);
    const { poking, other } = untilStep(site, 'int3');
    const before = machine.inspect.core.mem.readBytes(site, 5);
    for (let i = 0; i < 500; i++) machine.inspect.loop.runCpu(poking, 1);
    expect(machine.inspect.core.mem.readBytes(site, 5)).toEqual(before);
    expect(other.halted).toBe(false);
    while (machine.inspect.smp.next() !== other);
    for (let i = 0; i < 500 && machine.inspect.core.mem.readBytes(site, 5)[1] === before[1]; i++)
      machine.inspect.loop.runCpu(poking, 1);
    expect(machine.inspect.core.mem.readBytes(site, 5)[0]).toBe(0xcc);
    expect(machine.inspect.core.mem.readBytes(site, 5)).not.toEqual(before);
  });
});

describe('a task preempted on its way out of the int3 handler', () => {
  it.each([
    [false, ['trampoline', 'klpdemo_show_version', 'klpdemo_proc_show']],
    [true, ['klpdemo_show_version', 'klpdemo_proc_show']],
  ])(
    'has a reliable trace through the registers of the trap (patched before: %s)',
    async (patched, functions) => {
      const site = await bootTarget(patched);
      if (patched) disable();
      const endReaders = startReaders();
      if (!patched) machine.insmod(`/${PATCH}.ko`);
      const { other } = untilStep(site, 'int3');
      const spins = [0, 1, 2, 3].map(() => machine.spawn('spin'));
      const stepper = new Stepper(machine);
      const at = () => stepper.place(other.context.halves[32]).name;
      for (let i = 0; i < 4 * ROUND && at() !== 'do_int3'; i++) stepper.step(other);
      while (at() !== 'irqentry_exit') stepper.step(other);
      // Somebody else wants the CPU, since just now: the trap's exit preempts.
      const reader = machine.inspect.core.current(other.id);
      machine.inspect.sched.reschedCurr(other.id);
      for (let i = 0; i < 5000 && reader.onCpu === 1; i++) {
        // The draw may fall on the reader itself: then it draws again.
        if (at() === 'preempt_schedule_irq') reader.setTif('TIF_NEED_RESCHED');
        stepper.step(other);
      }
      expect(reader.onCpu).toBe(0);
      const entries = new Uint32Array(100);
      const n = machine.inspect.traces.saveReliable(reader, entries, {
        cpu: other.id,
        args: [],
        sp: 0n,
        caller: 0n,
      });
      const names = [...entries.subarray(0, n)].map((lo) => stepper.place(lo).name);
      const trap = ['__schedule', 'preempt_schedule_irq', 'irqentry_exit', 'exc_int3', 'asm_exc_int3'];
      expect(names.slice(0, trap.length + functions.length)).toEqual([...trap, ...functions]);
      expect(stepper.wrong).toEqual([]);
      endReaders();
      for (const spin of spins) machine.inspect.exit.sendSignal(spin, SIGKILL);
      const done = patched ? 'unpatching complete' : ': patching complete';
      expect(machine.runUntil(() => said(done), 20_000 * MS)).toBe(true);
    },
  );
});
