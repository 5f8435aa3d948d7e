// When the next retry falls due: on a whole second, so that timers of many share one wake-up.
// Mirrors round_jiffies_relative() of kernel/time/timer.c.

import { CONSTANTS } from '../kernel/layout.ts';

const { HZ } = CONSTANTS;
const NS_PER_JIFFY = 1e9 / HZ;
/** jiffies at boot: five minutes before the 32-bit counter wraps. */
const INITIAL_JIFFIES = 2 ** 32 - 300 * HZ;
/** Jiffies by which CPUs are kept apart. */
const CPU_SKEW = 3;

/**
 * @param delay jiffies from now. @param cpu the CPU that asks. @param now virtual ns.
 * @returns ns from now to the jiffy at which the timer fires.
 */
export function roundJiffiesRelative(delay: number, cpu: number, now: number): number {
  const jiffies = INITIAL_JIFFIES + Math.floor(now / NS_PER_JIFFY);
  const original = jiffies + delay;
  const skewed = original + cpu * CPU_SKEW;
  const rest = skewed % HZ;
  // Down when less than a quarter of a second has passed since the whole one, else up.
  const rounded = (rest < HZ / 4 ? skewed - rest : skewed - rest + HZ) - cpu * CPU_SKEW;
  const due = rounded > jiffies ? rounded : original;
  return (due - INITIAL_JIFFIES) * NS_PER_JIFFY - now;
}
