// What the frame tables of the image say of its ends: a trace that comes to one of them is over, and counts as whole.

import { beforeAll, describe, expect, it } from 'vitest';
import { unpackOrcEntry } from '../../src/elf/orc.ts';
import { type Addr, lo32 } from '../../src/guest/addr.ts';
import { type KernelImage, loadKernelImage } from '../../src/machine/boot/image.ts';
import { OrcLookup } from '../../src/unwind/orc_lookup.ts';

let image: KernelImage;
let lookup: OrcLookup;
beforeAll(async () => {
  image = await loadKernelImage();
  const { asm, orc } = image;
  const text = asm.sections.find(({ name }) => name === '.text');
  if (!text) throw new Error('no text');
  lookup = new OrcLookup();
  lookup.addText({ name: 'image', ranges: [{ start: lo32(text.addr), size: text.size }], orc });
});

/** What the tables have for an instruction. */
function rowAt(addr: Addr) {
  const index = lookup.find(lo32(addr));
  return unpackOrcEntry(lookup.hit, index);
}

const inText = () => image.asm.symbols.filter(({ section, size }) => section === '.text' && size > 0);

describe('the frame tables of the image', () => {
  it('say that the stack ends in no function that is called', () => {
    const functions = inText().filter(({ type }) => type === 'func');
    expect(functions.length).toBeGreaterThan(300);
    const ends = functions.filter(({ addr, size }) =>
      Array.from({ length: size }, (_, i) => addr + BigInt(i)).some((at) => rowAt(at).end),
    );
    expect(ends.map(({ name }) => name)).toEqual([]);
  });

  it('have the caller of a retpoline where it begins', () => {
    const thunks = inText().filter(({ name }) => name.startsWith('__x86_indirect_thunk_'));
    expect(thunks).toHaveLength(15);
    for (const { addr, name } of thunks) expect(rowAt(addr), name).toMatchObject({ end: false, spOffset: 8 });
  });
});
