// The guest kernel's own text as something to check: its instructions with the hints and marks of asm/, and its
// own table.
//
// Invariant: operands that lead out of the text get a relocation where it is loaded, so that a check has memory
// there; the code itself is looked at as it was assembled.

import type { KernelImage } from '../machine/boot/image.ts';
import { inputFromImage, type RelocTable } from '../objtool/input.ts';
import type { OrcRows } from '../objtool/orc_rows.ts';
import type { CheckSubject } from './check_object.ts';
import { INSNS, TARGET } from './target.ts';
import type { Unwinder } from './verdicts.ts';

/** Section of the text in inputFromImage(). */
const TEXT = 1;

/** Their two frames are the traced function's and its caller's; who called them needs none. */
const TRAMPOLINES = new Set(['ftrace_caller', 'ftrace_regs_caller']);

export function imageSubject(image: KernelImage, unwinder: Unwinder = 'orc'): CheckSubject {
  const input = inputFromImage(image.asm, TARGET.code);
  const text = image.asm.sections.find((s) => s.name === '.text');
  const start = Number(BigInt.asUintN(32, text?.addr ?? 0n));
  const sections = input.sections.map((section, i) =>
    i === TEXT ? { ...section, relocs: operands(section.bytes, start) } : section,
  );
  const except = unwinder === 'fp' ? TRAMPOLINES : new Set<string>();
  return { input, loaded: { ...input, sections }, orc: rowsFrom(image, start), except };
}

/** The kernel's table is by address; a check wants it by offset. */
function rowsFrom({ orc }: KernelImage, start: number): OrcRows {
  return {
    count: orc.count,
    section: new Uint32Array(orc.count).fill(TEXT),
    offset: Int32Array.from(orc.ip, (ip) => ip - start),
    spOffset: orc.spOffset,
    fpOffset: orc.fpOffset,
    flags: orc.flags,
  };
}

function operands(bytes: Uint8Array, start: number): RelocTable {
  const offsets: number[] = [];
  const types: number[] = [];
  const insn = INSNS.newInsn();
  const isOutside = (address: number): boolean => address < start || address >= start + bytes.length;
  const mayBe = (address: number): boolean => address > start && address < start + KERNEL;
  for (let at = 0; at < bytes.length; ) {
    const { length } = INSNS.decode(bytes, at, start + at, insn);
    for (const { address, fromEnd, relocation, certain } of INSNS.addresses(insn, start + at + length)) {
      if (!isOutside(address) || !(certain || mayBe(address))) continue;
      offsets.push(at + length - fromEnd);
      types.push(relocation);
    }
    at += length || 1;
  }
  const count = offsets.length;
  const [symbol, addend] = [new Int32Array(count), new Int32Array(count)];
  return {
    count,
    offset: Int32Array.from(offsets),
    symbol,
    addend,
    type: Uint8Array.from(types),
    sorted: true,
  };
}

/** More than the image takes with all its sections. */
const KERNEL = 16 << 20;
