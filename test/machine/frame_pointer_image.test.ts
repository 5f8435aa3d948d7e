// The image of a kernel with CONFIG_FRAME_POINTER keeps what objtool --stackval holds such a kernel to: a function
// that calls another has a frame by then. Only with that are the traces of the frame pointer unwinder reliable.

import { beforeAll, describe, expect, it } from 'vitest';
import { ORC_REG_BP, ORC_REG_BP_INDIRECT } from '../../src/arch/x86_64/unwind/orc_registers.ts';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { ORC_REG_PREV_SP, type OrcEntry, unpackOrcEntry } from '../../src/elf/orc.ts';
import { lo32 } from '../../src/guest/addr.ts';
import { decodeAt, FLOW_CALL, FLOW_CALL_INDIRECT } from '../../src/isa/decoder.ts';
import { type KernelImage, loadKernelImage } from '../../src/machine/boot/image.ts';
import { OrcLookup } from '../../src/unwind/orc_lookup.ts';

/** Their frames are those of the function that called them, and of the one above it: not made of one push. */
const TRAMPOLINES = ['ftrace_caller', 'ftrace_regs_caller'];

/** lea rbp, [rsp+1]: the lowest bit says that it is no frame. */
const ENCODED = Buffer.of(0x48, 0x8d, 0x6c, 0x24, 0x01);

let image: KernelImage;
let orcImage: KernelImage;
beforeAll(async () => {
  image = await loadKernelImage('frame pointer');
  orcImage = await loadKernelImage();
});

function textOf({ asm }: KernelImage) {
  const text = asm.sections.find((s) => s.name === '.text');
  if (!text) throw new Error('no text');
  return text;
}

function firstCall(code: Uint8Array): number {
  let at = 0;
  for (
    let { flow, length } = decodeAt(code, 0, 0);
    flow !== FLOW_CALL;
    { flow, length } = decodeAt(code, at, 0)
  )
    at += length;
  return at;
}

/** rbp is the frame pointer, and the caller's is saved where it points (in a realigned frame too). */
function hasFrame({ spReg, spOffset, fpReg, fpOffset }: OrcEntry): boolean {
  if (spReg === ORC_REG_BP) return spOffset === 16 && fpReg === ORC_REG_PREV_SP && fpOffset === -16;
  return spReg === ORC_REG_BP_INDIRECT && fpReg === ORC_REG_BP && fpOffset === 0;
}

/** Calls of the image's functions, but those of __fentry__, and the ORC entry at each. */
function* calls({ asm, orc }: KernelImage) {
  const text = textOf({ asm, orc } as KernelImage);
  const lookup = new OrcLookup();
  lookup.addText({ name: 'image', ranges: [{ start: lo32(text.addr), size: text.size }], orc });
  const fentry = new Set(asm.fentrySites);
  for (const { name, addr, size, type, section } of asm.symbols) {
    if (section !== '.text' || type !== 'func' || TRAMPOLINES.includes(name)) continue;
    for (let at = 0; at < size; ) {
      const offset = Number(addr - text.addr) + at;
      const { flow, length } = decodeAt(text.bytes, offset, 0);
      const isCall = flow === FLOW_CALL || flow === FLOW_CALL_INDIRECT;
      if (isCall && !fentry.has(addr + BigInt(at))) {
        const index = lookup.find(lo32(addr) + at);
        yield { place: `${name}+0x${at.toString(16)}`, orc: unpackOrcEntry(lookup.hit, index) };
      }
      at += length;
    }
  }
}

describe('the image of a kernel with frame pointers', () => {
  it('has a frame at every call of every function', () => {
    const all = [...calls(image)];
    expect(all.filter(({ orc }) => !hasFrame(orc)).map(({ place }) => place)).toEqual([]);
    expect(all.length).toBeGreaterThan(500);
  });

  it('has, at each entry of an interrupt or exception, a frame pointer to the registers before its first call', () => {
    const text = textOf(image);
    const entries = image.asm.symbols.filter(({ name }) => /^asm_(exc|sysvec)_/.test(name));
    expect(entries.length).toBeGreaterThanOrEqual(8);
    for (const { name, addr, size } of [
      ...entries,
      ...image.asm.symbols.filter((s) => s.name === 'ftrace_regs_caller'),
    ]) {
      const offset = Number(addr - text.addr);
      const code = Buffer.from(text.bytes.subarray(offset, offset + size));
      const encoded = code.indexOf(ENCODED);
      expect(encoded, name).toBeGreaterThan(0);
      expect(encoded, name).toBeLessThan(firstCall(code));
    }
  });

  it('has the functions, the host functions and the exports that the image without them has', () => {
    const names = ({ asm }: KernelImage) => asm.symbols.map((s) => `${s.section} ${s.name}`).sort();
    expect(names(image)).toEqual(names(orcImage));
    expect([...X86_64.hostStubs.find(image.asm).keys()].sort()).toEqual(
      [...X86_64.hostStubs.find(orcImage.asm).keys()].sort(),
    );
    expect(image.asm.exports).toEqual(orcImage.asm.exports);
    expect(image.asm.fentrySites.length).toBe(orcImage.asm.fentrySites.length);
  });

  it('is not what the ORC image is: there most calls are made without a frame', () => {
    const without = [...calls(orcImage)].filter(({ orc }) => !hasFrame(orc));
    expect(without.length).toBeGreaterThan(300);
  });
});
