// Mutants of the guest's own text (asm/): one instruction dropped, two exchanged, a condition turned round, an offset eight bytes on.
//
// Invariant: what is proposed is another program for the assembler; whether it can be told from the one before is the tests' to say.
// Of two instructions that share no register, no flags and no memory an exchange would change nothing: it is not proposed.

export interface AsmMutant {
  /** From the root of the checkout. */
  readonly file: string;
  /** From 1. */
  readonly line: number;
  readonly within: string;
  readonly what: 'drop' | 'exchange' | 'condition' | 'offset';
  readonly before: string;
  readonly after: string;
  readonly text: string;
}

/** What a list of known mutants goes by: no numbers of lines, which change. */
export const asmKey = ({ file, within, what, before, after }: AsmMutant): string =>
  `${file}: ${within}: ${what}: ${before} -> ${after}`;

const TURNED: Readonly<Record<string, string>> = {
  e: 'ne',
  z: 'nz',
  b: 'ae',
  c: 'nc',
  be: 'a',
  l: 'ge',
  le: 'g',
  s: 'ns',
  o: 'no',
  p: 'np',
};
const CONDITIONS = new Map([
  ...Object.entries(TURNED),
  ...Object.entries(TURNED).map(([a, b]) => [b, a] as const),
]);
const CONDITIONAL = /^(j|set|cmov)(\w{1,2})$/;
const SETS_FLAGS =
  /^(cmp|test|add|sub|inc|dec|neg|and|or|xor|sh[lr]|sar|bt\w?|imul|popfq|xadd|cmpxchg|lock|sti|cli)$/;
const LEAVES = /^(j\w+|call|ret|iretq|int3|ud2|syscall|swapgs|hlt|loop)$/;

interface Line {
  readonly index: number;
  readonly name: string;
  readonly operands: string;
}

/** All mutants of a source, from its beginning on. */
export function asmMutants(file: string, source: string): AsmMutant[] {
  const lines = source.split('\n');
  const mutants: AsmMutant[] = [];
  const propose = (line: Line, what: AsmMutant['what'], after: readonly string[], replaced = 1): void => {
    const changed = [...lines];
    const before = changed.splice(line.index, replaced, ...after);
    const short = (some: readonly string[]): string =>
      some.map((one) => withoutComment(one).replace(/\s+/g, ' ')).join('; ');
    mutants.push({
      ...{ file, line: line.index + 1, within: functionAt(lines, line.index), what },
      ...{ before: short(before), after: short(after), text: changed.join('\n') },
    });
  };
  const all = lines.map((_, index) => instructionAt(lines, index));
  all.forEach((one, i) => {
    if (!one) return;
    propose(one, 'drop', []);
    const next = all[i + 1];
    if (next && matters(one, next)) propose(one, 'exchange', [lines[i + 1], lines[i]], 2);
    const [, start, condition] = CONDITIONAL.exec(one.name) ?? [];
    const turned = condition === undefined ? undefined : CONDITIONS.get(condition);
    if (turned !== undefined && one.name !== 'jmp')
      propose(one, 'condition', [lines[i].replace(one.name, start + turned)]);
    const moved = one.operands.replace(/\[([^\]]*[a-z_+][^\]]*)\]/, '[$1+8]');
    if (moved !== one.operands && !/\[rip\b|^offset/.test(one.operands))
      propose(one, 'offset', [lines[i].replace(one.operands, moved)]);
  });
  return mutants;
}

const withoutComment = (line: string): string => line.replace(/\s*#.*$/, '').trim();

/** An instruction of a function; undefined for labels, directives, macros and data. */
function instructionAt(lines: readonly string[], index: number): Line | undefined {
  const [, name, operands = ''] =
    /^ {4}([a-z][a-z0-9]*)(?: +(.*))?$/.exec(lines[index].replace(/\s*#.*$/, '')) ?? [];
  return name === undefined || functionAt(lines, index) === '' ? undefined : { index, name, operands };
}

/** The function or macro around a line. */
function functionAt(lines: readonly string[], index: number): string {
  for (let i = index; i >= 0; i--) {
    const begins = /^(?:SYM_(?:FUNC|CODE)_START\w*\((\\?\w+)\)|\.macro (\w+))/.exec(lines[i]);
    if (begins) return begins[1] ?? begins[2];
    if (i < index && /^(SYM_(FUNC|CODE)_END|\.endm|SYM_DATA_START)/.test(lines[i])) return '';
  }
  return '';
}

const REGISTER = /\b(r[a-d]x|r[sd]i|r[bs]p|e[a-d]x|e[sd]i|e[bs]p|[a-d][lx]|r\d+[dwb]?)\b/g;
const whole = (register: string): string =>
  register
    .replace(/^e/, 'r')
    .replace(/^([a-d])[lx]$/, 'r$1x')
    .replace(/^(r\d+)[dwb]$/, '$1');
const registersOf = (operands: string): Set<string> =>
  new Set([...operands.matchAll(REGISTER)].map(([name]) => whole(name)));

/** Whether the order of two instructions can be told. */
function matters(a: Line, b: Line): boolean {
  if (LEAVES.test(a.name) || LEAVES.test(b.name)) return true;
  if (SETS_FLAGS.test(a.name) && CONDITIONAL.test(b.name)) return true;
  const changes = [a, b].map((one) => registersOf(one.operands.split(',')[0].replace(/\[.*\]/, '')));
  const uses = [a, b].map((one) => registersOf(one.operands));
  const stack = [a, b].map(({ name }) => /^(push|pop)/.test(name));
  if (stack[0] && stack[1]) return a.operands !== b.operands;
  if ([...changes[0]].some((name) => uses[1].has(name)) || [...changes[1]].some((name) => uses[0].has(name)))
    return true;
  const stores = [a, b].map((one) => /^[^,]*\[/.test(one.operands) && !/^(cmp|test)$/.test(one.name));
  const memory = [a, b].map((one) => one.operands.includes('['));
  return memory[0] && memory[1] && (stores[0] || stores[1]);
}
