// Room for decoded blocks is used up and used again, in the midst of calls: what is executed is what memory holds.

import { afterEach, beforeEach, expect, it } from 'vitest';
import { REG } from '../../../../src/arch/x86_64/context.ts';
import type { CoreEngine } from '../../../../src/arch/x86_64/engine/core_engine.ts';
import { Bare, DATA, STACK_TOP, TEXT } from '../../../guest/bare.ts';

let bare: Bare;
beforeEach(() => {
  bare = new Bare('core');
});
afterEach(() => bare.close());

it('a return finds its caller as it is now, however often blocks were forgotten since the call', () => {
  const engine = bare.engine as CoreEngine;
  engine.begin({ current: 0, state: 0 }, () => false);
  const [caller, callee] = [TEXT, TEXT + 0x800n];
  const context = bare.context();
  context.perCpuBase = DATA;
  const poke = (at: bigint, ...bytes: number[]) => bare.mem.pokeText(at, Uint8Array.from(bytes));
  const u32 = (n: number) => [...new Uint8Array(Uint32Array.of(n).buffer)];
  // call callee; mov ebx, n; hlt
  const callAndTell = (n: number) => poke(caller, 0xe8, ...u32(0x800 - 5), 0xbb, ...u32(n), 0xf4);
  for (let n = 0; n < 60_000; n++) {
    // In the callee: hlt, so that the host changes what is behind the call, then ret.
    poke(callee, 0xb8, ...u32(n), 0xf4, 0xc3);
    if (n % 50 === 0) callAndTell(n);
    context.regs[REG.rip] = caller;
    context.regs[REG.rsp] = STACK_TOP;
    engine.run(context, 100);
    expect(context.regs[REG.rax]).toBe(BigInt(n));
    if (n % 50 === 0) callAndTell(n + 1);
    engine.run(context, 100);
    expect(context.regs[REG.rbx]).toBe(BigInt(n - (n % 50) + 1));
  }
});
