// A task asleep in a part of a function that the compiler split off. The kernel's stack check does not know of parts,
// and ours is the kernel's; the ground truth tells what passed over whom.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { parseElf } from '../../src/elf/elf_object.ts';
import { lo32 } from '../../src/guest/addr.ts';
import { BUILT_IN } from '../../src/kernel/description.ts';
import type { TaskStruct } from '../../src/kernel/task_struct.ts';
import { Machine } from '../../src/machine/machine.ts';

const CONSTANTS = BUILT_IN.constants;
const LAYOUT = BUILT_IN.structs;

const MS = 1e6;
const MODULES = join(import.meta.dirname, '../../fixtures/modules');
const PATCH = 'klpdemo_patch_cold';
/** Of the same length, so that it fits wherever the other name is. */
const SECOND = 'klpdemo_patch_next';

function cat(machine: Machine, file: string): string {
  const task = machine.spawn('cat', [file]);
  machine.runUntil(() => machine.exitStatus(task) !== undefined, 1000 * MS);
  return machine.stdout(task);
}

describe.each([
  ['without endbr64', MODULES],
  ['with endbr64 before the fentry site', join(MODULES, 'ibt')],
])('a function with a cold part, %s', (_, dir) => {
  let machine: Machine;
  let holes: string[];
  let worker: TaskStruct;

  beforeEach(async () => {
    machine = await Machine.boot({ cpus: 1, seed: 3 });
    for (const name of ['klpdemo_cold', PATCH])
      machine.addFile(`/${name}.ko`, readFileSync(join(dir, `${name}.ko`)));
    holes = [];
    machine.events.subscribe(
      (e) => {
        if (e.type === 'hole')
          holes.push(`${e.comm}: ${e.func} ${e.version} ${e.part} ${e.patch} ${e.forced}`);
      },
      ['hole'],
    );
  });
  afterEach(() => machine.close());

  function done(task: TaskStruct): number | undefined {
    machine.runUntil(() => machine.exitStatus(task) !== undefined, 1000 * MS);
    return machine.exitStatus(task);
  }
  const load = (name: string, params = '') => expect(done(machine.insmod(`/${name}.ko`, params))).toBe(0);
  const write = (text: string, file: string) =>
    expect(done(machine.spawn('echo', [text, `/sys/kernel/livepatch/${file}`]))).toBe(0);
  const set = (param: string, text: string) =>
    expect(done(machine.spawn('echo', [text, `/sys/module/klpdemo_cold/parameters/${param}`]))).toBe(0);
  const said = (text: string) => machine.dmesg().some((line) => line.endsWith(text));
  const count = (text: string) => machine.checks().find(({ name }) => name.startsWith(text))?.count;
  const find = () =>
    [...machine.inspect.core.tasks.processes()].find((t) => t.comm === 'klpdemo_cold') as TaskStruct;

  function target(params: string): void {
    load('klpdemo_cold', params);
    machine.runFor(50 * MS);
    worker = find();
  }

  /** The patch once more, under another name. */
  function second(replace: boolean, ms = 500): void {
    const bytes = readFileSync(join(dir, `${PATCH}.ko`));
    for (let at = bytes.indexOf(PATCH); at >= 0; at = bytes.indexOf(PATCH, at)) bytes.write(SECOND, at);
    const elf = parseElf(bytes, SECOND, X86_64.elf);
    const patch = elf.symbols.find(({ name }) => name === 'patch');
    const at = (patch?.section?.offset ?? 0) + Number(patch?.value) + LAYOUT.klp_patch.fields.replace;
    bytes[at] = replace ? 1 : 0;
    machine.addFile(`/${SECOND}.ko`, bytes);
    load(SECOND, `new_ms=${ms}`);
  }

  it('is patched under a task in that part, which is told, and counted as no good transition', () => {
    target('hold_ms=2000');
    load(PATCH);
    expect(said(`'${PATCH}': patching complete`)).toBe(true);
    expect(machine.stack(worker).join()).toContain('klpdemo_step.cold+');
    expect(holes).toEqual([`klpdemo_cold: klpdemo_step klpdemo_step klpdemo_step.cold ${PATCH} undefined`]);
    expect(count('transitions completed with no task')).toBe(0);
    expect(count('transitions completed with a task')).toBe(1);
    expect(count('tasks in a part')).toBe(1);
  });

  it('is waited for where the task stands in the function itself, and nothing is told', () => {
    target('hold_ms=2000 body=1');
    load(PATCH, 'new_ms=100');
    expect(said(': patching complete')).toBe(false);
    set('hold_ms', '1');
    machine.runFor(10_000 * MS);
    expect(said(': patching complete')).toBe(true);
    expect(holes).toEqual([]);
    expect(count('transitions completed with no task')).toBe(1);
    expect(count('transitions completed with a task')).toBe(0);
    expect(machine.inspect.versions.calls).toBeGreaterThan(10);
  });

  it('is unpatched under a task in the cold part of the new function, which returns into freed text', () => {
    target('hold_ms=100');
    load(PATCH, 'new_ms=3000');
    machine.runFor(500 * MS);
    expect(machine.stack(worker).join()).toContain('klpdemo_new_step.cold+');
    holes.length = 0;
    write('0', `${PATCH}/enabled`);
    machine.runFor(100 * MS);
    expect(holes).toEqual([
      `klpdemo_cold: klpdemo_step klpdemo_new_step klpdemo_new_step.cold ${PATCH} undefined`,
    ]);
    expect(done(machine.rmmod(PATCH))).toBe(0);
    machine.runFor(4000 * MS);
    expect(machine.dmesg().join('\n')).toContain('BUG: unable to handle page fault for address');
  });

  it.each([
    ['stacked on', false],
    ['replaced by', true],
  ])('is told of when the version that the task is in is %s the next', (_how, replace) => {
    target('hold_ms=100');
    load(PATCH, 'new_ms=3000');
    machine.runFor(500 * MS);
    holes.length = 0;
    second(replace);
    expect(said(`'${SECOND}': patching complete`)).toBe(true);
    expect(machine.stack(worker).join()).toContain('klpdemo_new_step.cold+');
    expect(holes).toEqual([
      `klpdemo_cold: klpdemo_step klpdemo_new_step klpdemo_new_step.cold ${SECOND} undefined`,
    ]);
  });

  it('is told of as left by force when it was forced in the function and no later patch looks there', () => {
    target('hold_ms=60000 body=1');
    load(PATCH);
    write('1', `${PATCH}/force`);
    machine.runFor(2000 * MS);
    expect(said(`'${PATCH}': patching complete`)).toBe(true);
    second(false);
    expect(holes).toEqual([`klpdemo_cold: klpdemo_step klpdemo_step undefined ${SECOND} ${PATCH}`]);
  });

  it('accuses nobody who is preempted at its very start, before the fentry call or in it', () => {
    target('hold_ms=1 body=1');
    load(PATCH, 'new_ms=1');
    machine.runFor(2000 * MS);
    // An idle CPU skips its time; a busy one can be led through it step by step.
    machine.spawn('spin');
    const start = machine.inspect.core.symbols.lookupName('klpdemo_cold:klpdemo_step') as bigint;
    const site = machine.inspect.ftrace.location(start);
    const [cpu] = machine.inspect.smp.cpus;
    const trampoline = machine.inspect.ftrace.records.at(site)?.target as bigint;
    // Where it is led to, and what is then live of the function; entries before the fentry call may be the call itself.
    const places = new Map([
      [start, start],
      [site, site],
      [trampoline, site + 5n],
    ]);
    const passed: bigint[] = [];
    let live = 0n;
    machine.events.subscribe(
      (e) => {
        if (e.type !== 'patch_state' || e.pid !== worker.pid || e.way !== 'stack check' || e.to === 0) return;
        if (machine.inspect.traces.shadow?.truth(worker.stackSlot).includes(lo32(live))) passed.push(live);
      },
      ['patch_state'],
    );
    const { loop, sched } = machine.inspect;
    // The scheduler may let it go on before all tasks are looked at: then once more.
    const todo = [...places].flatMap((one) => Array.from({ length: 5 }, () => one));
    for (const [place, address] of todo) {
      if (passed.includes(address)) continue;
      const there = () => cpu.pc === place && machine.inspect.core.current(0) === worker;
      for (let steps = 0; steps < 400_000 && !there(); steps++) loop.runCpu(cpu, 1);
      expect(there()).toBe(true);
      live = address;
      sched.reschedCurr(0);
      cpu.tickPending = true;
      second(false, 1);
      machine.runFor(1200 * MS);
      write('0', `${SECOND}/enabled`);
      machine.runFor(1200 * MS);
      expect(done(machine.rmmod(SECOND))).toBe(0);
    }
    expect(holes).toEqual([]);
    expect(passed).toEqual([...places.values()]);
  });

  it('is listed by ftrace under its name, wherever its site is', () => {
    target('hold_ms=1 body=1');
    load(PATCH);
    const lines = (file: string) => cat(machine, `/sys/kernel/debug/tracing/${file}`).split('\n');
    expect(lines('available_filter_functions')).toContain('klpdemo_step [klpdemo_cold]');
    expect(
      lines('enabled_functions').filter((line) => line.startsWith('klpdemo_step [klpdemo_cold] (1)')),
    ).toHaveLength(1);
  });
});

