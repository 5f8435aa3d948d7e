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

describeArch({
  arch: toy,
  described: toyKernel(BUILT_IN, toy.ptRegs),
  poked: {
    call: toy.fentry.call,
    jump: (site, target) => encode('bl', { imm: distance(site, target) }),
    return: () => encode('br', { b: R.lr }),
    nop: () => encode('add'),
  },
  jumpLabels: [INSN_SIZE],
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
