// What counts as knowing an instruction set: rules over the tokens of a file, so that comments are free to say what
// they like.

import { dirname, join } from 'node:path';

export const RULES = ['register', 'opcode', 'X86_ constant', 'import of src/isa'] as const;
export type Rule = (typeof RULES)[number];

export interface Offence {
  readonly rule: Rule;
  readonly line: number;
  readonly text: string;
}

const GENERAL = ['ax', 'bx', 'cx', 'dx', 'si', 'di', 'bp'];
const NUMBERED = [8, 9, 10, 11, 12, 13, 14, 15].map((n) => `r${n}`);
/** `ip`, `sp` and `flags` are words of every architecture. */
const REGISTERS = new Set([
  ...GENERAL.flatMap((name) => [name, `r${name}`, `e${name}`]),
  ...NUMBERED,
  ...['rsp', 'rip', 'rflags', 'eflags', 'esp', 'eip', 'cr0', 'cr2', 'cr3', 'cr4', 'dr6', 'dr7', 'cs', 'ss'],
]);
/** Opcodes by name, as constants are called. */
const OPCODES =
  /^(CALL|JMP|JMP8|JMP32|JCC|INT3|RET|NOP[1-9]?|HLT|UD2|LEN_UD2|ENDBR64|LOCK|CALL_INSN_OPCODE)$/;
/** Instructions by name that nothing else is called by. */
const MNEMONICS = new Set([
  ...['int3', 'iret', 'iretq', 'ud2', 'endbr', 'endbr64', 'hlt', 'swapgs', 'sysret', 'stac', 'clac'],
  ...['rdmsr', 'wrmsr', 'rdtsc', 'vmresume', 'vmlaunch', 'lfence', 'mfence', 'sfence', 'invlpg', 'xsave'],
]);
/** Names of the kernel's, for what is no register and no instruction, in which one is a part. */
const BY_CHANCE = /^(si_(meminfo|swapinfo|mem_extra)|ibt_endbr_seal|hlt_play_dead)$/;
/** By itself the name of an event in traces and reports, which a port's breakpoint is whatever it is called. */
const EVENT = 'int3';
/** Which folders may name the port as a whole, to hand it on. */
const MAY_CHOOSE = /^(machine|check|cli|scenario|compare|vet)\/|^index\.ts$/;
/** Whose business the decoder's tables are: nobody's; the public face hands the disassembler on. */
const DECODER_USERS = /^index\.ts$/;

interface Token {
  readonly kind: 'word' | 'text' | 'number' | 'sign';
  readonly text: string;
  readonly at: number;
}

