// A second architecture, as a proof that the seam is real: a toy image boots on it and takes a livepatch.

import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Arch } from '../../../src/arch/arch.ts';
import { BUILT_IN, type KernelDescription } from '../../../src/kernel/description.ts';
import { loadKernelImage } from '../../../src/machine/boot/image.ts';
import { Machine } from '../../../src/machine/machine.ts';
import { R } from './isa.ts';
import { patchObject } from './patch_object.ts';
import { toyPort } from './toy.ts';
import { toyKernel } from './toy_kernel.ts';

const MS = 1_000_000;
let toy: Arch;
let kernel: KernelDescription;
let machine: Machine;

beforeAll(async () => {
  toy = toyPort((await loadKernelImage()).asm);
  kernel = toyKernel(BUILT_IN, toy.ptRegs);
});
afterEach(() => machine.close());

/** What a task keeps in r9: of one that runs, in the CPU, else in the registers that its entry saved. */
function answerOf(task: ReturnType<Machine['spawn']>): number {
  const { core, smp } = machine.inspect;
  const cpu = smp.cpus.find((one) => core.current(one.id) === task);
  if (cpu?.context.userMode) return Number(cpu.context.regs[R.r9]);
  const regs = task.stackTop - BigInt(8 * toy.ptRegs.words.length);
  return Number(core.mem.readU64(regs + BigInt(8 * toy.ptRegs.words.indexOf('r9'))));
}

/** Few instructions a tick: the interpreter is slow, and nothing here takes many. */
const boot = () => Machine.boot({ unwinder: 'none', cpus: 1, instructionNs: 4000 }, kernel, toy);

/** The patch that makes a function add 200 instead of 100, given to the guest and asked for. */
function load(old = 'toy_answer'): ReturnType<Machine['spawn']> {
  const object = patchObject({ name: 'toy_patch', old, adds: 200 });
  machine.addFile('/lib/modules/toy_patch.ko', object);
  return machine.spawn('load');
}
const said = (what: string): boolean => machine.dmesg().some((line) => line.endsWith(what));
const inTransition = (): boolean => machine.inspect.livepatch.context.transitionPatch !== undefined;

describe('a made-up architecture', () => {
  it('boots, and a program asks its kernel', async () => {
    machine = await boot();
    const ask = machine.spawn('ask');
    machine.runFor(100 * MS);
    expect(answerOf(ask)).toBe(100);
  });

  it('switches tasks as they leave the kernel, and nobody by the stack, which it cannot trust', async () => {
    machine = await boot();
    const ways: string[] = [];
    machine.events.subscribe((event) => {
      if (event.type === 'patch_state') ways.push(event.way);
    });
    const ask = machine.spawn('ask');
    const loading = load();
    machine.runFor(2000 * MS);
    expect(
      said("livepatch: This architecture doesn't have support for the livepatch consistency model."),
    ).toBe(true);
    expect(said("livepatch: 'toy_patch': starting patching transition")).toBe(true);
    expect([answerOf(loading), answerOf(ask)]).toEqual([0, 200]);
    expect(ways).toContain('kernel exit');
    expect(ways).not.toContain('stack check');
    // Who sleeps in the kernel for ever is not switched: the transition goes on.
    expect(inTransition()).toBe(true);
  });

  it('leaves a task that sleeps in a replaced function there until it leaves the kernel', async () => {
    machine = await boot();
    const asking = machine.spawn('ask_slowly');
    machine.runFor(100 * MS);
    load('toy_slow_answer');
    machine.runFor(50 * MS);
    // 50 jiffies of 4 ms: it is in its first sleep still, while the transition is under way.
    expect([inTransition(), asking.patchState, answerOf(asking)]).toEqual([true, 0, 0]);
    machine.runFor(150 * MS);
    expect([asking.patchState, answerOf(asking)]).toEqual([1, 200]);
  });

  it('completes by force', async () => {
    machine = await boot();
    const ask = machine.spawn('ask');
    load();
    machine.runFor(500 * MS);
    machine.inspect.livepatch.transition.force();
    machine.runFor(3000 * MS);
    expect(said("livepatch: 'toy_patch': patching complete")).toBe(true);
    expect(inTransition()).toBe(false);
    expect(answerOf(ask)).toBe(200);
  });
});
