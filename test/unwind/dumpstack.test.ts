import { describe, expect, it } from 'vitest';
import { PT_CS, PT_REGS_SIZE, packPtRegs } from '../../src/arch/x86_64/pt_regs.ts';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { BUILT_IN, buildFlags } from '../../src/kernel/description.ts';
import { type DumpOptions, showOpcodes, showRegs, showTrace } from '../../src/unwind/dumpstack.ts';
import { THREAD_SIZE } from '../../src/unwind/stack_slots.ts';
import { ORC } from './stack_builder.ts';
import { IMAGE } from './text.ts';
import { World } from './world.ts';

/** Functions are named by their place in the text: f0, f1... of 64 bytes each. */
const options: DumpOptions = {
  arch: X86_64,
  symbolize: (addr, backtrace) => {
    const lo = Number(addr & 0xffffffffn) - (backtrace ? 1 : 0);
    if (addr >> 32n !== 0xffffffffn || lo < IMAGE || lo >= IMAGE + 0x10000) return `0x${addr.toString(16)}`;
    const offset = (lo % 64) + (backtrace ? 1 : 0);
    return `f${Math.floor((lo - IMAGE) / 64)}+0x${offset.toString(16)}/0x40`;
  },
};

describe('a call trace', () => {
  it('marks what the unwinder does not vouch for, and prints user registers in their place', () => {
    const w = new World();
    const stack = w
      .userStack()
      .call(w.text.frame(ORC.sp(48)))
      .call(w.text.frame(ORC.sp(24)));
    // An address that a finished call left in a local of f2.
    stack.put(stack.locations[0] + 16, IMAGE + 3 * 64 + 5, 0xffffffff);
    stack.switchOut(w.task);
    w.text.addTo(w.lookup);
    expect(showTrace(w.trace.unwinder, w.task, {}, options)).toEqual([
      'Call Trace:',
      ' <TASK>',
      ' f3+0x10/0x40',
      ' f2+0x10/0x40',
      ' ? f3+0x5/0x40',
      ' f1+0x10/0x40',
      'RIP: 0033:0x7ffff7e12345',
      'RSP: 002b:00007ffdffff1230 EFLAGS: 00000000 ORIG_RAX: 0000000000000000',
      'RAX: 0000000000000000 RBX: 0000000000000000 RCX: 0000000000000000',
      'RDX: 0000000000000000 RSI: 0000000000000000 RDI: 0000000000000000',
      'RBP: 0000000000000000 R08: 0000000000000000 R09: 0000000000000000',
      'R10: 0000000000000000 R11: 0000000000000000 R12: 0000000000000000',
      'R13: 0000000000000000 R14: 0000000000000000 R15: 0000000000000000',
      ' </TASK>',
    ]);
  });

  it('prints the registers of an interrupt where it hit, and does not repeat their address', () => {
    const w = new World();
    const stack = w.kthreadStack().call(w.text.frame(ORC.sp(24)));
    stack
      .interrupt(w.text.frame(ORC.regs()))
      .call(w.text.frame(ORC.sp(8)))
      .switchOut(w.task);
    w.text.addTo(w.lookup);
    const lines = showTrace(w.trace.unwinder, w.task, {}, options);
    expect(lines.slice(2, 5)).toEqual([' f4+0x10/0x40', ' f3+0x10/0x40', 'RIP: 0010:f2+0x10/0x40']);
    expect(lines[5]).toBe('Code: Unable to access opcode bytes at 0xffffffff81000066.');
    expect(lines.slice(-2)).toEqual([' f0+0x10/0x40', ' </TASK>']);
    expect(lines.filter((line) => line.includes('f2+'))).toHaveLength(1);
  });

  it('prints only the iret frame where the rest of the registers was not saved', () => {
    const w = new World();
    const stack = w.kthreadStack().call(w.text.frame(ORC.sp(24)));
    stack
      .interrupt(w.text.frame(ORC.iretRegs()))
      .call(w.text.frame(ORC.sp(8)))
      .switchOut(w.task);
    w.text.addTo(w.lookup);
    const lines = showTrace(w.trace.unwinder, w.task, {}, options);
    expect(lines.slice(4, 7).map((line) => line.slice(0, 10))).toEqual([
      'RIP: 0010:',
      'Code: Unab',
      'RSP: 0018:',
    ]);
    expect(lines.slice(7)).toEqual([' f0+0x10/0x40', ' </TASK>']);
  });

  it('of the task that dumps itself has the code bytes of its system call, and of no other task', () => {
    const w = new World();
    const stack = w.userStack().call(w.text.frame(ORC.sp(24)));
    w.text.addTo(w.lookup);
    const readCode = (addr: bigint, size: number, userMode: boolean) =>
      userMode && addr === 0x7ffff7e12345n - 42n ? new Uint8Array(size) : undefined;
    const codeOf = (current: { current?: boolean }) =>
      showTrace(
        w.trace.unwinder,
        w.task,
        { regs: stack.regs() },
        { ...options, readCode, ...current },
      ).filter((line) => line.startsWith('Code: 00 00'));
    expect(codeOf({ current: true })).toHaveLength(1);
    expect(codeOf({ current: false })).toEqual([]);
    expect(codeOf({})).toEqual([]);
  });

  it('has no code bytes of user mode for registers that are not those of its system call', () => {
    const w = new World();
    const stack = w.kthreadStack().call(w.text.frame(ORC.sp(24)));
    const user = new Map([[PT_CS, [0x33, 0] as const]]);
    stack
      .interrupt(w.text.frame(ORC.regs()), user)
      .call(w.text.frame(ORC.sp(8)))
      .switchOut(w.task);
    w.text.addTo(w.lookup);
    const readCode = (_: bigint, size: number) => new Uint8Array(size);
    const lines = showTrace(w.trace.unwinder, w.task, {}, { ...options, readCode, current: true });
    expect(lines.some((line) => line.startsWith('RIP: 0033:'))).toBe(true);
    expect(lines.filter((line) => line.startsWith('Code:'))).toEqual([]);
  });

  it('begins at a stack address that is asked for, taken up to the next whole word', () => {
    const w = new World();
    const stack = w
      .kthreadStack()
      .call(w.text.frame(ORC.sp(24)))
      .call(w.text.frame(ORC.sp(40)));
    w.text.addTo(w.lookup);
    const regs = stack.regs();
    const from = (offset: number) =>
      showTrace(w.trace.unwinder, w.task, { regs, stack: stack.address(offset) }, options).slice(2, -1);
    const [inner] = stack.locations;
    expect(from(inner - 7)).toEqual([' f2+0x10/0x40', ' f0+0x10/0x40']);
    expect(from(inner)).toEqual([' f2+0x10/0x40', ' f0+0x10/0x40']);
    expect(from(inner + 1)).toEqual([' ? f0+0x10/0x40']);
    expect(from(THREAD_SIZE - 8)).toEqual([]);
    const off = (offset: number) =>
      showTrace(w.trace.unwinder, w.task, { regs, stack: stack.address(offset) }, options);
    expect(off(THREAD_SIZE)).toEqual(['Call Trace:']);
  });

  it('goes on with clues only, when the walk is lost', () => {
    const w = new World();
    const stack = w
      .userStack()
      .call(w.text.frame(ORC.sp(24)))
      .call(w.text.frame(ORC.undefined()));
    stack.call(w.text.frame(ORC.sp(8))).switchOut(w.task);
    w.text.addTo(w.lookup);
    expect(showTrace(w.trace.unwinder, w.task, {}, options).slice(2)).toEqual([
      ' f4+0x10/0x40',
      ' f3+0x10/0x40',
      ' ? f2+0x10/0x40',
      ' ? f1+0x10/0x40',
      ' </TASK>',
    ]);
  });

  it('starts at the caller when given registers, and takes a symbol by the byte before a return address', () => {
    const w = new World();
    const caller = w.text.frame(ORC.sp(24));
    const stack = w
      .kthreadStack()
      .call({ ...caller, ip: caller.ip + 48 })
      .call(w.text.frame(ORC.sp(40)));
    w.text.addTo(w.lookup);
    const lines = showTrace(w.trace.unwinder, w.task, { regs: stack.regs() }, options);
    expect(lines).toEqual(['Call Trace:', ' <TASK>', ' f2+0x40/0x40', ' f0+0x10/0x40', ' </TASK>']);
  });

  it('of a stack that overflowed into the guard begins at the first page that is there', () => {
    const w = new World();
    const stack = w
      .kthreadStack()
      .call(w.text.frame(ORC.sp(24)))
      .call(w.text.frame(ORC.sp(8)));
    w.text.addTo(w.lookup);
    const regs = stack.regs();
    regs[38] = stack.address(-8);
    const lines = showTrace(w.trace.unwinder, w.task, { regs }, options);
    expect(lines.slice(0, 2)).toEqual(['Call Trace:', ' <TASK>']);
    expect(lines).toContain(' ? f2+0x10/0x40');
    regs[38] = stack.address(-0x2000);
    expect(showTrace(w.trace.unwinder, w.task, { regs }, options)).toEqual(['Call Trace:']);
  });

  it('without an unwinder is all clues', () => {
    const w = new World('none');
    const stack = w.kthreadStack().call(w.text.frame(ORC.sp(24)));
    stack.switchOut(w.task);
    w.text.addTo(w.lookup);
    const lines = showTrace(w.trace.unwinder, w.task, {}, options).slice(2, -1);
    expect(lines).toEqual([' ? f2+0x10/0x40', ' ? f0+0x10/0x40']);
  });
});

