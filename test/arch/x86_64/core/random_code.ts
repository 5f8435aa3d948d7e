// Bytes that nobody chose, executed in both rings: whatever they are, a run ends within its budget and says why, and
// nothing but guest memory and registers is different afterwards.

import { REG } from '../../../../src/arch/x86_64/context.ts';
import type { CpuContext, StopKind } from '../../../../src/guest/engine.ts';
import { PAGE_SIZE } from '../../../../src/guest/memory.ts';
import { USER_TEXT_BASE } from '../../../../src/guest/windows.ts';
import { SeededRandom } from '../../../../src/kernel/random.ts';
import { Bare, DATA, STACK_TOP, TEXT, USER_STACK } from '../../../guest/bare.ts';

const LENGTH = 32;
const BUDGET = 200;
/** Values that registers have: addresses of what there is, and what is next to nothing. */
const VALUES = [
  DATA,
  DATA + 0x800n,
  STACK_TOP - 0x100n,
  USER_STACK,
  TEXT,
  0n,
  1n,
  0x7fn,
  ~0n,
  1n << 63n,
  0xffffffffn,
];

export interface Ends {
  /** How many runs ended so. */
  readonly kinds: Partial<Record<StopKind, number>>;
  /** Runs that executed more than their budget: none, if all is well. */
  readonly over: number;
}

/** Executes byte strings. @param bytesOf the string of a number, written from the beginning of `into` */
export function execute(
  count: number,
  seed: number,
  bytesOf: (n: number, into: Uint8Array, random: SeededRandom) => void,
): Ends {
  const random = new SeededRandom(seed);
  const bare = new Bare('core');
  const kernel = bare.context();
  const user = bare.context();
  const kinds: Partial<Record<StopKind, number>> = {};
  let over = 0;
  const bytes = new Uint8Array(LENGTH);
  for (let n = 0; n < count; n++) {
    bytes.fill(0);
    bytesOf(n, bytes, random);
    for (const [context, text] of [
      [kernel, TEXT],
      [user, USER_TEXT_BASE],
    ] as const) {
      // Near the page's end, too: an instruction may go on where nothing is.
      const at =
        n % 8 === 0 ? BigInt(PAGE_SIZE - LENGTH + (n % LENGTH)) : BigInt(random.below(PAGE_SIZE - LENGTH));
      bare.mem.pokeText(text + at, bytes.subarray(0, Math.min(LENGTH, PAGE_SIZE - Number(at))));
      prepare(context, text + at, context === user, random);
      const { kind, executed } = bare.engine.run(context, BUDGET);
      kinds[kind] = (kinds[kind] ?? 0) + 1;
      if (executed > BUDGET || executed < 0) over++;
    }
  }
  bare.close();
  return { kinds, over };
}

function prepare(context: CpuContext, rip: bigint, user: boolean, random: SeededRandom): void {
  const { regs } = context;
  for (let r = 0; r < 16; r++) regs[r] = VALUES[random.below(VALUES.length)];
  regs[REG.rsp] = user ? USER_STACK : STACK_TOP - 0x200n;
  regs[REG.rip] = rip;
  regs[REG.rflags] = 2n;
  context.setUserMode(user);
  context.touch();
}

/** Random from end to end. */
export function anything(_: number, into: Uint8Array, random: SeededRandom): void {
  for (let i = 0; i < into.length; i += 4)
    new DataView(into.buffer).setUint32(i, random.below(2 ** 32) >>> 0, true);
}

const PREFIXES = [
  [],
  [0x66],
  [0xf2],
  [0xf3],
  [0xf0],
  [0x48],
  [0x67],
  [0x66, 0x48],
  [0xf3, 0x48],
  [0x64],
  [0x65, 0x41],
];
export const EVERY_OPCODE = 256 * 256 * PREFIXES.length;

/** Opcodes behind 0F with each ModRM byte and each of a few prefixes. */
export function everyTwoByteOpcode(n: number, into: Uint8Array, random: SeededRandom): void {
  anything(n, into, random);
  const prefix = PREFIXES[Math.floor(n / 65536) % PREFIXES.length];
  into.set([...prefix, 0x0f, (n >> 8) & 0xff, n & 0xff]);
}
