// #XM: an exception of SSE that MXCSR does not mask has an entry of its own, for users and for the kernel.

import { afterEach, beforeEach, expect, it } from 'vitest';
import { ENGINE_OPTION } from '../../src/arch/engine.ts';
import { assembleSnippet } from '../../src/arch/x86_64/asm/assembler.ts';
import { PAGE_SIZE, PROT_EXEC, PROT_READ } from '../../src/guest/memory.ts';
import { Machine } from '../../src/machine/machine.ts';

const SECOND = 1e9;
const USER = 0x700000n;
const KERNEL = 0xffffffffc0800000n;
const SIGFPE = 8;
/** 1 / 0, division by zero being not masked. */
const DIVIDE =
  'push 0x1d80; ldmxcsr [rsp]; mov eax, 1; cvtsi2sd xmm0, rax; xorps xmm1, xmm1; divsd xmm0, xmm1; ud2';

/** Unicorn goes on behind the instruction. */
const without = ENGINE_OPTION.default === 'unicorn' ? ' (skipped: Unicorn raises no exception of SSE)' : '';

let machine: Machine;
beforeEach(async () => {
  machine = await Machine.boot();
});
afterEach(() => machine.close());

async function text(at: bigint): Promise<void> {
  const { mem } = machine.inspect.core;
  mem.map(at, PAGE_SIZE, PROT_READ | PROT_EXEC);
  mem.pokeText(at, await assembleSnippet(DIVIDE, at));
}
const log = (): string[] => machine.dmesg().map((line) => line.replace(/^\[ *[\d.]+\] /, ''));

it.skipIf(without)(`of a user is SIGFPE, and the log has no line of it${without}`, async () => {
  await text(USER);
  const { core, fork, sched } = machine.inspect;
  const task = fork.createUserTask({ comm: 'divide', entry: USER, argv: ['divide'] }, core.tasks.byPid(1));
  const before = log().length;
  sched.wakeUpNewTask(task);
  machine.runUntil(() => machine.exitStatus(task) !== undefined, SECOND);
  expect(machine.exitStatus(task)).toBe(128 + SIGFPE);
  expect(log().slice(before)).toEqual([]);
});

it.skipIf(without)(`of the kernel is an oops that is called so${without}`, async () => {
  await text(KERNEL);
  machine.inspect.sched.wakeUpNewTask(machine.inspect.kthreads.create(KERNEL, 0n, 'divide'));
  machine.runFor(SECOND);
  expect(log()).toContain('simd exception: 0000 [#1] PREEMPT SMP NOPTI');
  expect(log().some((line) => /general protection|invalid opcode|divide error/.test(line))).toBe(false);
});
