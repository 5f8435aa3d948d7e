// A copy of ftrace_caller or ftrace_regs_caller that calls one handler and names one ops.
// Mirrors create_trampoline() of arch/x86/kernel/ftrace.c.
//
// Layout of the memory: [template up to its _end label][ret; int3][padding to 5][address of the ops].

import type { TemplateLabels, TrampolineCode } from '../trampoline.ts';
import { callInsn, INT3, NOP2, RET } from './insn.ts';

/** RET_SIZE with CONFIG_RETPOLINE: room for a jmp to the return thunk. Bytes. */
const RET_SIZE = 5;
/** mov function_trace_op(%rip), %rdx: 48 8b 15 and its displacement. */
const OP_REF = [0x48, 0x8b, 0x15] as const;
const OP_REF_SIZE = 7;
/** The jump of a direct call. */
const JNZ8 = 0x75;

const labels = (name: string, call: string, ...jmp: string[]): TemplateLabels => ({
  name,
  call,
  others: [`${name}_op_ptr`, ...jmp],
});

export const TRAMPOLINE: TrampolineCode = {
  caller: labels('ftrace_caller', 'ftrace_call'),
  regsCaller: labels('ftrace_regs_caller', 'ftrace_regs_call', 'ftrace_regs_caller_jmp'),
  extra: RET_SIZE + 8,
  make({ size, call, others: [opPtr, jmp] }, template, start, ops, handler) {
    const code = new Uint8Array(size + RET_SIZE + 8);
    const view = new DataView(code.buffer);
    code.set(template);
    code.set([RET, INT3], size);
    if (jmp !== undefined) {
      if (code[jmp] !== JNZ8) throw new Error('ftrace_regs_caller_jmp is not a short jnz');
      code.set(NOP2, jmp);
    }
    const pointer = size + RET_SIZE;
    view.setBigUint64(pointer, ops, true);
    if (OP_REF.some((byte, i) => code[opPtr + i] !== byte)) {
      throw new Error('ftrace_caller_op_ptr is not a load of function_trace_op');
    }
    view.setInt32(opPtr + OP_REF.length, pointer - (opPtr + OP_REF_SIZE), true);
    code.set(callInsn(start + BigInt(call), handler), call);
    return code;
  },
};
