// Random numbers for guest code. Mirrors drivers/char/random.c by its interface: what comes out is a function
// of the machine's seed, so that a run can be repeated.

import type { HostCall } from '../guest/hostcall.ts';
import { PAGE_SIZE } from '../guest/memory.ts';
import type { KernelCore } from './core.ts';
import { SeededRandom } from './random.ts';

const minimum = (a: bigint, b: bigint): bigint => (a < b ? a : b);

/** @param seed of a stream of its own: what the guest draws does not move the scheduler's choices. */
export function defineRandom(core: KernelCore, seed: number): void {
  const random = new SeededRandom(seed);
  core.host.keeps('random bytes', random);
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
      const page = new Uint8Array(PAGE_SIZE);
      for (let done = 0n; done < args[1]; done += BigInt(page.length)) {
        const bytes = page.subarray(0, Number(minimum(args[1] - done, BigInt(page.length))));
        for (let i = 0; i < bytes.length; i++) bytes[i] = random.next();
        core.mem.writeBytes(BigInt.asUintN(64, args[0] + done), bytes);
      }
    },
  });
}
