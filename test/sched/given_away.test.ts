// Calls that give the CPU away where somebody waits for it: what modules call from preempt_enable() keeps every register, whoever
// has the CPU meanwhile (arch/x86/entry/thunk_64.S), and __cond_resched() those that any function keeps.

import { afterEach, expect, it } from 'vitest';
import { BUILT_IN } from '../../src/kernel/description.ts';
import { LIVEPATCH } from '../../src/livepatch/since.ts';
import { FILLED, fillAndCall, NOTED, notedIn, SCRATCH } from './registers.ts';
import { World } from './world.ts';

let world: World;
afterEach(() => world.close());

/** Behind what is noted: rounds of the other thread, and how many the first has seen go by in its call. */
const [OTHERS, SEEN] = [NOTED, NOTED + 8];

/** Sets the registers to something else, 50 times, and counts. */
const otherThread = () =>
  world.kernel(`
push rbx
push rbp
mov rbx, rdi
mov ebp, 50
1: inc qword ptr [rbx+${OTHERS}]
${SCRATCH.map((name) => `mov ${name}, -1`).join('\n')}
dec ebp
jnz 1b
pop rbp
pop rbx
xor eax, eax
ret`);
/** Notes the rounds of the other one. */
const BEFORE = `mov rax, [rbx+${OTHERS}]\nmov [rbx+${SEEN}], rax`;
const BEHIND = `mov rax, [rbx+${OTHERS}]\nsub rax, [rbx+${SEEN}]\nmov [rbx+${SEEN}], rax`;
/** As resched_curr() leaves it: the flag, and the bit of the count that is inverted. */
const ASKED = `mov rax, gs:[$current_task]
lock or dword ptr [rax+${BUILT_IN.structs.task_struct.fields.thread_info_flags}], ${1 << BUILT_IN.constants.TIF_NEED_RESCHED}
and dword ptr gs:[$__preempt_count], 0x7fffffff`;

it.each([
  ['gives it away where somebody is to have it', ASKED, 1, 50n],
  ['does nothing where nobody asks', '', 0, 0n],
])('__cond_resched() %s, and says so', async (_, asked, result, others) => {
  // It is in the image of releases whose tasks switch in it.
  world = await World.boot({ cpus: 1 }, { ...BUILT_IN, release: LIVEPATCH.inCondResched.release });
  const caller = await world.kernel(fillAndCall('__cond_resched', `${BEFORE}\n${asked}`, BEHIND));
  const shared = world.zeroed(SEEN + 8);
  const other = await otherThread();
  const tasks = [caller, other].map((fn) => world.thread(fn, shared, { cpu: 0 }));
  expect(world.untilGone(tasks)).toBe(true);
  const { registers } = notedIn(world, shared);
  expect(registers[0]).toEqual(['rax', result]);
  expect(registers.slice(SCRATCH.length)).toEqual(FILLED.slice(SCRATCH.length));
  expect(world.machine.inspect.core.mem.readU64(shared + BigInt(SEEN))).toBe(others);
});

it.each(['preempt_schedule_thunk', 'preempt_schedule_notrace_thunk'])(
  '%s keeps them, and another task has run',
  async (thunk) => {
    world = await World.boot({ cpus: 1 });
    const caller = await world.kernel(fillAndCall(thunk, BEFORE, BEHIND));
    const other = await otherThread();
    const shared = world.zeroed(SEEN + 8);
    const tasks = [caller, other].map((fn) => world.thread(fn, shared, { cpu: 0 }));
    expect(world.untilGone(tasks)).toBe(true);
    expect(notedIn(world, shared).registers).toEqual(FILLED);
    expect(world.machine.inspect.core.mem.readU64(shared + BigInt(SEEN))).toBe(50n);
  },
);
