// That a port has a room of its own: outside of src/arch/x86_64 (and src/isa, whose tables are the instruction set)
// nothing in src/ names a register, an opcode or an X86_ constant, nor asks the decoder itself.
//
// What a file needs of an instruction set it asks of src/arch/arch.ts, by `core.arch` or a parameter; what is missing there
// becomes a member. arch_exceptions.ts lists what the rules cannot tell from an instruction: its numbers only go down,
// and a new entry has to be no instruction.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { EXCEPTIONS } from './arch_exceptions.ts';
import { offences, RULES, type Rule } from './arch_rules.ts';

const SRC = join(import.meta.dirname, '../../src');
/** Where the instruction set may be named. */
const ROOMS = ['arch/x86_64/', 'isa/'];

const FILES = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts') && !ROOMS.some((room) => file.startsWith(room)))
  .sort();

const FOUND = new Map(FILES.map((file) => [file, offences(file, readFileSync(join(SRC, file), 'utf8'))]));

/** How often a file breaks a rule. */
const count = (file: string, rule: Rule): number =>
  (FOUND.get(file) ?? []).filter((one) => one.rule === rule).length;

describe('src/ outside of a port', () => {
  it.each(RULES)('has no %s but in listed places', (rule) => {
    const over = FILES.filter((file) => count(file, rule) > (EXCEPTIONS[file]?.[rule] ?? 0));
    const said = over.flatMap((file) =>
      (FOUND.get(file) ?? [])
        .filter((one) => one.rule === rule)
        .map((one) => `src/${file}:${one.line}: ${one.text}`),
    );
    expect(said).toEqual([]);
  });

  it('has a list of exceptions that is not longer than it must be', () => {
    const loose = Object.entries(EXCEPTIONS).flatMap(([file, allowed]) =>
      RULES.filter((rule) => allowed[rule] !== undefined && allowed[rule] > count(file, rule)).map(
        (rule) => `${file}: ${rule} ${allowed[rule]} -> ${count(file, rule)}`,
      ),
    );
    expect(loose).toEqual([]);
  });

  it('has a reason for each exception', () => {
    expect(Object.entries(EXCEPTIONS).filter(([, { why }]) => why === '')).toEqual([]);
  });
});

describe('the rules', () => {
  const rulesOf = (text: string): Rule[] => [...new Set(offences('machine/x.ts', text).map((o) => o.rule))];

  it.each([
    ['// rax, X86_TRAP_BP and 0xcc in a comment', []],
    ["const a = regs['rax'];", ['register']],
    ['const a = regs.orig_ax;', ['register']],
    ['const userRip = 0;', ['register']],
    ['const a = PT_R10;', ['register']],
    ['const a = `RIP: $' + '{b}`;', ['register']],
    ['const a = rec.ip + sp + flags;', []],
    ["const a = 'behind an ud2';", ['opcode']],
    ['this.int3Handler();', ['opcode']],
    ["const a = ['.ibt_endbr_seal', 'int3'];", []],
    ['const a = description;', []],
    ['const a = C.X86_TRAP_PF;', ['X86_ constant']],
    ["const a = 'R_X86_64_PC32';", ['X86_ constant']],
    ['const a = code[0] === 0xe8;', ['opcode']],
    ['const a = Uint8Array.of(0xcc);', ['opcode']],
    ['const a = (x & 0xff) === 3;', []],
    ["import { d } from '../isa/decoder.ts';", ['import of src/isa']],
    ["import type { D } from '../isa/decoder.ts';", ['import of src/isa']],
    ["import { X86_64 } from '../arch/x86_64/x86_64.ts';", []],
  ])('%s: %s', (text, rules) => {
    expect(rulesOf(text)).toEqual(rules);
  });

  it('let only the top of src/ name the port itself', () => {
    const text = "import { X86_64 } from '../arch/x86_64/x86_64.ts';";
    expect(offences('livepatch/x.ts', text).map((o) => o.rule)).toContain('X86_ constant');
  });
});
