// The forms that a VEX prefix begins; those of EVEX are in evex_forms.ts.

import * as iced from 'iced-x86';
import { decodeAt, Insn } from '../../../../src/isa/decoder.ts';
import { Executor } from './executor.ts';
import { type Form, formKey, infoOf, operandOf } from './form.ts';
import { prefixedForm } from './prefixed_form.ts';

/** ModRM of a register and of memory. */
const OPERANDS = [0xc1, 0x01];
/** With one more register, and without. */
const SOURCES = [0x40, 0x78];

/** Opcodes of groups 12 to 15 and 17: ModRM extends them. */
const isGroup = (map: number, opcode: number): boolean =>
  map === 1 ? (opcode >= 0x71 && opcode <= 0x73) || opcode === 0xae : map === 2 && opcode === 0xf3;
const EXTENSIONS = [0, 1, 2, 3, 4, 5, 6, 7];
const ANY = [0, 1];

interface Candidate {
  readonly map: number;
  readonly opcode: number;
  /** The byte of width, length and prefix, and of the register. */
  readonly last: number;
  readonly modrm: number;
}

function* candidates(): Generator<Candidate> {
  for (let map = 1; map <= 3; map++) {
    for (let opcode = 0; opcode < 0x100; opcode++) {
      for (let bits = 0; bits < 16; bits++) {
        for (const source of SOURCES) {
          const last = source | ((bits & 8) << 4) | (bits & 7);
          for (const operand of OPERANDS) {
            for (const ext of isGroup(map, opcode) ? EXTENSIONS : ANY)
              yield { map, opcode, last, modrm: operand | (ext << 3) };
          }
        }
      }
    }
  }
}

class VexCatalogue {
  readonly #found = new Map<string, Form>();
  readonly #exts = new Map<string, Set<number>>();
  readonly #bytes = new Uint8Array(16);
  readonly #insn = new Insn();
  readonly #theirs = new iced.Instruction();
  readonly #executor = new Executor();

  build(): Form[] {
    for (const candidate of candidates()) this.#look(candidate);
    return [...this.#found.values()].map((form) => ({
      ...form,
      ext: (this.#exts.get(form.key) as Set<number>).size > 1 ? undefined : form.ext,
    }));
  }

  #look(candidate: Candidate): void {
    const { map, opcode, last, modrm } = candidate;
    this.#bytes.set([0xc4, 0xe0 | map, last, opcode, modrm]);
    const insn = decodeAt(this.#bytes, 0, 0, this.#insn);
    if (insn.length === 0) return;
    const decoder = new iced.Decoder(64, this.#bytes, iced.DecoderOptions.None);
    decoder.decodeOut(this.#theirs);
    decoder.free();
    const { code, length } = this.#theirs;
    if (code === iced.Code.INVALID || length !== insn.length) return;
    this.#add(candidate, code, insn);
  }

  #add({ map, opcode, last, modrm }: Candidate, code: iced.Code, insn: Insn): void {
    const operand = operandOf(insn);
    const key = formKey(code, operand, undefined);
    const exts = this.#exts.get(key) ?? new Set();
    this.#exts.set(key, exts.add((modrm >> 3) & 7));
    const source = (last & 0x78) !== 0x78;
    if (this.#found.has(key) && !source) return;
    const { text, registers } = infoOf(code);
    const executed = this.#executor.executes(insn, this.#bytes, 0);
    const form = prefixedForm(insn, {
      code,
      wide: last >> 7 === 1,
      opcode: [opcode],
      ext: insn.hasModrm ? (modrm >> 3) & 7 : undefined,
      // Masks are part of what AVX-512 has.
      registers: /^k/.test(text) ? 'zmm' : registers,
      vex: { map, prefix: last & 3, long: (last & 4) !== 0, source, executed },
    });
    if (form) this.#found.set(key, form);
  }
}

export const vexForms = (): Form[] => new VexCatalogue().build();
