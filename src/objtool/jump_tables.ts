// Switch statements: jumps through a table of addresses in .rodata.
// Mirrors add_jump_table_alts() of tools/objtool/check.c and arch_find_switch_table().

import { addWay } from './alternatives.ts';
import type { CodeTable } from './decode.ts';
import { type RelocTable, SYM_SECTION } from './input.ts';
import { IN_JUMP_TABLE, INSN_JUMP, INSN_JUMP_DYNAMIC, someInsnOfFunc, warn } from './insn.ts';
import { SymbolRanges } from './symbol_ranges.ts';

/** Made by hand in C; may have symbols, which GCC's own have not. */
const C_JUMP_TABLE = '.rodata..c_jump_table';

interface Table {
  readonly section: number;
  /** The first entry's relocation, in the order of offsets. */
  readonly first: number;
}

export function addJumpTables(code: CodeTable): void {
  if (!hasTables(code)) return;
  const { type, func, count } = code;
  const funcs = new Set<number>();
  for (let insn = 1; insn < count; insn++) if (type[insn] === INSN_JUMP_DYNAMIC) funcs.add(func[insn]);
  if (funcs.size === 0) return;
  const tables = new JumpTables(code);
  // A function comes with its cold part, as often as that is a function itself.
  for (const f of code.funcs) if (funcs.has(f) || funcs.has(code.cold[f])) tables.addTo(f);
}

/** An address within a function, and not of one, is in .rodata. */
function hasTables(code: CodeTable): boolean {
  const { sections, symbols } = code.input;
  for (const { rodata, relocs } of sections) {
    if (!rodata || !relocs) continue;
    for (let i = 0; i < relocs.count; i++) {
      const symbol = relocs.symbol[i];
      const offset = symbols.value[symbol] + relocs.addend[i];
      const insn = code.at(symbols.section[symbol], offset);
      if (insn !== 0 && code.func[insn] !== 0 && symbols.value[code.func[insn]] !== offset) return true;
    }
  }
  return false;
}

class JumpTables {
  readonly #code: CodeTable;
  /** By section: relocations in the order of their offsets. */
  readonly #orders = new Map<number, Uint32Array>();
  readonly #objects: SymbolRanges;
  #steps = 0;
  #ways = 0;
  readonly #starts = new Set<string>();
  /** The first jump forward to an instruction. */
  readonly #firstJump = new Map<number, number>();

