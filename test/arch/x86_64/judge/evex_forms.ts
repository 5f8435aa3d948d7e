// The forms that an EVEX prefix begins and that the core executes: what modules contain of AVX-512, and their siblings.

import * as iced from 'iced-x86';
import { decodeAt, Insn } from '../../../../src/isa/decoder.ts';
import { Executor } from './executor.ts';
import { type Form, formKey, operandOf } from './form.ts';
import { prefixedForm } from './prefixed_form.ts';

/** ModRM of a register and of memory. */
const OPERANDS = [0xc1, 0x01];
/** With one more register, and without. */
const SOURCES = [0x44, 0x7c];
const EXTENSIONS = [0, 1, 2, 3, 4, 5, 6, 7];

const isGroup = (map: number, opcode: number): boolean => map === 1 && opcode >= 0x71 && opcode <= 0x73;

interface Candidate {
  readonly map: number;
  readonly opcode: number;
  /** The bytes of width, register and prefix, and of the length. */
  readonly second: number;
  readonly third: number;
  readonly modrm: number;
}

function* candidates(): Generator<Candidate> {
  for (let map = 1; map <= 3; map++) {
    for (let opcode = 0; opcode < 0x100; opcode++) {
      for (let bits = 0; bits < 24; bits++) {
        const third = ((bits >> 3) << 5) | 8;
        for (const source of SOURCES) {
          const second = source | ((bits & 4) << 5) | (bits & 3);
          for (const operand of OPERANDS) {
            for (const ext of isGroup(map, opcode) ? EXTENSIONS : [0])
              yield { map, opcode, second, third, modrm: operand | (ext << 3) };
          }
        }
      }
    }
  }
}

class EvexCatalogue {
  readonly #found = new Map<string, Form>();
  readonly #bytes = new Uint8Array(16);
  readonly #insn = new Insn();
  readonly #theirs = new iced.Instruction();
  readonly #executor = new Executor();

  build(): Form[] {
    for (const candidate of candidates()) this.#look(candidate);
    return [...this.#found.values()];
  }

  #look(candidate: Candidate): void {
    const { map, opcode, second, third, modrm } = candidate;
    this.#bytes.set([0x62, 0xf0 | map, second, third, opcode, modrm]);
    const insn = decodeAt(this.#bytes, 0, 0, this.#insn);
    if (insn.length === 0 || !this.#executor.executes(insn, this.#bytes, 0)) return;
    const decoder = new iced.Decoder(64, this.#bytes, iced.DecoderOptions.None);
    decoder.decodeOut(this.#theirs);
    decoder.free();
    const { code, length } = this.#theirs;
    if (code !== iced.Code.INVALID && length === insn.length) this.#add(candidate, code, insn);
  }

  #add({ map, opcode, second, third, modrm }: Candidate, code: iced.Code, insn: Insn): void {
    const operand = operandOf(insn);
    const key = formKey(code, operand, undefined);
    const source = (second & 0x78) !== 0x78;
    if (this.#found.has(key) && !source) return;
    const form = prefixedForm(insn, {
      code,
      wide: second >> 7 === 1,
      opcode: [opcode],
      ext: isGroup(map, opcode) ? (modrm >> 3) & 7 : undefined,
      registers: 'zmm',
      vex: { map, prefix: second & 3, long: false, source, length: third >> 5, executed: true },
    });
    if (form) this.#found.set(key, form);
  }
}

export const evexForms = (): Form[] => new EvexCatalogue().build();
