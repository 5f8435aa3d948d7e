// Whether the core executes an instruction: it is given to the core's translator, and to what the engine does beside it.
//
// Invariant: executed is only what the core does something else with than #UD; ud2 and its like are #UD on every
// processor.

import {
  STOP_HERE,
  STOP_MACHINE,
  STOP_PROTECTION,
  STOP_UNDEFINED,
} from '../../../../src/arch/x86_64/core/kinds.ts';
import { BLOCK_HEADER, CONTEXT_STRIDE, OP_IMM } from '../../../../src/arch/x86_64/core/layout.ts';
import { CoreContext } from '../../../../src/arch/x86_64/engine/core_context.ts';
import { MachineInstructions } from '../../../../src/arch/x86_64/engine/machine_instructions.ts';
import { MachineMemory } from '../../../../src/arch/x86_64/engine/machine_memory.ts';
import { Translator } from '../../../../src/arch/x86_64/engine/translate/translator.ts';
import type { CoreExports } from '../../../../src/arch/x86_64/engine/wasm.ts';
import { FLOW_UD2, type Insn } from '../../../../src/isa/decoder.ts';

/** Where a block is written, and a context and memory of nobody's lie. */
const SCRATCH = 0x800000;
const BLOCK = 0x700000;
const CONTEXT = 0x600000;
const MEMORY = 0x500000;

/** Every address is the same memory. */
const NOBODYS = {
  reach: () => MEMORY,
  observeRead: () => 0n,
  observeWrite: () => undefined,
} as unknown as CoreExports;

export class Executor {
  readonly #view: DataView;
  readonly #translator: Translator;
  readonly #context: CoreContext;
  readonly #machine = new MachineInstructions();
  readonly #memory: MachineMemory;

  constructor() {
    const buffer = new ArrayBuffer(SCRATCH);
    this.#view = new DataView(buffer);
    this.#translator = new Translator(buffer);
    this.#memory = new MachineMemory(NOBODYS, this.#view);
    this.#context = new CoreContext(buffer, CONTEXT, CONTEXT + CONTEXT_STRIDE);
  }

  executes(insn: Insn, bytes: Uint8Array, at: number): boolean {
    if (insn.flow === FLOW_UD2) return true;
    this.#translator.translateOne(BLOCK, 0n, insn, bytes, at);
    const first = BLOCK + BLOCK_HEADER;
    if (this.#view.getUint16(first, true) !== STOP_HERE) return true;
    const why = this.#view.getUint32(first + OP_IMM, true);
    if (why === STOP_MACHINE) return this.#performs(insn);
    return why !== STOP_UNDEFINED && why !== STOP_PROTECTION;
  }

  /** With registers of zeros and any address: only that it is known counts. */
  #performs(insn: Insn): boolean {
    this.#context.regs.fill(0n);
    this.#context.setUserMode(false);
    const outcome = this.#machine.perform(insn, {
      context: this.#context,
      memory: this.#memory,
      executed: 0n,
    });
    return outcome !== 'undefined';
  }
}
