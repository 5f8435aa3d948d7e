// The idle loop: `sti; hlt` in default_idle. Mirrors native_safe_halt().

import type { FindIdleLoop } from '../../idle.ts';

/** e8 rel32 */
const FENTRY_SIZE = 5;
const [STI, HLT] = [0xfb, 0xf4];

export const findIdleLoop: FindIdleLoop = (image) => {
  const idle = image.symbols.find((s) => s.name === 'default_idle');
  const text = image.sections.find((s) => s.name === '.text');
  if (idle && text) {
    const from = Number(idle.addr - text.addr);
    // Not in the fentry call: its displacement may be any bytes.
    for (let at = from + FENTRY_SIZE; at < from + idle.size; at++) {
      if (text.bytes[at] !== STI || text.bytes[at + 1] !== HLT) continue;
      const halt = text.addr + BigInt(at + 1);
      return { halt, woken: halt + 1n };
    }
  }
  throw new Error('the guest kernel image has no idle loop');
};
