// How many instructions of modules the core can execute, and which it has as undefined: every instruction of every
// section of code, one behind the other, is given to the core's translator, and to what the engine does beside it.
//
// Invariant: an instruction counts as executed only where the core does something else with it than #UD; ud2 and its
// like are #UD on every processor.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as iced from 'iced-x86';
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
import { ELF_MACHINE } from '../../../../src/arch/x86_64/module/relocation.ts';
import { SHF_EXECINSTR } from '../../../../src/elf/constants.ts';
import { parseElf } from '../../../../src/elf/elf_object.ts';
import { MODULE_FILE, unpack } from '../../../../src/elf/unpack.ts';
import { decodeAt, FLOW_UD2, Insn } from '../../../../src/isa/decoder.ts';
import { formKey, operandOf, repeatOf } from './form.ts';

/** Where a block is written, and a context and memory of nobody's lie. */
const SCRATCH = 0x800000;
const BLOCK = 0x700000;
const CONTEXT = 0x600000;
const MEMORY = 0x500000;

export interface Coverage {
  readonly modules: number;
  readonly instructions: number;
  /** Bytes in sections of code that are no instruction. */
  readonly data: number;
  /** Instructions that the core does not execute, by the key of their form. */
  readonly lacking: Readonly<Record<string, number>>;
}

/** Every address is the same memory. */
const NOBODYS = {
  reach: () => MEMORY,
  observeRead: () => 0n,
  observeWrite: () => undefined,
} as unknown as CoreExports;

/** Whether the core executes an instruction. */
class Executor {
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

class Counter {
  readonly #executor = new Executor();
  readonly #insn = new Insn();
  readonly lacking = new Map<string, number>();
  instructions = 0;
  data = 0;

  count(section: Uint8Array): void {
    const insn = this.#insn;
    for (let at = 0; at < section.length; at += insn.length || 1) {
      decodeAt(section, at, 0, insn);
      if (insn.length > 0 && this.#executor.executes(insn, section, at)) this.instructions++;
      else this.#lack(section, at);
    }
  }

  #lack(section: Uint8Array, at: number): void {
    const insn = this.#insn;
    const decoder = new iced.Decoder(64, section.subarray(at, at + 16), iced.DecoderOptions.None);
    const theirs = decoder.decode();
    const { code } = theirs;
    theirs.free();
    decoder.free();
    if (code === iced.Code.INVALID || insn.length === 0) {
      this.data += insn.length || 1;
      return;
    }
    this.instructions++;
    const key = formKey(code, operandOf(insn), repeatOf(insn));
    this.lacking.set(key, (this.lacking.get(key) ?? 0) + 1);
  }
}

/** Of all modules below a folder, packed or not. */
export function coverageOf(folder: string): Coverage {
  const counter = new Counter();
  const files = (readdirSync(folder, { recursive: true }) as string[]).filter((name) =>
    MODULE_FILE.test(name),
  );
  for (const file of files.sort()) {
    const elf = parseElf(unpack(readFileSync(join(folder, file)), file), file, ELF_MACHINE);
    for (const section of elf.sections) if (section.flags & SHF_EXECINSTR) counter.count(elf.data(section));
  }
  const { instructions, data } = counter;
  const lacking = Object.fromEntries([...counter.lacking].sort((a, b) => b[1] - a[1]));
  return { modules: files.length, instructions, data, lacking };
}
