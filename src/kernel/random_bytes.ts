// Random numbers for guest code. Mirrors drivers/char/random.c by its interface: what comes out is a function
// of the machine's seed, so that a run can be repeated.

import type { HostCall } from '../guest/hostcall.ts';
import type { KernelCore } from './core.ts';
import { SeededRandom } from './random.ts';

/** @param seed of a stream of its own: what the guest draws does not move the scheduler's choices. */
export function defineRandom(core: KernelCore, seed: number): void {
  const random = new SeededRandom(seed);
  const below = ({ args }: HostCall): number => {
    const bound = Number(args[0] & 0xffffffffn);
    return bound === 0 ? random.next() : random.below(bound);
  };
  core.host.defineAll({
    get_random_u8: () => random.next() & 0xff,
    get_random_u16: () => random.next() & 0xffff,
    get_random_u32: () => random.next(),
    get_random_u64: () => (BigInt(random.next()) << 32n) | BigInt(random.next()),
    __get_random_u32_below: below,
    get_random_bytes: ({ args }) => {
      const bytes = new Uint8Array(Number(args[1]));
      for (let i = 0; i < bytes.length; i++) bytes[i] = random.next();
      core.mem.writeBytes(args[0], bytes);
    },
  });
}