describe('registers and code', () => {
  const regs = packPtRegs({
    ip: 0xffffffff81000050n,
    sp: 0xffffc90000007f00n,
    flags: 0x246n,
    ss: 0x18n,
    orig_ax: 0xffffffffffffffffn,
    ax: 0x1234n,
    r15: 0xfedcba9876543210n,
  });

  it('have the lines of an oops', () => {
    const readCode = (_: bigint, size: number) => Uint8Array.from({ length: size }, (_, i) => i);
    const system = { percpuBase: 2n, faultAddress: 5n, space: 3, protection: false };
    const lines = showRegs(regs, { ...options, readCode }, system);
    expect(lines[0]).toBe('RIP: 0010:f1+0x10/0x40');
    expect(lines[1]).toMatch(/^Code: 00 01 .* 28 29 <2a> 2b .* 3f$/);
    expect(lines[2]).toBe('RSP: 0018:ffffc90000007f00 EFLAGS: 00000246');
    expect(lines[3]).toBe('RAX: 0000000000001234 RBX: 0000000000000000 RCX: 0000000000000000');
    expect(lines[7]).toBe('R13: 0000000000000000 R14: 0000000000000000 R15: fedcba9876543210');
    expect(lines.slice(8)).toEqual([
      'FS:  0000000000000000(0000) GS:0000000000000002(0000) knlGS:0000000000000000',
      'CS:  0010 DS: 0000 ES: 0000 CR0: 0000000080050033',
      'CR2: 0000000000000005 CR3: 0000000000003000 CR4: 00000000000006f0',
    ]);
  });

  it('of user mode show code only of the current task', () => {
    expect(showOpcodes(0x401000n, true, false, options)).toEqual([]);
    expect(showOpcodes(0x401000n, true, true, options)).toEqual([
      'Code: Unable to access opcode bytes at 0x400fd6.',
    ]);
    expect(THREAD_SIZE - PT_REGS_SIZE).toBe(0x3f58);
  });

  it('are preceded by what went wrong, the error code, the count of oopses and the kind of kernel', () => {
    const { dieHeader } = X86_64.showRegs;
    expect(dieHeader('Oops', 0, 1, buildFlags(BUILT_IN))).toBe('Oops: 0000 [#1] PREEMPT SMP NOPTI');
    expect(dieHeader('invalid opcode', 0x10002, 3, ['SMP'])).toBe('invalid opcode: 0002 [#3] SMP NOPTI');
    expect(buildFlags({ ...BUILT_IN, vermagic: '6.1.0-rt SMP preempt_rt mod_unload ' })).toEqual([
      'PREEMPT_RT',
      'SMP',
    ]);
    expect(buildFlags({ ...BUILT_IN, vermagic: '6.1.0 mod_unload ' })).toEqual([]);
  });
});
