// How many instructions of modules the core can execute, and which it has as undefined: every instruction of every
// section of code, one behind the other, is given to the core's translator, and to what the engine does beside it.
//
// Invariant: an instruction counts as executed only where the core does something else with it than #UD; ud2 and its
// like are #UD on every processor.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as iced from 'iced-x86';
import { ELF_MACHINE } from '../../../../src/arch/x86_64/module/relocation.ts';
import { SHF_EXECINSTR } from '../../../../src/elf/constants.ts';
import { parseElf } from '../../../../src/elf/elf_object.ts';
import { MODULE_FILE, unpack } from '../../../../src/elf/unpack.ts';
import { decodeAt, Insn } from '../../../../src/isa/decoder.ts';
import { Executor } from './executor.ts';
import { formKey, operandOf, repeatOf } from './form.ts';

export interface Coverage {
  readonly modules: number;
  readonly instructions: number;
  /** Bytes in sections of code that are no instruction. */
  readonly data: number;
  /** Instructions that the core does not execute, by the key of their form. */
  readonly lacking: Readonly<Record<string, number>>;
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
