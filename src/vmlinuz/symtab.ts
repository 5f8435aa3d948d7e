// The symbol table of a kernel, as the linker would have left it: for readers of objects.

import {
  SHN_ABS,
  STB_GLOBAL,
  STB_LOCAL,
  STB_WEAK,
  STT_FUNC,
  STT_OBJECT,
  SYM_SIZE,
} from '../elf/constants.ts';
import { type KernelSymbols, KIND_ABSOLUTE, KIND_FUNCTION, KIND_OBJECT } from './symbols.ts';

const STT_NOTYPE = 0;

interface SymbolTables {
  readonly symtab: Uint8Array;
  readonly strtab: Uint8Array;
  /** The first that is not local: sh_info. */
  readonly locals: number;
}

/** Local ones first, each by address; st_value is the address. */
export function symbolTables({ count, names, kind, section, size }: KernelSymbols): SymbolTables {
  const symtab = new Uint8Array((count + 1) * SYM_SIZE);
  const view = new DataView(symtab.buffer);
  const strings: string[] = ['\0'];
  const binds = Uint8Array.from({ length: count }, (_, i) => bindOf(names.types[i]));
  let at = SYM_SIZE;
  let nameAt = 1;
  let locals = 1;
  for (const isLocal of [true, false]) {
    for (let i = 0; i < count; i++) {
      if ((binds[i] === STB_LOCAL) !== isLocal) continue;
      const name = names.name(i);
      strings.push(name, '\0');
      view.setUint32(at, nameAt, true);
      view.setUint8(at + 4, (binds[i] << 4) | (TYPES[kind[i]] ?? STT_NOTYPE));
      view.setUint16(at + 6, kind[i] === KIND_ABSOLUTE ? SHN_ABS : section[i], true);
      view.setUint32(at + 8, names.low[i], true);
      view.setUint32(at + 12, names.high[i], true);
      view.setUint32(at + 16, size[i], true);
      at += SYM_SIZE;
      nameAt += name.length + 1;
    }
    if (isLocal) locals = at / SYM_SIZE;
  }
  return { symtab, strtab: new Uint8Array(Buffer.from(strings.join(''), 'latin1')), locals };
}

/** Of kinds; labels and marks have none. */
const TYPES: Readonly<Record<number, number>> = { [KIND_FUNCTION]: STT_FUNC, [KIND_OBJECT]: STT_OBJECT };

/** Of nm's letter: capitals are global, and two of them are weak. */
function bindOf(letter: number): number {
  const text = String.fromCharCode(letter);
  if (text === 'w' || text === 'W' || text === 'v' || text === 'V') return STB_WEAK;
  return text === text.toUpperCase() ? STB_GLOBAL : STB_LOCAL;
}
