// Every form of instruction that 64-bit mode has in the maps of one byte, 0F, 0F38 and 0F3A: what kernels, modules and
// user programs can contain.
//
// Which opcodes there are, what follows them and which take LOCK or a repetition is asked of the project's own table
// (src/isa/opcodes.ts); iced-x86 names what is found, and tells forms that share an opcode apart. The table says nothing
// of what VEX begins: those forms are iced-x86's alone (vex_forms.ts).

import * as iced from 'iced-x86';
import { decodeAt, Insn, LOCKABLE } from '../../../../src/isa/decoder.ts';
import { FORM } from '../../../../src/isa/facts.ts';
import { FORM_0F, FORM_0F3A, FORM_0F38, FORM_ONE } from '../../../../src/isa/opcodes.ts';
import { evexForms } from './evex_forms.ts';
import { type Form, formKey, IMAGE, infoOf, nameOf, operandOf, type Repeat, repeatOf } from './form.ts';
import { vexForms } from './vex_forms.ts';

const MAPS: readonly { bytes: readonly number[]; form: (opcode: number) => number }[] = [
  { bytes: [], form: (opcode) => FORM_ONE[opcode] as number },
  { bytes: [0x0f], form: (opcode) => FORM_0F[opcode] as number },
  { bytes: [0x0f, 0x38], form: () => FORM_0F38 },
  { bytes: [0x0f, 0x3a], form: () => FORM_0F3A },
];
/** What may stand before an opcode and belong to it, or set its size. */
const BEFORE: readonly (readonly number[])[] = [[], [0x66], [0xf3], [0xf2], [0x66, 0xf2], [0x66, 0xf3]];
/** Their bytes begin something else. */
const ESCAPES = new Set([0x0f, 0x62, 0xc4, 0xc5]);

function* candidates(): Generator<{ bytes: number[]; wide: boolean; before: readonly number[] }> {
  for (const { bytes, form } of MAPS) {
    for (let opcode = 0; opcode < 0x100; opcode++) {
      if (form(opcode) & (FORM.INVALID | FORM.PREFIX) || (bytes.length === 0 && ESCAPES.has(opcode)))
        continue;
      if (bytes.length === 1 && (opcode === 0x38 || opcode === 0x3a)) continue;
      for (const before of BEFORE) {
        for (const wide of [false, true]) {
          const start = [...bytes, opcode];
          if ((form(opcode) & FORM.MODRM) === 0) yield { bytes: start, wide, before };
          else
            for (let modrm = 0; modrm < 0x100; modrm++) {
              // A register or [rax], [rcx], ... and what rm extends: no SIB byte, no displacement.
              if (modrm >> 6 === 3 || (modrm >> 6 === 0 && (modrm & 7) === 1))
                yield { bytes: [...start, modrm], wide, before };
            }
        }
      }
    }
  }
}

class Catalogue {
  readonly #found = new Map<string, Form>();
  readonly #insn = new Insn();
  readonly #rows = new Map<string, Set<number>>();

  build(): Form[] {
    for (const candidate of candidates()) this.#look(candidate);
    return [...this.#found.values()].map((form) => this.#withFixedBits(form));
  }

  #look({ bytes, wide, before }: { bytes: number[]; wide: boolean; before: readonly number[] }): void {
    const all = Uint8Array.from([...before, ...(wide ? [0x48] : []), ...bytes, ...new Array(10).fill(0)]);
    const insn = decodeAt(all, 0, 0, this.#insn);
    if (insn.length === 0 || insn.vex) return;
    const decoder = new iced.Decoder(64, all, iced.DecoderOptions.None);
    const theirs = decoder.decode();
    const code = theirs.code;
    const length = theirs.length;
    theirs.free();
    decoder.free();
    if (code === iced.Code.INVALID || length !== insn.length) return;
    const repeats: Repeat[] = [repeatOf(insn)];
    if (insn.facts & LOCKABLE && insn.hasModrm && insn.mod !== 3) repeats.push('lock');
    for (const repeat of repeats) this.#add({ bytes, wide, before }, code, repeat, insn);
  }

  #add(
    { bytes, wide, before }: { bytes: number[]; wide: boolean; before: readonly number[] },
    code: iced.Code,
    repeat: Repeat,
    insn: Insn,
  ): void {
    const operand = operandOf(insn);
    const key = formKey(code, operand, repeat);
    const modrm = insn.hasModrm ? (bytes.at(-1) as number) : undefined;
    const rows = this.#rows.get(key) ?? new Set();
    this.#rows.set(key, rows.add(modrm ?? -1));
    if (this.#found.has(key)) return;
    const opcode = insn.hasModrm ? bytes.slice(0, -1) : bytes;
    const info = infoOf(code);
    const name = nameOf(info.text, operand, repeat);
    this.#found.set(key, {
      key,
      name,
      mnemonic: iced.Mnemonic[info.mnemonic].toLowerCase(),
      code,
      operand,
      repeat,
      prefixes: [...(repeat === 'lock' ? [0xf0] : []), ...before],
      wide,
      opcode,
      ext: modrm === undefined ? undefined : (modrm >> 3) & 7,
      rm: modrm === undefined ? undefined : modrm & 7,
      inOpcode: info.inOpcode,
      immediate: insn.immSize,
      registers: IMAGE.test(name) ? 'xmm' : info.registers,
      facts: insn.facts,
      vex: undefined,
    });
  }

  /** Bits of ModRM that are not always the same belong to no opcode. */
  #withFixedBits(form: Form): Form {
    const rows = [...(this.#rows.get(form.key) as Set<number>)];
    const varies = (of: (modrm: number) => number) => new Set(rows.map(of)).size > 1;
    return {
      ...form,
      ext: varies((modrm) => (modrm >> 3) & 7) ? undefined : form.ext,
      rm: form.operand !== 'register' || varies((modrm) => modrm & 7) ? undefined : form.rm,
    };
  }
}

export const FORMS: readonly Form[] = [...new Catalogue().build(), ...vexForms(), ...evexForms()];
