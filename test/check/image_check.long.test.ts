// The guest kernel's own code and ftrace's trampolines under the check, and faults planted in their tables.

import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { CheckGuest } from '../../src/check/check_guest.ts';
import { ObjectChecker } from '../../src/check/check_object.ts';
import { checkImage } from '../../src/check/image_check.ts';
import { imageSubject } from '../../src/check/image_subject.ts';
import { LiveTally } from '../../src/check/live_tally.ts';
import { bootWithModules, Stepper } from '../../src/check/stepper.ts';
import type { ObjectCheck } from '../../src/check/verdicts.ts';
import { lo32 } from '../../src/guest/addr.ts';
import { type KernelImage, loadKernelImage } from '../../src/machine/boot/image.ts';

let image: KernelImage;
let repair = (): void => {};
beforeAll(async () => {
  image = await loadKernelImage();
});
afterEach(() => {
  repair();
  repair = () => {};
});

function explore(subject: KernelImage): ObjectCheck {
  const guest = new CheckGuest();
  try {
    return new ObjectChecker(guest, imageSubject(subject), { unwinder: 'orc' }).check();
  } finally {
    guest.close();
  }
}

/** Entries of a function in the kernel's table. */
function entriesOf(name: string): number[] {
  const symbol = image.asm.symbols.find((s) => s.name === name);
  if (!symbol) throw new Error(name);
  const start = lo32(symbol.addr);
  return [...image.orc.ip.keys()].filter(
    (i) => image.orc.ip[i] >= start && image.orc.ip[i] < start + symbol.size,
  );
}

describe('the image, explored', () => {
  it('is right at every instruction but one, and but for what follows its returns all are reached', () => {
    const { instructions, reached, right, wrong, places, functions } = explore(image);
    expect(instructions).toBeGreaterThan(7000);
    expect(wrong).toBe(0);
    // Its last return but one is to a trampoline's address, which stands where a caller's would.
    expect(places.map(({ place }) => place.replace(/\+.*/, ''))).toEqual(['ftrace_regs_caller']);
    expect(reached - right).toBe(1);
    const unreached = functions.filter((f) => f.instructions - f.reached > 3);
    expect(unreached).toEqual([]);
    expect(reached / instructions).toBeGreaterThan(0.98);
  });

  it.each(['vfs_read', 'klp_ftrace_handler', 'ftrace_caller', 'mutex_lock'])(
    'is wrong in %s where an entry of it says that its frame is larger',
    (name) => {
      const spOffset = image.orc.spOffset.slice();
      for (const at of entriesOf(name)) spOffset[at] += 8;
      const { places, wrong, unreliable } = explore({ ...image, orc: { ...image.orc, spOffset } });
      const functions = new Set(places.map(({ place }) => place.replace(/\+.*/, '')));
      expect([...functions].filter((f) => f !== 'ftrace_regs_caller')).toEqual([name]);
      expect(wrong + unreliable).toBeGreaterThan(3);
    },
  );
});

/** Why even the kernel's unwinder gives up, in the words of test/machine/every_instruction.long.test.ts. */
const EXPLAINED = [
  /^on the user's stack$/,
  /^the stack pointer is not on the task stack$/,
  /^undefined unwind state at (ret_from_fork|kthread|klpdemo_new_\w+|\w+)$/,
];

describe('the image of a kernel with frame pointers, explored', () => {
  it('has a frame at every call, and depends on the rules for interrupts and for entry code', async () => {
    const guest = new CheckGuest();
    try {
      const subject = imageSubject(await loadKernelImage('frame pointer'), 'fp');
      const { frames, wrong } = new ObjectChecker(guest, subject, { unwinder: 'fp' }).check();
      expect(wrong).toBe(0);
      expect(frames?.functions.filter((f) => f.calls.length > 0)).toEqual([]);
      const needed = frames?.rules.filter((r) => r.classes.length > 0).map((r) => r.section);
      expect(needed).toEqual(['4.2', '4.3']);
    } finally {
      guest.close();
    }
  });
});

describe('the image, executed', () => {
  it('has no trace that is called reliable and is not the truth: interrupted, and preempted', async () => {
    const report = await checkImage(image, 1, ['livepatch', 'preempted']);
    const { interrupted, preempted, ftraceInterrupted, ftracePreempted } = report;
    for (const { check, reasons } of [interrupted, preempted, ftraceInterrupted, ftracePreempted]) {
      expect(check.wrong).toBe(0);
      expect(reasons.filter(({ why }) => !EXPLAINED.some((e) => e.test(why)))).toEqual([]);
    }
    expect(interrupted.check.right).toBeGreaterThan(1400);
    expect(preempted.check.right).toBeGreaterThan(1300);
    for (const { check } of [ftraceInterrupted, ftracePreempted]) {
      const reached = new Map(check.functions.map((f) => [f.name, f.reached / f.instructions]));
      // Every kind of trampoline: the two that all share, and copies of each; in a copy each instruction.
      expect(reached.get('copy of ftrace_caller for klp_ftrace_handler')).toBe(1);
      expect(reached.get('copy of ftrace_caller for ftrace_stub')).toBe(1);
      expect(reached.get('copy of ftrace_regs_caller for ftrace_stub')).toBe(1);
      expect(reached.get('ftrace_caller')).toBeGreaterThan(0.95);
      expect(reached.get('ftrace_regs_caller')).toBeGreaterThan(0.75);
      expect(reached.get('klp_ftrace_handler')).toBeGreaterThan(0.35);
    }
    // Only between the handler's choice and the return to it is the way back hidden from the unwinder.
    const copies = ftraceInterrupted.check.functions.filter((f) => f.name.startsWith('copy of'));
    expect(copies.map((f) => f.unreliable)).toEqual([10, 0, 0]);
  });

  it('has none in the handlers of exceptions, from the fault to the end of the process', async () => {
    const { interrupted } = await checkImage(image, 1, ['faults']);
    expect(interrupted.check.wrong).toBe(0);
    const reached = new Map(interrupted.check.functions.map((f) => [f.name, f.reached]));
    const exceptions = ['page_fault', 'divide_error', 'invalid_op', 'general_protection', 'int3'];
    for (const name of exceptions) expect(reached.get(`asm_exc_${name}`), name).toBeGreaterThan(20);
  });

  it('has wrong ones where an entry of its table is changed, at the instructions of that entry', async () => {
    const changed = entriesOf('seq_read_iter').slice(-3, -2);
    const before = changed.map((at) => image.orc.spOffset[at]);
    for (const at of changed) image.orc.spOffset[at] += 16;
    repair = () => {
      changed.forEach((at, i) => {
        image.orc.spOffset[at] = before[i];
      });
    };
    const machine = await bootWithModules({ cpus: 1 });
    try {
      const stepper = new Stepper(machine);
      const tally = new LiveTally(image);
      stepper.observe = (lo, verdict, why) => tally.note(machine, lo, verdict, why);
      stepper.toEnd(machine.spawn('cat', ['/proc/cmdline']));
      const { functions, wrong, unreliable } = tally.report(false, 'not executed').check;
      expect(wrong + unreliable).toBeGreaterThan(0);
      const func = functions.find((f) => f.name === 'seq_read_iter');
      expect((func?.wrong ?? 0) + (func?.unreliable ?? 0)).toBeGreaterThan(0);
    } finally {
      machine.close();
    }
  });
});
