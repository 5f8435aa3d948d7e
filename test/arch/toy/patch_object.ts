// A livepatch of the toy kernel, as an object: toy_answer() gets another version.

import { BUILT_IN, type KernelDescription } from '../../../src/kernel/description.ts';
import { encode, INSN_SIZE, R } from './isa.ts';
import { ELF_MACHINE, R_TOY_32S, R_TOY_64, R_TOY_PC32 } from './module_text.ts';
import {
  type ObjectReloc,
  type ObjectSection,
  relocatable,
  SHF_ALLOC,
  SHF_EXECINSTR,
  SHF_WRITE,
} from './object.ts';

const MODULE_FLAGS = SHF_ALLOC | SHF_WRITE;

type Step = { readonly insn: Uint8Array; readonly reloc?: readonly [type: number, symbol: string] };

const call = (symbol: string): Step => ({
  insn: encode('bl', { a: R.lr }),
  reloc: [R_TOY_PC32, symbol],
});
const TRACED: readonly Step[] = [{ insn: encode('add', { a: R.t, b: R.lr }) }, call('__fentry__')];
const RET: Step = { insn: encode('br', { b: R.lr }) };

function code(steps: readonly Step[]): { bytes: Uint8Array; relocs: ObjectReloc[] } {
  const bytes = new Uint8Array(steps.length * INSN_SIZE);
  const relocs: ObjectReloc[] = [];
  steps.forEach(({ insn, reloc }, i) => {
    bytes.set(insn, i * INSN_SIZE);
    if (!reloc) return;
    const [type, symbol] = reloc;
    // A branch counts from the next instruction, four bytes behind its displacement.
    relocs.push({ offset: i * INSN_SIZE + 4, type, symbol, addend: type === R_TOY_PC32 ? -4 : 0 });
  });
  return { bytes, relocs };
}

/** Fields with values, and where addresses go. */
class Data {
  readonly bytes: Uint8Array;
  readonly relocs: ObjectReloc[] = [];
  constructor(size: number) {
    this.bytes = new Uint8Array(size);
  }
  pointer(offset: number, symbol: string, addend = 0): void {
    this.relocs.push({ offset, type: R_TOY_64, symbol, addend });
  }
  text(offset: number, text: string): void {
    this.bytes.set(new TextEncoder().encode(`${text}\0`), offset);
  }
}

export interface ToyPatch {
  readonly name: string;
  /** The function of the image that is replaced. */
  readonly old: string;
  /** What the new version adds to its argument. */
  readonly adds: number;
}

export function patchObject({ name, old, adds }: ToyPatch, kernel: KernelDescription = BUILT_IN): Uint8Array {
  const { klp_func, klp_object, klp_patch, module } = kernel.structs;
  const replacement = [...TRACED, { insn: encode('add', { a: R.r0, b: R.r0, imm: adds }) }, RET];
  const init: Step[] = [
    { insn: encode('add', { a: R.sp, b: R.sp, imm: -48 }) },
    { insn: encode('st', { a: R.lr, b: R.sp, c: 8 }) },
    { insn: encode('li', { a: R.r0 }), reloc: [R_TOY_32S, 'patch'] },
    call('klp_enable_patch'),
    { insn: encode('ld', { a: R.lr, b: R.sp, c: 8 }) },
    { insn: encode('add', { a: R.sp, b: R.sp, imm: 48 }) },
    RET,
  ];
  const exit: Step[] = [RET];
  const text = code([...replacement, ...init, ...exit]);
  const [initAt, exitAt] = [replacement.length * INSN_SIZE, (replacement.length + init.length) * INSN_SIZE];

  const [objectsAt, funcsAt] = [klp_patch.size, klp_patch.size + 2 * klp_object.size];
  const namesAt = funcsAt + 2 * klp_func.size;
  const data = new Data(namesAt + old.length + 1);
  data.pointer(klp_patch.fields.mod, '__this_module');
  data.pointer(klp_patch.fields.objs, 'patch', objectsAt);
  data.pointer(objectsAt + klp_object.fields.funcs, 'patch', funcsAt);
  data.pointer(funcsAt + klp_func.fields.old_name, 'patch', namesAt);
  data.pointer(funcsAt + klp_func.fields.new_func, 'new_version');
  data.text(namesAt, old);

  const self = new Data(module.size);
  self.text(module.fields.name, name);
  self.pointer(module.fields.init, 'init_module');
  self.pointer(module.fields.exit, 'cleanup_module');

  const sites = new Data(8);
  sites.pointer(0, 'new_version', INSN_SIZE);

  const info = [
    'license=GPL',
    'livepatch=Y',
    `name=${name}`,
    `vermagic=${kernel.release} SMP preempt mod_unload modversions `,
  ];
  const sections: ObjectSection[] = [
    { name: '.text', flags: SHF_ALLOC | SHF_EXECINSTR, ...text },
    { name: '.data', flags: MODULE_FLAGS, bytes: data.bytes, relocs: data.relocs },
    { name: '__mcount_loc', flags: SHF_ALLOC, bytes: sites.bytes, relocs: sites.relocs },
    {
      name: '.modinfo',
      flags: SHF_ALLOC,
      bytes: new TextEncoder().encode(info.map((s) => `${s}\0`).join('')),
    },
    { name: '.gnu.linkonce.this_module', flags: MODULE_FLAGS, bytes: self.bytes, relocs: self.relocs },
  ];
  return relocatable(ELF_MACHINE.number, sections, [
    { name: 'new_version', section: '.text', value: 0, size: initAt, local: true, code: true },
    { name: 'init_module', section: '.text', value: initAt, size: exitAt - initAt, code: true },
    { name: 'cleanup_module', section: '.text', value: exitAt, size: INSN_SIZE, code: true },
    { name: 'patch', section: '.data', value: 0, size: data.bytes.length, local: true },
    { name: '__this_module', section: '.gnu.linkonce.this_module', value: 0, size: module.size },
    { name: '__fentry__' },
    { name: 'klp_enable_patch' },
  ]);
}
