// The made-up architecture keeps the contract, as far as it has the parts.

import { BUILT_IN } from '../../../src/kernel/description.ts';
import { loadKernelImage } from '../../../src/machine/boot/image.ts';
import { OrcLookup } from '../../../src/unwind/orc_lookup.ts';
import { StackTrace } from '../../../src/unwind/stacktrace.ts';
import { TestArena, TestTask } from '../../unwind/stack_builder.ts';
import { describeArch } from '../contract.ts';
import { encode, INSN_SIZE, R } from './isa.ts';
import { distance } from './module_text.ts';
import { toyPort } from './toy.ts';
import { toyKernel } from './toy_kernel.ts';

const toy = toyPort((await loadKernelImage()).asm);

const kernel = toyKernel(BUILT_IN, toy.ptRegs);
/** A function that saves lr where ENTER of asm/kernel.inc does. */
const FUNCTION = (name: string, body: string): string => `${name}:
    add sp, sp, zero, -48
    st8 lr, [sp+0]
    ${body}
    ld8 lr, [sp+0]
    add sp, sp, zero, 48
    br zero, lr`;

describeArch({
  arch: toy,
  described: kernel,
  poked: {
    call: toy.fentry.call,
    jump: (site, target) => encode('bl', { imm: distance(site, target) }),
    return: () => encode('br', { b: R.lr }),
    nop: () => encode('add'),
  },
  jumpLabels: [INSN_SIZE],
  engines: ['core'],
  images: [{ image: await loadKernelImage('orc', kernel, toy), framePointers: false }],
  nested: (answer, times) => `
    bl lr, .La
    wait
    ${FUNCTION('.La', 'bl lr, .Lb')}
    ${FUNCTION('.Lb', 'bl lr, .Lc\n'.repeat(times))}
    ${FUNCTION('.Lc', `li r0, ${answer}`)}`,
  leave: 'wait',
  call(_mem, { regs }, fn, returnTo) {
    regs[R.lr] = returnTo;
    regs[R.pc] = fn;
  },
  // There is no trace that could be relied upon, so none is walked.
  makeStack(unwinder) {
    const arena = new TestArena(2);
    const trace = new StackTrace({
      arena,
      lookup: new OrcLookup(),
      unwinder: toy.unwinders[unwinder],
      ptRegs: toy.ptRegs,
      retFromFork: 0,
    });
    return { trace, task: new TestTask(1), stack: arena.words, expected: [], locations: [] };
  },
});
