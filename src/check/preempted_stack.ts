// A task as preemption leaves it: interrupted at an instruction, its registers on its stack, and below them the
// frames of the interrupt up to the switch to another task.
// Mirrors the frames under asm_sysvec_apic_timer_interrupt() of arch/x86/entry/entry_64.S, and __switch_to_asm().
//
// Invariant: what is written is taken back, so that stale words below the stack pointer stay those of callers.

import { ptRegsSize } from '../arch/pt_regs.ts';
import type { PtRegs } from '../arch/unwinders.ts';
import { ORC_REG_UNDEFINED, ORC_TYPE_CALL, ORC_TYPE_REGS, type OrcEntry } from '../elf/orc.ts';
import { CALLER_LO, STACK_HALF, STACK_LO } from './check_layout.ts';
import { INACTIVE, ORC, TARGET } from './target.ts';

const PT_REGS_SIZE = ptRegsSize(TARGET.ptRegs);
/** Behind the call of the interrupt's handler, where the stack pointer is that of the registers. */
export const ENTRY_CODE = CALLER_LO + 0x400;
/** Behind the call of __switch_to_asm(), in a function that has saved two registers. */
export const SCHEDULE = CALLER_LO + 0x600;
export const SAVED = 16;
/** Registers, return address of the handler, saved registers, the frame of a task that is switched out. */
const SIZE = PT_REGS_SIZE + 8 + SAVED + INACTIVE.size;
/** An interrupt aligns the stack. */
const ALIGN = ~15;

/** By the stack pointer; what becomes of the frame pointer is not known. */
const BY_SP = { fpOffset: 0, fpReg: ORC_REG_UNDEFINED, spReg: ORC.sp, end: false };
/** How the unwinder finds its way through that code. */
export const INTERRUPT_ENTRIES: readonly (OrcEntry & { readonly ip: number })[] = [
  { ...BY_SP, ip: ENTRY_CODE, spOffset: 0, type: ORC_TYPE_REGS },
  { ...BY_SP, ip: SCHEDULE, spOffset: 8 + SAVED, type: ORC_TYPE_CALL },
];
/** Frames between where the task was switched out and the instruction that was interrupted. */
export const INTERRUPT_FRAMES = 2;

export class PreemptedStack {
  readonly #words: Uint32Array;
  readonly #before = new Uint32Array((SIZE + 16) / 4);
  #from = 0;

  constructor(words: Uint32Array) {
    this.#words = words;
  }

  /** Low half of the stack pointer that the task is switched out with. */
  push(regs: PtRegs, sp: number, fp: number): number {
    const words = this.#words;
    const regsAt = (sp & ALIGN) - PT_REGS_SIZE;
    const switched = regsAt - 8 - SAVED - INACTIVE.size;
    this.#from = (switched - STACK_LO) >>> 2;
    // Word by word: a view of so few costs more than they do.
    for (let i = 0; i < this.#before.length; i++) this.#before[i] = words[this.#from + i];
    words.set(regs, (regsAt - STACK_LO) >>> 2);
    this.#put(regsAt - 8, ENTRY_CODE + 0x10, 0xffffffff);
    this.#put(switched + INACTIVE.pc, SCHEDULE + 0x10, 0xffffffff);
    this.#put(switched + INACTIVE.fp, fp, STACK_HALF);
    return switched;
  }

  pop(): void {
    this.#words.set(this.#before, this.#from);
  }

  #put(address: number, low: number, high: number): void {
    const at = (address - STACK_LO) >>> 2;
    this.#words[at] = low;
    this.#words[at + 1] = high;
  }
}
