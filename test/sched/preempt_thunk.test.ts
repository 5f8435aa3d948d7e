// What modules call from preempt_enable() keeps every register, whoever has the CPU meanwhile (arch/x86/entry/thunk_64.S).

import { afterEach, expect, it } from 'vitest';
import { World } from './world.ts';

let world: World;
afterEach(() => world.close());

/** Those that a call may change; rbx and what is above it the callee keeps as any other. */
const REGISTERS = ['rax', 'rcx', 'rdx', 'rsi', 'rdi', 'r8', 'r9', 'r10', 'r11'];
const KEPT = ['rbp', 'r12', 'r13', 'r14', 'r15'];
const ALL = [...REGISTERS, ...KEPT];
/** Of the shared words: rounds of the other thread, and how many the first has seen go by in its calls. */
const [OTHERS, SEEN] = [8 * ALL.length, 8 * ALL.length + 8];
const value = (at: number): number => 0x1100 + at;

it.each(['preempt_schedule_thunk', 'preempt_schedule_notrace_thunk'])(
  '%s keeps them, and another task has run',
  async (thunk) => {
    world = await World.boot({ cpus: 1 });
    const caller = await world.kernel(`
push rbx
${KEPT.map((name) => `push ${name}`).join('\n')}
mov rbx, rdi
mov rax, [rbx+${OTHERS}]
mov [rbx+${SEEN}], rax
${ALL.map((name, at) => `mov ${name}, ${value(at)}`).join('\n')}
call ${thunk}
${ALL.map((name, at) => `mov [rbx+${8 * at}], ${name}`).join('\n')}
mov rax, [rbx+${OTHERS}]
sub rax, [rbx+${SEEN}]
mov [rbx+${SEEN}], rax
${KEPT.toReversed()
  .map((name) => `pop ${name}`)
  .join('\n')}
pop rbx
xor eax, eax
ret`);
    const other = await world.kernel(`
push rbx
push rbp
mov rbx, rdi
mov ebp, 50
1: inc qword ptr [rbx+${OTHERS}]
${REGISTERS.map((name) => `mov ${name}, -1`).join('\n')}
dec ebp
jnz 1b
pop rbp
pop rbx
xor eax, eax
ret`);
    const shared = world.zeroed(SEEN + 8);
    const tasks = [caller, other].map((fn) => world.thread(fn, shared, { cpu: 0 }));
    expect(world.untilGone(tasks)).toBe(true);
    const { mem } = world.machine.inspect.core;
    const after = ALL.map((name, at) => [name, Number(mem.readU64(shared + BigInt(8 * at)))]);
    expect(after).toEqual(ALL.map((name, at) => [name, value(at)]));
    expect(mem.readU64(shared + BigInt(SEEN))).toBe(50n);
  },
);
