// The stubs of host functions: HOST_FUNC of asm/x86_64/host.inc.

import { perImage } from '../../../asm/per_image.ts';
import type { HostStubs } from '../../host_stubs.ts';
import type { GuestImage } from '../../kernel_side.ts';
import { REG } from '../context.ts';

/** e8 rel32 */
const FENTRY_SIZE = 5;
/** hlt; sub $8,%rsp; call rel32: how a host function's body begins (HOST_BODY in asm/x86_64/host.inc). */
const HOST_BODY = [0xf4, 0x48, 0x83, 0xec, 0x08, 0xe8];
/** push %rbp; mov %rsp,%rbp: before it, in an image with frame pointers (FRAME_BEGIN in asm/x86_64/frame.inc). */
const FRAME_BEGIN = [0x55, 0x48, 0x89, 0xe5];

export const HOST_STUBS: HostStubs = {
  offsets: { entered: 1, call: 1, returned: 15, relax: 15, relaxed: 18, ret: 18 },
  callee: REG.rax,

  /** The rbp saved where frame pointers are kept. */
  frameBytes: (framePointers) => (framePointers ? 8 : 0),

  returnAddress: (mem, _context, sp) => mem.readU64(sp),

  /** Behind the fentry site and the frame where they are. */
  find: perImage((image: GuestImage) => {
    const text = image.sections.find((s) => s.name === '.text');
    const stubs = new Map<string, bigint>();
    if (!text) return stubs;
    const fentry = new Set(image.fentrySites);
    for (const { name, addr, section, type } of image.symbols) {
      if (section !== '.text' || type !== 'func') continue;
      const has = (bytes: number[], from: number) => bytes.every((byte, i) => text.bytes[from + i] === byte);
      let at = Number(addr - text.addr) + (fentry.has(addr) ? FENTRY_SIZE : 0);
      if (has(FRAME_BEGIN, at)) at += FRAME_BEGIN.length;
      if (has(HOST_BODY, at)) stubs.set(name, text.addr + BigInt(at));
    }
    return stubs;
  }),
};
