// The port to x86_64 keeps the contract, with ORC, with frame pointers and without an unwinder.

import { REG } from '../../src/arch/x86_64/context.ts';
import { CALL, genInsn, JMP8, JMP32, NOP2, NOP5, RET } from '../../src/arch/x86_64/insn.ts';
import type { UnwinderKind } from '../../src/arch/x86_64/unwind/unwinders.ts';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { BUILT_IN } from '../../src/kernel/description.ts';
import { loadKernelImage } from '../../src/machine/boot/image.ts';
import { STACK_HI, THREAD_SIZE } from '../../src/unwind/stack_slots.ts';
import { ENGINES } from '../guest/bare.ts';
import { ORC } from '../unwind/stack_builder.ts';
import { World } from '../unwind/world.ts';
import { describeArch, type MakeStack } from './contract.ts';

const makeStack: MakeStack = (unwinder, { calls, interruptedAt, user }) => {
  const w = new World(unwinder as UnwinderKind);
  const { byFrames } = X86_64.unwinders[unwinder];
  // The code of every other function keeps no frame, where that is the table's affair.
  const frame = (i: number) =>
    w.text.frame(byFrames || i % 2 === 0 ? ORC.bp() : ORC.sp(8 + 8 * (i % 5)), i % 7);
  const stack = user ? w.userStack() : w.kthreadStack();
  for (let i = 0; i < calls; i++) {
    stack.call(frame(i));
    if (i !== interruptedAt) continue;
    stack.interrupt(w.text.frame(ORC.regs()));
    // ENCODE_FRAME_POINTER
    stack.place.bpLo = stack.address(stack.place.sp) | 1;
    stack.place.bpHi = STACK_HI;
    stack.call(frame(i + 1));
  }
  stack.switchOut(w.task);
  w.text.addTo(w.lookup);
  const words = THREAD_SIZE / 4;
  const { trace, task, arena } = w;
  const own = arena.words.subarray(stack.slot * words, (stack.slot + 1) * words);
  return { trace, task, stack: own, expected: stack.entries, locations: stack.locations };
};

describeArch({
  arch: X86_64,
  described: BUILT_IN,
  poked: {
    call: (site, target) => genInsn(CALL, site, target),
    jmp: (site, target) => genInsn(JMP32, site, target),
    'short jmp': (site, target) => Uint8Array.of(JMP8, Number(target - site - 2n)),
    ret: () => Uint8Array.of(RET),
    'nop of 5 bytes': () => NOP5.slice(),
    'nop of 2 bytes': () => NOP2.slice(),
  },
  jumpLabels: [2, 5],
  makeStack,
  engines: ENGINES,
  images: [
    { image: await loadKernelImage('orc'), framePointers: false },
    { image: await loadKernelImage('frame pointer'), framePointers: true },
  ],
  nested: (answer, times) => `
    call .La
    hlt
.La:
    push rbx
    call .Lb
    pop rbx
    ret
.Lb:
    push rbx
    .rept ${times}
    call .Lc
    .endr
    pop rbx
    ret
.Lc:
    mov eax, ${answer}
    ret`,
  leave: 'swapgs\nhlt',
  call(mem, { regs }, fn, returnTo) {
    regs[REG.rsp] -= 8n;
    mem.writeU64(regs[REG.rsp], returnTo);
    regs[REG.rip] = fn;
  },
});
