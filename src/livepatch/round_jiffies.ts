// When the next retry falls due: on a whole second, so that timers of many share one wake-up.
// Mirrors round_jiffies_relative() of kernel/time/timer.c.

/** Jiffies by which CPUs are kept apart. */
const CPU_SKEW = 3;

/**
 * @param hz jiffies in a second. @param delay jiffies from now. @param cpu the CPU that asks. @param now virtual ns.
 * @returns jiffies from now to that at which the timer expires.
 */
export function roundJiffiesRelative(hz: number, delay: number, cpu: number, now: number): number {
  const nsPerJiffy = 1e9 / hz;
  // jiffies at boot: five minutes before the 32-bit counter wraps.
  const initial = 2 ** 32 - 300 * hz;
  const jiffies = initial + Math.floor(now / nsPerJiffy);
  const original = jiffies + delay;
  const skewed = original + cpu * CPU_SKEW;
  const rest = skewed % hz;
  // Down when less than a quarter of a second has passed since the whole one, else up.
  const rounded = (rest < hz / 4 ? skewed - rest : skewed - rest + hz) - cpu * CPU_SKEW;
  const due = rounded > jiffies ? rounded : original;
  return due - jiffies;
}
