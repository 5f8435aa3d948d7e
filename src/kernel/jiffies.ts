// Jiffies: where they begin, and times that are rounded to a whole second, so that timers of many share one wake-up.
// Mirrors include/linux/jiffies.h and round_jiffies_common() of kernel/time/timer.c.

/** Jiffies by which CPUs are kept apart. */
const CPU_SKEW = 3n;

/** INITIAL_JIFFIES: the lower 32 bits wrap five minutes after boot. @param hz jiffies in a second */
export const initialJiffies = (hz: number): bigint => 0x1_0000_0000n - BigInt(300 * hz);

/** What the counter is at a time. @param now virtual ns since boot */
export const jiffiesAt = (hz: number, now: number): bigint =>
  initialJiffies(hz) + BigInt(Math.floor(now / (1e9 / hz)));

/**
 * @param original when it falls due, in jiffies since boot. @param cpu the CPU whose skew it takes. @param jiffies the counter now.
 * @param up never down, as round_jiffies_up() has it.
 * @returns that time rounded: down when less than a quarter of a second has passed since the whole one, else up; as it is where
 * the rounded one is over.
 */
export function roundJiffies(hz: number, original: bigint, cpu: bigint, jiffies: bigint, up = false): bigint {
  const second = BigInt(hz);
  const skewed = original + cpu * CPU_SKEW;
  const rest = skewed % second;
  const down = rest < second / 4n && !up;
  const rounded = (down ? skewed - rest : skewed - rest + second) - cpu * CPU_SKEW;
  return rounded > jiffies ? rounded : original;
}

/**
 * round_jiffies_relative()
 * @param delay jiffies from now. @param cpu the CPU that asks. @param now virtual ns since boot.
 * @returns jiffies from now to that at which the timer expires.
 */
export function roundJiffiesRelative(hz: number, delay: number, cpu: number, now: number): number {
  const jiffies = jiffiesAt(hz, now);
  return Number(roundJiffies(hz, jiffies + BigInt(delay), BigInt(cpu), jiffies) - jiffies);
}