describe('an fentry site further behind its symbol than an endbr64', () => {
  it('is one of a weak function, listed as such and never patched', async () => {
    const machine = await Machine.boot({ cpus: 1 });
    const bytes = readFileSync(join(MODULES, 'ibt/klpdemo_cold.ko'));
    const elf = parseElf(bytes, 'klpdemo_cold', X86_64.elf);
    // As if klpdemo_cold_main had been overridden: its code is there, its name is not.
    const lost = elf.symbols.find(({ name }) => name === 'klpdemo_cold_main');
    bytes.writeUInt32LE(0, (elf.symtab?.offset ?? 0) + 24 * (lost?.index ?? 0));
    machine.addFile('/klpdemo_cold.ko', bytes);
    const insmod = machine.insmod('/klpdemo_cold.ko');
    machine.runUntil(() => machine.exitStatus(insmod) !== undefined, 1000 * MS);
    const text = cat(machine, '/sys/kernel/debug/tracing/available_filter_functions');
    const [, offset] = /^__ftrace_invalid_address___(\d+) \[klpdemo_cold\]$/m.exec(text) ?? [];
    expect(Number(offset)).toBeGreaterThan(4);
    const disabled = machine.inspect.ftrace.records
      .group('klpdemo_cold')
      .filter(({ flags }) => flags & CONSTANTS.FTRACE_FL_DISABLED);
    expect(disabled).toHaveLength(1);
    machine.close();
  });
});