const TOKEN =
  /(?<skip>\s+|\/\/.*|\/\*[\s\S]*?\*\/)|(?<word>#?[A-Za-z_$][\w$]*)|(?<number>\d[\w.]*)|'(?<single>(?:[^'\\\n]|\\.)*)'|"(?<double>(?:[^"\\\n]|\\.)*)"|(?<sign>[!=]==?|=>|[\s\S])/y;
const TEMPLATE = /(?:[^`\\$]|\\.|\$(?!\{))*(?<end>`|\$\{)/y;
const REGEXP = /\/(?:[^/\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/[a-z]*/y;
/** Behind these a slash divides. */
const ENDS_VALUE = /^[)\]}]$/;

/** The tokens of TypeScript, as far as the rules care: no whitespace, no comments, no regular expressions. */
function tokensOf(source: string): Token[] {
  const tokens: Token[] = [];
  /** One for each template that an expression is open in: how many braces are open in that expression. */
  const open: number[] = [];
  let at = 0;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    return pattern.exec(source);
  };
  const template = (): void => {
    const found = take(TEMPLATE);
    if (!found) throw new Error(`a template that does not end, at ${at}`);
    tokens.push({ kind: 'text', text: found[0].slice(0, -(found.groups?.end.length ?? 0)), at });
    at += found[0].length;
    if (found.groups?.end === '${') open.push(0);
  };
  while (at < source.length) {
    const last = tokens.at(-1);
    const divides =
      last !== undefined && (last.kind !== 'sign' || ENDS_VALUE.test(last.text)) && last.text !== 'return';
    const found = take(TOKEN);
    if (!found) throw new Error(`no token at ${at}`);
    const { skip, word, number, single, double, sign } = found.groups as Record<string, string | undefined>;
    const pattern = sign === '/' && !divides ? take(REGEXP) : null;
    if (pattern) {
      at += pattern[0].length;
      continue;
    }
    const start = at;
    at += found[0].length;
    if (skip !== undefined) continue;
    if (word !== undefined) tokens.push({ kind: 'word', text: word.replace(/^#/, ''), at: start });
    else if (number !== undefined) tokens.push({ kind: 'number', text: number, at: start });
    else if (sign === undefined) tokens.push({ kind: 'text', text: single ?? double ?? '', at: start });
    else if (sign === '`') template();
    else if (sign === '}' && open.at(-1) === 0) {
      open.pop();
      template();
    } else {
      if (open.length > 0 && (sign === '{' || sign === '}')) open[open.length - 1] += sign === '{' ? 1 : -1;
      tokens.push({ kind: 'sign', text: sign, at: start });
    }
  }
  return tokens;
}

/** The words of an identifier: PT_R10, userRip, orig_ax. */
function wordsOf(name: string): string[] {
  return name
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .toLowerCase()
    .split('_');
}

const namesInsn = (name: string): boolean =>
  name !== EVENT && !BY_CHANCE.test(name) && wordsOf(name).some((word) => MNEMONICS.has(word));
const namesRegister = (name: string): boolean =>
  !BY_CHANCE.test(name) && wordsOf(name).some((word) => REGISTERS.has(word));

function ofWord(file: string, name: string): Rule[] {
  const rules: Rule[] = [];
  if (name === 'X86_64' ? !MAY_CHOOSE.test(file) : name.includes('X86_')) rules.push('X86_ constant');
  if (namesRegister(name)) rules.push('register');
  if (OPCODES.test(name) || (!name.includes('X86_') && namesInsn(name))) rules.push('opcode');
  return rules;
}

function ofText(text: string): Rule[] {
  const rules: Rule[] = [];
  if (text.includes('X86_')) rules.push('X86_ constant');
  const words = text.match(/\w+/g) ?? [];
  // In prose `ss` or `di` may be anything; a string that is one word, or a name in capitals, is a register.
  const names = words.filter((word) => words.length === 1 || /^[A-Z0-9_]+$/.test(word) || /^[re]/.test(word));
  if (names.some(namesRegister)) rules.push('register');
  if (words.some(namesInsn)) rules.push('opcode');
  return rules;
}

function ofImport(file: string, from: string): Rule[] {
  return join(dirname(file), from).startsWith('isa/') && !DECODER_USERS.test(file)
    ? ['import of src/isa']
    : [];
}

/** A byte in hexadecimal that is compared, listed or handed on; masks of a byte are not. */
function isOpcode(before: string, byte: string, after: string): boolean {
  if (!/^0x[0-9a-f]{2}$/i.test(byte) || /^0x(ff|0f|f0|7f|80)$/i.test(byte)) return false;
  if ([before, after].some((sign) => /^[!=]==?$/.test(sign)) || before === 'case') return true;
  return /^[[(,]$/.test(before) && /^[\]),]$/.test(after);
}

function rulesBroken(file: string, tokens: readonly Token[], i: number): Rule[] {
  const { kind, text } = tokens[i];
  const before = tokens[i - 1]?.text ?? '';
  if (kind === 'word') return ofWord(file, text);
  if (kind === 'text') return before === 'from' || before === 'import' ? ofImport(file, text) : ofText(text);
  return kind === 'number' && isOpcode(before, text, tokens[i + 1]?.text ?? '') ? ['opcode'] : [];
}

/** Every place of a file that knows the instruction set. @param file relative to src/ */
export function offences(file: string, source: string): Offence[] {
  const lines = source.split('\n');
  const tokens = tokensOf(source);
  return tokens.flatMap(({ at }, i) =>
    rulesBroken(file, tokens, i).map((rule) => {
      const line = source.slice(0, at).split('\n').length;
      return { rule, line, text: lines[line - 1].trim() };
    }),
  );
}