  constructor(code: CodeTable) {
    this.#code = code;
    const { symbols, sections } = code.input;
    const isObject = (s: number): boolean => symbols.type[s] !== SYM_SECTION;
    this.#objects = new SymbolRanges(
      symbols,
      (s) => isObject(s) && sections[symbols.section[s]]?.rodata === true,
    );
  }

  addTo(func: number): void {
    const code = this.#code;
    const found: { insn: number; table: Table }[] = [];
    someInsnOfFunc(code, func, (insn) => {
      const dest = code.jumpDest[insn];
      if (dest !== 0 && code.offset[dest] > code.offset[insn] && !this.#firstJump.has(dest)) {
        this.#firstJump.set(dest, insn);
      }
      if (code.type[insn] !== INSN_JUMP_DYNAMIC) return false;
      const table = this.#find(func, insn);
      if (table) {
        this.#starts.add(`${table.section}:${table.first}`);
        found.push({ insn, table });
      }
      return false;
    });
    for (const { insn, table } of found) this.#follow(func, insn, table);
  }

  /** Back from the jump to what loads the table's address. */
  #find(func: number, jump: number): Table | undefined {
    const code = this.#code;
    for (let insn = jump; insn !== 0 && this.#steps < MAX_STEPS; this.#steps++) {
      if (code.func[insn] === 0 || code.parent[code.func[insn]] !== code.parent[func]) return undefined;
      if (insn !== jump && code.type[insn] === INSN_JUMP_DYNAMIC) return undefined;
      const dest = code.jumpDest[insn];
      if (code.type[insn] === INSN_JUMP && dest !== 0) {
        const [to, here] = [code.offset[dest], code.offset[insn]];
        if (to <= here || to > code.offset[jump]) return undefined;
      }
      const table = this.#tableAt(insn);
      if (table && this.#isOf(func, this.#entry(table.section, table.first))) return table;
      insn = this.#firstJump.get(insn) ?? (code.func[insn - 1] === code.func[insn] ? insn - 1 : 0);
    }
    return undefined;
  }

  /** The table whose address the instruction holds. */
  #tableAt(insn: number): Table | undefined {
    const code = this.#code;
    const { sections, symbols } = code.input;
    const relocs = sections[code.section[insn]].relocs;
    const index = relocs ? this.#at(code.section[insn], relocs, code.offset[insn], code.length[insn]) : -1;
    if (!relocs || index < 0 || symbols.type[relocs.symbol[index]] !== SYM_SECTION) return undefined;
    const section = symbols.section[relocs.symbol[index]];
    if (!sections[section]?.rodata) return undefined;
    const offset = relocs.addend[index] + code.input.arch.operandBias(relocs.type[index]);
    if (sections[section].name !== C_JUMP_TABLE && this.#objects.covers(section, offset)) return undefined;
    const table = sections[section].relocs;
    const first = table ? this.#position(section, table, offset) : -1;
    return first < 0 ? undefined : { section, first };
  }

  #follow(func: number, insn: number, { section, first }: Table): void {
    const code = this.#code;
    const relocs = code.input.sections[section].relocs as RelocTable;
    const order = this.#order(section, relocs);
    let previous = -1;
    for (let i = first; i < order.length && this.#ways < MAX_WAYS; i++, this.#ways++) {
      if (i !== first && this.#starts.has(`${section}:${i}`)) break;
      const offset = relocs.offset[order[i]];
      if (previous >= 0 && offset !== previous + 8) break;
      const dest = this.#entry(section, i);
      // The function's own start: a pointer to it that happens to follow.
      if (!this.#isOf(func, dest) || this.#isStart(func, dest)) break;
      addWay(code, insn, dest);
      previous = offset;
    }
    if (previous < 0) warn(code, insn, "can't find switch jump table");
    else code.flags[insn] |= IN_JUMP_TABLE;
  }

  #isStart(func: number, insn: number): boolean {
    const { symbols } = this.#code.input;
    const parent = this.#code.parent[func];
    return (
      this.#code.section[insn] === symbols.section[parent] &&
      this.#code.offset[insn] === symbols.value[parent]
    );
  }

  #isOf(func: number, insn: number): boolean {
    const code = this.#code;
    return insn !== 0 && code.func[insn] !== 0 && code.parent[code.func[insn]] === code.parent[func];
  }

  /** The instruction that an entry holds the address of. */
  #entry(section: number, position: number): number {
    const { sections, symbols } = this.#code.input;
    const relocs = sections[section].relocs as RelocTable;
    const index = this.#order(section, relocs)[position];
    const symbol = relocs.symbol[index];
    return this.#code.at(symbols.section[symbol], symbols.value[symbol] + relocs.addend[index]);
  }

  #order(section: number, relocs: RelocTable): Uint32Array {
    let order = this.#orders.get(section);
    if (!order) {
      order = Uint32Array.from({ length: relocs.count }, (_, i) => i);
      if (!relocs.sorted) order.sort((a, b) => relocs.offset[a] - relocs.offset[b] || a - b);
      this.#orders.set(section, order);
    }
    return order;
  }

  /** The first relocation within a range; -1 for none. */
  #at(section: number, relocs: RelocTable, offset: number, length: number): number {
    const position = this.#lowest(section, relocs, offset);
    const index = this.#order(section, relocs)[position];
    return position < relocs.count && relocs.offset[index] < offset + length ? index : -1;
  }

  #position(section: number, relocs: RelocTable, offset: number): number {
    const position = this.#lowest(section, relocs, offset);
    const index = this.#order(section, relocs)[position];
    return position < relocs.count && relocs.offset[index] === offset ? position : -1;
  }

  #lowest(section: number, relocs: RelocTable, offset: number): number {
    const order = this.#order(section, relocs);
    let [low, high] = [0, order.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (relocs.offset[order[middle]] < offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** Steps of the search back from jumps, and entries of all tables: more would be the same ones again. */
const MAX_STEPS = 10_000_000;
const MAX_WAYS = 4_000_000;
