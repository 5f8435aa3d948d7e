// Can each function be patched? As klp_find_object_symbol(), klp_get_ftrace_location() and ftrace look for it, and what of it
// lives elsewhere.

import type { CodeObject } from './code_object.ts';
import type { Finding } from './finding.ts';
import type { KernelSymbol } from './kernel_code.ts';
import type { NewFunction } from './patch_file.ts';

/** Where a function to be replaced is; undefined where it is not told. */
export interface Located {
  readonly object: CodeObject;
  readonly wanted: NewFunction;
  readonly symbol: KernelSymbol | undefined;
}

const hex = (n: number): string => `0x${n.toString(16)}`;
const address = ({ start }: KernelSymbol): string => `ffffffff${start.toString(16).padStart(8, '0')}`;

export function locate(object: CodeObject, wanted: NewFunction): Located {
  const all = object.matches(wanted.name);
  const one = wanted.sympos === 0 ? (all.length === 1 ? all[0] : undefined) : all[wanted.sympos - 1];
  return { object, wanted, symbol: one };
}

export function patchable({ object, wanted, symbol }: Located): Finding[] {
  const finding = (weight: Finding['weight'], text: string, lines: readonly string[] = []): Finding => ({
    part: 'patchable',
    weight,
    about: wanted.name,
    text,
    ...(lines.length > 0 ? { lines } : {}),
  });
  const all = object.matches(wanted.name);
  const places = all.map((one, i) => `${i + 1}: ${address(one)}, ${one.size} bytes`);
  if (!symbol) {
    if (all.length === 0) return [finding('bad', ...absent(object, wanted.name))];
    if (wanted.sympos === 0)
      return [
        finding('bad', `${all.length} functions of ${object.name} have that name, and no sympos`, places),
      ];
    return [finding('bad', `sympos is ${wanted.sympos}, and ${object.name} has ${all.length}`, places)];
  }
  const which = all.length === 1 ? 'found once' : `number ${wanted.sympos} of ${all.length}`;
  const where = `${which} in ${object.name}, at ${address(symbol)}, ${symbol.size} bytes`;
  const others = all.length === 1 ? [] : places;
  if (object.isInit(symbol)) return [finding('bad', `${where}: __init, gone when it has run`, others)];
  const site = object.site(symbol);
  if (site === undefined) {
    const why = symbol.size < 5 ? 'too small for one' : 'notrace, or compiled without';
    return [finding('bad', `${where}: no fentry site (${why})`, others)];
  }
  const at = site === 0 ? 'at its start' : `at +${hex(site)}`;
  const weak = /w/i.test(symbol.type)
    ? [finding('told', 'it is weak: another one of that name would have taken its place')]
    : [];
  return [
    finding('good', `${where}, fentry site ${at}`, others),
    ...weak,
    ...parts(object, wanted.name, finding),
  ];
}

function absent(object: CodeObject, name: string): [string, string[]] {
  const near = object.derived(name).map(({ name: other, size }) => `${other}, ${size} bytes`);
  if (near.length === 0) return [`${object.name} has no function of that name`, []];
  return [`${object.name} has no function of that name; what the compiler made of it has others`, near];
}

const MEANING: readonly (readonly [RegExp, string])[] = [
  [
    /\.cold(\.\d+)?$/,
    'is code of it that lies elsewhere: the stack check compares with the function itself, and takes who stands there for switched',
  ],
  [
    /\.part\.\d+/,
    'is a part of it with a place of its own: it stays as it is, and who calls it has the old one',
  ],
  [
    /\.(isra|constprop)\.\d+/,
    'is a copy of it for some of its callers: it stays as it is, and they have the old one',
  ],
];

function parts(
  object: CodeObject,
  name: string,
  finding: (weight: Finding['weight'], text: string) => Finding,
): Finding[] {
  return object.derived(name).map((part) => {
    const [, meaning = 'is made of it, and stays as it is'] =
      MEANING.find(([pattern]) => pattern.test(part.name)) ?? [];
    return finding('told', `${part.name} (${part.size} bytes) ${meaning}`);
  });
}
