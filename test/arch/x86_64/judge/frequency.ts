// Which forms of instruction the modules of a kernel contain, and how often.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as iced from 'iced-x86';
import { ELF_MACHINE } from '../../../../src/arch/x86_64/module/relocation.ts';
import { parseElf } from '../../../../src/elf/elf_object.ts';
import { MODULE_FILE, unpack } from '../../../../src/elf/unpack.ts';
import { decodeAt, Insn } from '../../../../src/isa/decoder.ts';
import { formKey, operandOf, type Repeat, repeatOf } from './form.ts';

const SHF_EXECINSTR = 4;
const REPEATS: readonly Repeat[] = [undefined, 'lock', 'repe', 'repne'];
const OPERANDS = ['none', 'register', 'memory'] as const;

export interface Counted {
  /** By the key of the form, the most frequent first. */
  readonly counts: ReadonlyMap<string, number>;
}

class Counter {
  readonly #counts = new Map<number, number>();
  readonly #insn = new Insn();
  readonly #theirs = new iced.Instruction();

  count(bytes: Uint8Array): void {
    const insn = this.#insn;
    const decoder = new iced.Decoder(64, bytes, iced.DecoderOptions.None);
    for (let at = 0; at < bytes.length; ) {
      decodeAt(bytes, at, 0, insn);
      decoder.position = at;
      decoder.decodeOut(this.#theirs);
      const code = this.#theirs.code;
      if (code === iced.Code.INVALID || insn.length === 0) {
        at++;
        continue;
      }
      const key = code * 16 + OPERANDS.indexOf(operandOf(insn)) * 4 + REPEATS.indexOf(repeatOf(insn));
      this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
      at += insn.length;
    }
    decoder.free();
  }

  get counts(): Map<string, number> {
    const named = [...this.#counts].map(([key, count]): [string, number] => [
      formKey(key >> 4, OPERANDS[(key >> 2) & 3], REPEATS[key & 3]),
      count,
    ]);
    return new Map(named.sort((a, b) => b[1] - a[1]));
  }
}

/** Of every section of code of every module below a folder. */
export function countForms(folder: string): Counted {
  const counter = new Counter();
  const files = (readdirSync(folder, { recursive: true }) as string[]).filter((name) =>
    MODULE_FILE.test(name),
  );
  for (const file of files.sort()) {
    const elf = parseElf(unpack(readFileSync(join(folder, file)), file), file, ELF_MACHINE);
    for (const section of elf.sections) if (section.flags & SHF_EXECINSTR) counter.count(elf.data(section));
  }
  return { counts: counter.counts };
}

/** One line a form, what corpus.ts reads: how often, and its key. */
export const frequencyList = ({ counts }: Counted): string =>
  [...counts].map(([key, count]) => `${count} ${key}\n`).join('');
