import { describe, expect, it } from 'vitest';
import { PT_SP, packPtRegs } from '../../src/arch/x86_64/pt_regs.ts';
import { UAPI } from '../../src/kernel/uapi.ts';
import { STACK_HI, THREAD_SIZE } from '../../src/unwind/stack_slots.ts';
import { formatProcStack } from '../../src/unwind/stacktrace.ts';
import { ORC, StackBuilder } from './stack_builder.ts';
import { World } from './world.ts';

/** A task asleep in schedule(), called from msleep(), called from a system call. */
function sleeper(w: World): { stack: StackBuilder; sched: Set<number>; msleep: number } {
  const msleep = w.text.frame(ORC.sp(32));
  const schedule = w.text.frame(ORC.sp(24));
  const switchTo = w.text.frame(ORC.sp(48, -16));
  const stack = w.userStack().call(w.text.frame(ORC.bp())).call(msleep).call(schedule).call(switchTo);
  stack.switchOut(w.task);
  w.text.addTo(w.lookup);
  return { stack, sched: new Set([schedule.ip, switchTo.ip]), msleep: msleep.ip };
}

describe('the stack trace that /proc/PID/stack prints', () => {
  it('leaves out the scheduler and prints each address with its symbol', () => {
    const sched = new Set<number>();
    const w = new World('orc', (ip) => sched.has(ip));
    const made = sleeper(w);
    for (const ip of made.sched) sched.add(ip);
    const count = w.trace.stackTraceSaveTsk(w.task, w.entries);
    expect([...w.entries.subarray(0, count)]).toEqual(made.stack.entries.slice(2));
    const text = formatProcStack(w.entries, 1, (addr) => `msleep+0x${(addr & 0xfn).toString(16)}/0x40`);
    expect(text).toBe('[<0>] msleep+0x0/0x40\n');
    expect(w.trace.getWchan(w.task)).toBe(made.msleep);
    w.task.onCpu = 1;
    expect(w.trace.getWchan(w.task)).toBe(0);
  });

  it('skips as many entries as asked, and stops when the array is full', () => {
    const w = new World();
    const { stack } = sleeper(w);
    const two = new Uint32Array(2);
    expect(w.trace.stackTraceSaveTsk(w.task, two, 1)).toBe(2);
    expect([...two]).toEqual(stack.entries.slice(1, 3));
    expect(w.trace.stackTraceSaveTsk(w.task, new Uint32Array(0))).toBe(0);
  });

  it('is of the asking function itself when the task is the current one', () => {
    const w = new World();
    const stack = w
      .userStack()
      .call(w.text.frame(ORC.bp()))
      .call(w.text.frame(ORC.sp(40)));
    w.text.addTo(w.lookup);
    const count = w.trace.stackTraceSaveTsk(w.task, w.entries, 0, stack.regs());
    const own = stack.regs()[32];
    expect([...w.entries.subarray(0, count)]).toEqual([own, ...stack.entries]);
  });

  it('is of the first stack of all as of any other', () => {
    const w = new World();
    const stack = new StackBuilder(w.arena, 0).taskRegs(true).outermost(w.syscallEntry);
    stack.call(w.text.frame(ORC.bp())).call(w.text.frame(ORC.bp())).switchOut(w.task);
    w.task.stackSlot = 0;
    w.text.addTo(w.lookup);
    const count = w.trace.stackTraceSaveTsk(w.task, w.entries);
    expect([...w.entries.subarray(0, count)]).toEqual(stack.entries);
    expect(w.trace.getWchan(w.task)).toBe(stack.entries[0]);
    expect(w.walk()).toEqual(stack.entries);
  });

  it('reads words of the stack at any byte', () => {
    const w = new World();
    const { stack } = sleeper(w);
    w.trace.stackTraceSaveTsk(w.task, w.entries);
    const at = 0x100;
    stack.put(at, 0x33221100, 0x77665544);
    stack.put(at + 8, 0xbbaa9988, 0xffeeddcc);
    const words = [0, 1, 2, 3, 4, 5, 8].map((off) => w.trace.unwinder.wordAt(at + off)?.toString(16));
    expect(words).toEqual([
      '7766554433221100',
      '8877665544332211',
      '9988776655443322',
      'aa99887766554433',
      'bbaa998877665544',
      'ccbbaa9988776655',
      'ffeeddccbbaa9988',
    ]);
    const { wordAt, textWordAt } = w.trace.unwinder;
    expect([-1, THREAD_SIZE - 7].map((off) => wordAt.call(w.trace.unwinder, off))).toEqual([
      undefined,
      undefined,
    ]);
    expect(textWordAt.call(w.trace.unwinder, THREAD_SIZE - 8)).toBeDefined();
  });

  it('is empty for a task without a stack', () => {
    const w = new World();
    sleeper(w);
    w.task.stackSlot = -1;
    expect(w.trace.stackTraceSaveTsk(w.task, w.entries)).toBe(0);
    expect(w.trace.getWchan(w.task)).toBe(0);
  });
});

