// What a member has that the uber module has not as it is: livepatch's structures for its one object, an init that enables
// it, and the exports of state that other members use.

import type { CodeArch } from '../../arch/code.ts';
import {
  SHF_ALLOC,
  SHF_EXECINSTR,
  SHN_UNDEF,
  SHT_PROGBITS,
  STB_GLOBAL,
  STT_FUNC,
  STT_OBJECT,
} from '../../elf/constants.ts';
import type { ElfObject } from '../../elf/elf_object.ts';
import type { NewSymbol } from '../../elf/object_writer.ts';
import type { KernelDescription } from '../../kernel/description.ts';
import type { Atom } from './atoms.ts';
import type { MemberObject, Part, Target } from './member_object.ts';
import { exportCrc } from './names.ts';
import type { Place } from './places.ts';
import type { UberObject } from './uber_tables.ts';

interface TableContext {
  readonly out: MemberObject;
  readonly kernel: KernelDescription;
  readonly code: CodeArch;
  readonly elf: ElfObject;
  /** What a place of the uber module refers to, in the member. */
  readonly target: (place: Place) => Target;
}

/** The member's one klp_object, and the end of its table; which ends a table of functions, too. */
export function addObjects(context: TableContext, patched: UberObject | undefined): Part {
  const { out, kernel, target } = context;
  const { size, fields } = kernel.structs.klp_object;
  const { part, add } = out.addTable('.data.klp_object', 2 * size);
  const at = (of: Part, addend = 0n): Target => ({ symbol: out.sectionSymbol(of), addend });
  if (patched?.namePointer) add(fields.name, target(patched.namePointer.place));
  if (patched?.funcs) add(fields.funcs, target(patched.funcs.place));
  else if (patched) add(fields.funcs, at(addFunctions(context, patched)));
  else add(fields.funcs, at(part, BigInt(size)));
  for (const [name, { place }] of patched?.callbacks ?? []) add(fields[`callbacks_${name}`], target(place));
  return part;
}

function addFunctions({ out, kernel, target }: TableContext, { functions }: UberObject): Part {
  const { size, fields } = kernel.structs.klp_func;
  const { part, add } = out.addTable('.data.klp_func', (functions.length + 1) * size);
  const view = new DataView(part.data.buffer);
  for (const [i, { oldName, newFunc, sympos }] of functions.entries()) {
    add(i * size + fields.old_name, target(oldName.place));
    add(i * size + fields.new_func, target(newFunc.place));
    view.setBigUint64(i * size + fields.old_sympos, sympos, true);
  }
  return part;
}

/** klp_patch and init of a member, where the module's init makes the one and is not the other. */
export function addInit(
  context: TableContext,
  patched: UberObject | undefined,
): { readonly part: Part; readonly symbol: NewSymbol } {
  const { out, kernel, code, elf } = context;
  const { size, fields } = kernel.structs.klp_patch;
  const { part: patch, add } = out.addTable('.data.klp_patch', size);
  const module = out.symbols.find(({ name }) => name === '__this_module');
  if (!module) throw elf.error("it has no symbol '__this_module'");
  add(fields.mod, { symbol: module, addend: 0n });
  add(fields.objs, { symbol: out.sectionSymbol(addObjects(context, patched)), addend: 0n });
  const { bytes, argument, callee } = code.forwarder;
  const name = out.parts.some((part) => part.name === '.init.text') ? '.init.text.klp' : '.init.text';
  const flags = SHF_ALLOC | SHF_EXECINSTR;
  const text = out.addPart({ name, type: SHT_PROGBITS, flags, align: 1, entsize: 0 }, new Uint8Array(bytes));
  const enable = out.import('klp_enable_patch', STB_GLOBAL, SHN_UNDEF);
  text.relocations.push({ ...argument, symbol: out.sectionSymbol(patch) });
  text.relocations.push({ ...callee, symbol: enable });
  const init = { name: 'init_module', bind: STB_GLOBAL, type: STT_FUNC, section: text, value: 0n };
  const symbol: NewSymbol = { ...init, size: bytes.length };
  out.symbols.push(symbol);
  return { part: text, symbol };
}

/** An exit that does nothing, where the module's frees what its init made: without one no module can be removed. */
export function addExit({ out, code }: TableContext): { readonly part: Part; readonly symbol: NewSymbol } {
  const { bytes, callee, by } = code.returner;
  const name = out.parts.some((part) => part.name === '.exit.text') ? '.exit.text.klp' : '.exit.text';
  const flags = SHF_ALLOC | SHF_EXECINSTR;
  const part = out.addPart({ name, type: SHT_PROGBITS, flags, align: 1, entsize: 0 }, new Uint8Array(bytes));
  part.relocations.push({ ...callee, symbol: out.import(by, STB_GLOBAL, SHN_UNDEF) });
  const exit = { name: 'cleanup_module', bind: STB_GLOBAL, type: STT_FUNC, section: part, value: 0n };
  const symbol: NewSymbol = { ...exit, size: bytes.length };
  out.symbols.push(symbol);
  return { part, symbol };
}

/** By EXPORT_SYMBOL_GPL(). @param mine shared state that the member has, by the name of its export, and where it is */
export function addExports(
  { out, kernel, code, elf }: TableContext,
  mine: readonly (readonly [Atom, string])[],
  placeOf: (atom: Atom) => { readonly part: Part; readonly at: number },
): void {
  if (mine.length === 0) return;
  const { size, fields } = kernel.structs.kernel_symbol;
  const text = Buffer.from(mine.map(([, name]) => `${name}\0`).join(''), 'latin1');
  const strings = out.addData('__ksymtab_strings', 1, new Uint8Array(text));
  const table = out.addData('__ksymtab_gpl', 4, new Uint8Array(mine.length * size));
  const type = code.distance;
  let nameAt = 0;
  for (const [i, [atom, name]] of mine.entries()) {
    const { part, at } = placeOf(atom);
    const what = { name, bind: STB_GLOBAL, type: STT_OBJECT, section: part, value: BigInt(at) };
    const symbol: NewSymbol = { ...what, size: atom.end - atom.start };
    out.symbols.push(symbol);
    table.relocations.push({ offset: i * size + fields.value_offset, type, symbol, addend: 0n });
    table.relocations.push({
      offset: i * size + fields.name_offset,
      type,
      symbol: out.sectionSymbol(strings),
      addend: BigInt(nameAt),
    });
    nameAt += name.length + 1;
  }
  if (!elf.section('__versions')) return;
  const crcs = new Uint8Array(Uint32Array.from(mine, ([, name]) => exportCrc(name)).buffer);
  out.addData('__kcrctab_gpl', 4, crcs);
}
