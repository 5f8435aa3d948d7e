// Who traces changes nothing: a traced function's caller finds behind the call the registers that it had before it, by ftrace_caller(),
// ftrace_regs_caller(), which gives back the flags, too, and the list of all ops, executed (arch/x86/kernel/ftrace_64.S).

import { afterEach, beforeEach, expect, it } from 'vitest';
import { CARRY, FILLED, FLAGS, fillAndCall, NOTED, notedIn } from '../sched/registers.ts';
import { World } from '../sched/world.ts';

const T = '/sys/kernel/tracing';
/** Traced, and nothing but a return behind that. */
const FUNC = 'klp_sync';
const FUNCTION_TRACER: readonly [string, string][] = [
  [FUNC, `${T}/set_ftrace_filter`],
  ['function', `${T}/current_tracer`],
];
const PROBE: readonly [string, string][] = [
  [`p:mine ${FUNC}`, `${T}/kprobe_events`],
  ['1', `${T}/events/kprobes/enable`],
];

let world: World;
beforeEach(async () => {
  world = await World.boot({ cpus: 1 });
});
afterEach(() => world.close());

const read = (path: string): string => {
  const task = world.machine.spawn('cat', [path]);
  world.machine.runUntil(() => world.machine.exitStatus(task) !== undefined, 5e9);
  return world.machine.stdout(task);
};

it.each([
  ['nobody', [], ''],
  ['the function tracer', FUNCTION_TRACER, ' (1)    '],
  ['a probe, which sees all registers', PROBE, ' (1) R  '],
  ['both', [...FUNCTION_TRACER, ...PROBE], ' (2) R  '],
] as const)('%s', async (_, written, site) => {
  const { machine } = world;
  for (const [text, path] of written) {
    const task = machine.spawn('echo', [text, path]);
    machine.runUntil(() => machine.exitStatus(task) !== undefined, 5e9);
    expect(machine.exitStatus(task)).toBe(0);
  }
  expect(read(`${T}/enabled_functions`)).toContain(site === '' ? '' : `${FUNC}${site}`);
  const noted = world.zeroed(NOTED);
  const task = world.thread(await world.kernel(fillAndCall(FUNC)), noted);
  expect(world.untilGone([task])).toBe(true);
  const { registers, flags } = notedIn(world, noted);
  expect(registers).toEqual(FILLED);
  // The short trampoline computes with the stack pointer.
  expect(flags).toBe(written === FUNCTION_TRACER ? FLAGS & ~CARRY : FLAGS);
  expect(
    read(`${T}/trace`)
      .split('\n')
      .filter((line) => line.includes(FUNC)),
  ).toHaveLength(written.length / 2);
});
