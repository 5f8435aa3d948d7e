// Which forms of instruction the modules of a kernel contain, and how often.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as iced from 'iced-x86';
import { ELF_MACHINE } from '../../../../src/arch/x86_64/module/relocation.ts';
import { parseElf } from '../../../../src/elf/elf_object.ts';
import { decodeAt, Insn } from '../../../../src/isa/decoder.ts';
import { FORMS, formKey, operandOf, type Repeat, repeatOf } from './forms.ts';

const SHF_EXECINSTR = 4;
const REPEATS: readonly Repeat[] = [undefined, 'lock', 'repe', 'repne'];
const OPERANDS = ['none', 'register', 'memory'] as const;

export interface Counted {
  /** By the key of the form, the most frequent first. */
  readonly counts: ReadonlyMap<string, number>;
  readonly instructions: number;
  /** Bytes that are no instruction: data among code, or one that only other processors have. */
  readonly undecoded: number;
}

class Counter {
  readonly #counts = new Map<number, number>();
  readonly #insn = new Insn();
  readonly #theirs = new iced.Instruction();
  instructions = 0;
  undecoded = 0;

  count(bytes: Uint8Array): void {
    const insn = this.#insn;
    const decoder = new iced.Decoder(64, bytes, iced.DecoderOptions.None);
    for (let at = 0; at < bytes.length; ) {
      decodeAt(bytes, at, 0, insn);
      decoder.position = at;
      decoder.decodeOut(this.#theirs);
      const code = this.#theirs.code;
      if (code === iced.Code.INVALID || insn.length === 0) {
        this.undecoded++;
        at++;
        continue;
      }
      const key = code * 16 + OPERANDS.indexOf(operandOf(insn)) * 4 + REPEATS.indexOf(repeatOf(insn));
      this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
      this.instructions++;
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
  const files = (readdirSync(folder, { recursive: true }) as string[]).filter((name) => name.endsWith('.ko'));
  for (const file of files.sort()) {
    const elf = parseElf(readFileSync(join(folder, file)), file, ELF_MACHINE);
    for (const section of elf.sections) if (section.flags & SHF_EXECINSTR) counter.count(elf.data(section));
  }
  return { counts: counter.counts, instructions: counter.instructions, undecoded: counter.undecoded };
}

/** One line a form: how often, the share of all up to and with it, what it is. */
export function frequencyList({ counts, instructions, undecoded }: Counted): string {
  const names = new Map(FORMS.map((form) => [form.key, form.name]));
  let sum = 0;
  const lines = [...counts].map(([key, count]) => {
    sum += count;
    const share = ((100 * sum) / instructions).toFixed(4).padStart(8);
    return `${String(count).padStart(9)} ${share} % ${names.get(key) ?? '(none of the catalogue)'}  [${key}]`;
  });
  return [
    `${instructions} instructions, ${counts.size} forms, ${undecoded} bytes that are none`,
    ...lines,
    '',
  ].join('\n');
}