describe('a trace from registers', () => {
  it('begins with their address; of user mode it has nothing more', () => {
    const w = new World();
    sleeper(w);
    const user = packPtRegs({ ip: 0x401000n, cs: 0x33n, sp: 0x7ffd00001000n });
    expect(w.trace.stackTraceSaveRegs(w.task, user, w.entries)).toBe(1);
    expect(w.trace.stackTraceSaveRegsReliable(w.task, user, w.entries)).toBe(0);
  });

  it('is not reliable where their address is no text of the kernel: also if its lower half is', () => {
    const w = new World();
    const stack = w
      .userStack()
      .call(w.text.frame(ORC.bp()))
      .call(w.text.frame(ORC.sp(40)));
    w.text.addTo(w.lookup);
    const regs = stack.regs();
    expect(w.trace.stackTraceSaveRegsReliable(w.task, regs, w.entries)).toBeGreaterThan(1);
    regs[33] = 0xfffffffe;
    expect(w.trace.stackTraceSaveRegsReliable(w.task, regs, w.entries)).toBeLessThan(0);
  });

  it('is unreliable where the registers stand outside kernel text', () => {
    const w = new World();
    const { stack } = sleeper(w);
    const regs = stack.regs();
    regs[32] = 0x12340000;
    const explained = w.trace.explainRegsReliable(w.task, regs);
    expect(explained).toMatchObject({ ok: false, ip: 0xffffffff12340000n, frame: 0 });
  });
});

describe('a trace that skips', () => {
  const three = (w: World): StackBuilder => {
    const stack = w.userStack();
    for (let i = 0; i < 3; i++) stack.call(w.text.frame(ORC.bp()));
    w.text.addTo(w.lookup);
    return stack;
  };

  it('counts the address of the registers as its first entry', () => {
    const w = new World();
    const stack = three(w);
    const regs = stack.regs();
    const all = [regs[32], ...stack.entries];
    for (let skip = 0; skip < 5; skip++) {
      const count = w.trace.stackTraceSaveRegs(w.task, regs, w.entries, skip);
      expect([...w.entries.subarray(0, count)]).toEqual(all.slice(skip));
    }
    const one = new Uint32Array(1);
    expect(w.trace.stackTraceSaveRegs(w.task, regs, one)).toBe(1);
    expect([...one]).toEqual(all.slice(0, 1));
    expect(w.trace.stackTraceSaveRegs(w.task, regs, one, 2)).toBe(1);
    expect([...one]).toEqual(all.slice(2, 3));
    expect(w.trace.stackTraceSaveRegs(w.task, regs, new Uint32Array(0))).toBe(0);
  });

  it.each(['orc', 'frame pointer'] as const)('counts the asking function itself likewise: %s', (unwinder) => {
    const w = new World(unwinder);
    const stack = three(w);
    const regs = stack.regs();
    const all = [regs[32], ...stack.entries];
    for (let skip = 0; skip < 5; skip++) {
      const count = w.trace.stackTraceSaveTsk(w.task, w.entries, skip, regs);
      expect([...w.entries.subarray(0, count)]).toEqual(all.slice(skip));
    }
    const one = new Uint32Array(1);
    expect(w.trace.stackTraceSaveTsk(w.task, one, 0, regs)).toBe(1);
    expect([...one]).toEqual(all.slice(0, 1));
    expect(w.trace.stackTraceSaveTsk(w.task, new Uint32Array(0), 0, regs)).toBe(0);
  });
});

describe('a reliable trace of the task that asks', () => {
  it.each(['orc', 'frame pointer'] as const)('begins where it stands: %s', (unwinder) => {
    const w = new World(unwinder);
    const stack = w.userStack().call(w.text.frame(ORC.bp())).call(w.text.frame(ORC.bp()));
    w.text.addTo(w.lookup);
    const regs = stack.regs();
    const count = w.trace.stackTraceSaveCurrentReliable(w.task, regs, w.entries);
    expect([...w.entries.subarray(0, count)]).toEqual([regs[32], ...stack.entries]);
    // One that fills the array may be a part of a longer one.
    for (let size = 0; size <= count; size++) {
      const some = new Uint32Array(size);
      expect(w.trace.stackTraceSaveCurrentReliable(w.task, regs, some)).toBe(-UAPI.EINVAL);
    }
    expect(w.trace.stackTraceSaveCurrentReliable(w.task, regs, new Uint32Array(count + 1))).toBe(count);
  });

  it('starts anew each time, whatever the trace before left', () => {
    const w = new World();
    const { stack } = sleeper(w);
    for (let i = 0; i < 2; i++) expect(w.walk()).toEqual(stack.entries);
    w.task.stackSlot = -1;
    expect(w.trace.explainTskReliable(w.task)).toEqual({ ok: true, entries: [] });
  });

  it('of a kernel that keeps frames is not reliable from the registers of an interrupt', () => {
    const w = new World('frame pointer');
    const stack = w.userStack().call(w.text.frame(ORC.bp()));
    w.text.addTo(w.lookup);
    expect(w.trace.explainRegsReliable(w.task, stack.regs())).toMatchObject({
      ok: false,
      errno: UAPI.EINVAL,
      reason: `kernel mode registers on the stack: interrupted at 0xffffffff${stack.regs()[32].toString(16)}`,
      frame: 0,
    });
    const user = packPtRegs({ ip: 0x401000n, cs: 0x33n, sp: 0x7ffd00001000n });
    expect(w.trace.explainRegsReliable(w.task, user)).toEqual({ ok: true, entries: [] });
  });
});

