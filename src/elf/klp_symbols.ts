// Which symbols a livepatch uses that are not exported to it: the list that tells their objects and positions.
// Formats: `OBJECT.SYMBOL[,POSITION]` a line; and that of the kernel's proposed klp-convert, Symbols.list, where
// `*OBJECT` begins the names of one object.

import { ElfError } from './error.ts';

/** Where a symbol is: vmlinux or a module, and which of those of its name, from 1; 0 when there is only one. */
export interface KlpSymbol {
  readonly object: string;
  readonly name: string;
  readonly sympos: number;
  /** From a list of all that an object has. */
  readonly catalogued?: true;
}

/** MODULE_NAME_LEN and KSYM_NAME_LEN, less the NUL: what the kernel's sscanf() of a name reads. */
const OBJECT = /^[A-Za-z0-9_]{1,55}$/;
const SYMBOL = /^[^,\s]{1,511}$/;

/** The symbols of a list, by name: a name may be in several objects. @throws ElfError with the line */
export function parseKlpSymbols(text: string, file: string): ReadonlyMap<string, readonly KlpSymbol[]> {
  const found = new Map<string, KlpSymbol[]>();
  let group: string | undefined;
  for (const [i, raw] of text.split('\n').entries()) {
    const line = raw.replace(/(^|\s)#.*$/, '').trim();
    const fail = (reason: string) => new ElfError(file, `line ${i + 1}: ${reason}`);
    if (line === '' || line === 'klp-convert-symbol-data.0.1') continue;
    if (line.startsWith('*')) {
      group = moduleName(line.slice(1));
      if (!OBJECT.test(group)) throw fail(`'${line.slice(1)}' is not the name of an object`);
      continue;
    }
    const parts = (group === undefined ? /^([^.]+)\.(.+?)(?:,(\d+))?$/ : /^()(.+?)(?:,(\d+))?$/).exec(line);
    if (!parts) throw fail(`'${line}' is not OBJECT.SYMBOL,POSITION`);
    const object = group ?? moduleName(parts[1]);
    const symbol = {
      object,
      name: parts[2],
      sympos: Number(parts[3] ?? 0),
      ...(group === undefined ? {} : ({ catalogued: true } as const)),
    };
    if (!OBJECT.test(object)) throw fail(`'${object}' is not the name of an object`);
    if (!SYMBOL.test(symbol.name)) throw fail(`'${symbol.name}' is not the name of a symbol`);
    found.set(symbol.name, [...(found.get(symbol.name) ?? []), symbol]);
  }
  return found;
}

/** As kbuild names a module: the file's dashes are underscores. */
function moduleName(text: string): string {
  return text.trim().replace(/\.ko$/, '').replaceAll('-', '_');
}

/** `.klp.sym.OBJECT.SYMBOL,POSITION` */
export function klpSymbolName({ object, name, sympos }: KlpSymbol): string {
  return `.klp.sym.${object}.${name},${sympos}`;
}
