// The core as src/check opens it: instructions are handed to it decoded, one at a time, and every address is memory.
//
// Invariant: registers are where the core executes, before and behind each instruction: nothing is copied.

import type { Addr } from '../../../guest/addr.ts';
import type { CpuContext, StopKind } from '../../../guest/engine.ts';
import type { SharedAllocator } from '../../../guest/memory.ts';
import type { Insn } from '../../../isa/decoder.ts';
import type { CheckEngine, CheckedInsn, CheckRun } from '../../checking.ts';
import { REG } from '../context.ts';
import { STOP_BLOCK_END, STOP_MACHINE } from '../core/kinds.ts';
import {
  ARENA,
  CONTEXT_SIZE,
  ELSEWHERE,
  ELSEWHERE_SIZE,
  LEFT,
  REGS,
  VECTOR_OWNER,
  VECTOR_SIZE,
  ZMM,
} from '../core/layout.ts';
import { CoreContext } from '../engine/core_context.ts';
import { CoreEngine, FAILED, KINDS } from '../engine/core_engine.ts';
import { newMemory } from '../engine/linear_memory.ts';
import { MachineInstructions } from '../engine/machine_instructions.ts';
import { MachineMemory } from '../engine/machine_memory.ts';
import { MOST_INSTRUCTIONS, Translator } from '../engine/translate/translator.ts';
import type { CoreExports } from '../engine/wasm.ts';

/** Repetitions of one instruction, at most. */
const MOST_REPETITIONS = 0x10000;
/** A page of the kernel, wherever it is. */
const KERNEL_PAGE = 1n << 63n;

class ExecutingContext extends CoreContext {
  readonly #core: CoreExports;

  constructor(core: CoreExports, buffer: ArrayBuffer) {
    super(buffer, REGS, ZMM);
    this.#core = core;
  }
  override touch(): void {
    this.#core.enterContext(REGS);
  }
}

/** A block of the core's that is written where the one before it was. */
class CoreRun implements CheckRun {
  readonly most = MOST_INSTRUCTIONS;
  stop: StopKind | undefined;
  readonly #core: CoreExports;
  readonly #words: Uint32Array;
  readonly #translator: Translator;

  constructor(core: CoreExports, words: Uint32Array, translator: Translator) {
    this.#core = core;
    this.#words = words;
    this.#translator = translator;
  }

  begin(bytes: Uint8Array, base: Addr): void {
    this.#translator.beginRun(ARENA, base, bytes);
  }
  add(insn: CheckedInsn, at: number): void {
    this.#translator.addToRun(insn as Insn, at);
  }
  execute(): number {
    const count = this.#translator.endRun(ARENA);
    const why = this.#core.runBlock(ARENA, MOST_REPETITIONS);
    if (why === STOP_BLOCK_END) return count;
    this.stop = why === STOP_MACHINE ? undefined : KINDS[why];
    return MOST_REPETITIONS - this.#words[LEFT / 4];
  }
}

export class CheckCore extends CoreEngine implements CheckEngine {
  #core!: CoreExports;
  #words!: Uint32Array;
  #translator!: Translator;
  #run!: CoreRun;
  #memory!: MachineMemory;
  #context!: ExecutingContext;
  /** The context as it was made, and its vector registers. */
  #fresh!: Uint32Array;
  #freshVectors!: Uint32Array;
  #machine = new MachineInstructions();
  /** It may keep what an instruction wrote. */
  #hasMachineWork = false;

  override readonly allocate: SharedAllocator = (bytes) => {
    const memory = super.allocateMemory(bytes, 0, newMemory);
    const { core, buffer } = this.parts;
    this.#core = core;
    this.#words = new Uint32Array(buffer, 0, ARENA / 4);
    this.#translator = new Translator(buffer);
    this.#run = new CoreRun(core, this.#words, this.#translator);
    this.#memory = new MachineMemory(core, new DataView(buffer));
    this.#context = new ExecutingContext(this.#core, buffer);
    this.#words[VECTOR_OWNER / 4] = REGS;
    this.#fresh = this.#words.slice(REGS / 4, (REGS + CONTEXT_SIZE) / 4);
    this.#freshVectors = this.#words.slice(ZMM / 4, (ZMM + VECTOR_SIZE) / 4);
    return memory;
  };

  /** Of the memory that was allocated last. */
  get straightRun(): CheckRun {
    return this.#run;
  }

  readonly readsAhead = false;
  /** It refuses no kind of instruction. */
  cannot(): boolean {
    return false;
  }

  mapElsewhere(_zones: unknown, size: number, offset: number): void {
    this.map(KERNEL_PAGE, size, 3, offset);
    this.#words[ELSEWHERE / 4] = offset;
    this.#words[ELSEWHERE_SIZE / 4] = size;
  }

  /** Its memory is left to nobody: what it writes is not marked. */
  override close(): void {}

  /** MXCSR and control registers as well, that code may have loaded with numbers of nobody's. */
  reset(): void {
    this.#words.set(this.#fresh, REGS / 4);
    this.#words.set(this.#freshVectors, ZMM / 4);
    if (this.#hasMachineWork) this.#machine = new MachineInstructions();
    this.#hasMachineWork = false;
  }

  override newContext(): CpuContext {
    return this.#context;
  }

  step(_: CpuContext, insn: CheckedInsn, bytes: Uint8Array, at: number, base: Addr): StopKind | undefined {
    this.#translator.translateOne(ARENA, base, insn as Insn, bytes, at);
    const why = this.#core.runBlock(ARENA, MOST_REPETITIONS);
    if (why === STOP_MACHINE) return this.#doForCore(insn as Insn, base + BigInt(at));
    return why === STOP_BLOCK_END ? undefined : KINDS[why];
  }

  #doForCore(insn: Insn, rip: Addr): StopKind | undefined {
    const context = this.#context;
    this.#hasMachineWork = true;
    context.regs[REG.rip] = rip;
    const parts = { context, executed: 0n, memory: this.#memory };
    for (let repetition = 0; repetition < MOST_REPETITIONS; repetition++) {
      const outcome = this.#machine.perform(insn, parts);
      if (outcome !== 'done') return FAILED[outcome];
      if (!this.#machine.isRepeated) return undefined;
    }
    return 'budget';
  }
}