describe('an architecture without reliable stack traces', () => {
  it('says so, and still guesses what may be on a stack', () => {
    const w = new World('none');
    const { stack } = sleeper(w);
    expect(w.trace.haveReliableStack).toBe(false);
    expect(w.trace.stackTraceSaveTskReliable(w.task, w.entries)).toBe(-UAPI.ENOSYS);
    expect(w.trace.explainTskReliable(w.task)).toEqual({
      ok: false,
      errno: UAPI.ENOSYS,
      reason: 'no reliable stack trace on this architecture',
      ip: 0n,
      frame: 0,
      entries: [],
    });
    const count = w.trace.stackTraceSaveTsk(w.task, w.entries);
    expect([...w.entries.subarray(0, count)]).toEqual(stack.entries);
    const regs = stack.regs();
    expect(w.trace.stackTraceSaveRegsReliable(w.task, regs, w.entries)).toBe(-UAPI.ENOSYS);
    expect(w.trace.stackTraceSaveCurrentReliable(w.task, regs, w.entries)).toBe(-UAPI.ENOSYS);
    // What it guesses of a task that executes is no wait channel.
    expect(w.trace.getWchan(w.task)).toBe(stack.entries[0]);
    w.task.onCpu = 1;
    expect(w.trace.getWchan(w.task)).toBe(0);
  });

  it('guesses from the stack pointer of registers upwards, and nothing off the stack', () => {
    const w = new World('none');
    const stack = w
      .kthreadStack()
      .call(w.text.frame(ORC.sp(24)))
      .call(w.text.frame(ORC.sp(40)));
    w.text.addTo(w.lookup);
    const regs = stack.regs();
    const guess = () => [...w.entries.subarray(0, w.trace.stackTraceSaveRegs(w.task, regs, w.entries))];
    const own = regs[32];
    expect(guess()).toEqual([own, ...stack.entries]);
    // A word that is only half on the stack pointer counts from the next whole one on.
    regs[PT_SP / 4] = stack.address(stack.locations[0] + 1);
    expect(guess()).toEqual([own, ...stack.entries.slice(1)]);
    regs[PT_SP / 4] = stack.address(stack.locations[0]);
    expect(guess()).toEqual([own, ...stack.entries]);
    for (const off of [-8, THREAD_SIZE, -0x30000, 0x30000]) {
      regs[PT_SP / 4] = stack.address(off);
      expect(guess()).toEqual([own]);
    }
    // The same low half, 4 GiB farther.
    regs[PT_SP / 4] = stack.address(stack.locations[0]);
    regs[PT_SP / 4 + 1] = STACK_HI + 1;
    expect(guess()).toEqual([own]);
    regs[PT_SP / 4 + 1] = STACK_HI - 1;
    expect(guess()).toEqual([own]);
    expect(w.trace.unwinder.next()).toBe(false);
  });
});

describe('a step of a walk', () => {
  it('says whether it came to a frame; the last is the registers of user mode, in which no return address is', () => {
    const w = new World();
    const { stack } = sleeper(w);
    const { unwinder } = w.trace;
    unwinder.startInactive(w.task);
    const seen = [unwinder.returnAddress()];
    while (unwinder.next()) seen.push(unwinder.returnAddress());
    expect(seen).toEqual([...stack.entries, 0]);
    expect([unwinder.done, unwinder.error, unwinder.next()]).toEqual([true, false, false]);
  });
});

describe('an explained trace', () => {
  it('has the full addresses of a reliable one', () => {
    const w = new World();
    const { stack } = sleeper(w);
    const entries = stack.entries.map((lo) => 0xffffffff00000000n + BigInt(lo));
    expect(w.trace.explainTskReliable(w.task)).toEqual({ ok: true, entries });
  });

  it('says which address stopped an unreliable one, and after how many frames', () => {
    const w = new World();
    const { stack } = sleeper(w);
    stack.put(stack.locations[3], 0x41414141, 0x41414141);
    expect(w.trace.explainTskReliable(w.task)).toMatchObject({
      ok: false,
      reason: 'return address 0x4141414141414141 is not kernel text',
      ip: 0x4141414141414141n,
      frame: 3,
    });
  });
});
