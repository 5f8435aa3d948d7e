// When a timer of the wheel fires: the moment at which the bucket that it is put into expires, never before its own, and behind it by
// up to what a bucket of its level spans. Mirrors calc_wheel_index() and calc_index() of kernel/time/timer.c.

/** LVL_CLK_SHIFT: a bucket of a level spans eight of the level below. */
const LVL_CLK_SHIFT = 3;
/** LVL_SIZE: buckets of a level. */
const LVL_SIZE = 64;

/** LVL_DEPTH: levels, of which slow clocks need fewer. */
const depthAt = (hz: number): number => (hz > 100 ? 9 : 8);
/** LVL_GRAN(): jiffies of a bucket. */
const granularity = (level: number): number => 2 ** (LVL_CLK_SHIFT * level);
/** LVL_START(): jiffies from now on that are a level's. */
const startOf = (level: number): number => (LVL_SIZE - 1) * granularity(level - 1);

/**
 * @param clk jiffies now, absolute: buckets lie at multiples of what they span
 * @param delta jiffies from now to `expires`; below 0 where it should have fired before
 * @param hz jiffies in a second
 * @returns the jiffy at whose tick it fires
 */
export function bucketExpiry(clk: number, delta: number, hz: number): number {
  if (delta < 0) return clk;
  const depth = depthAt(hz);
  const cutoff = startOf(depth); // WHEEL_TIMEOUT_CUTOFF
  if (delta >= cutoff) return roundUp(clk + cutoff - granularity(depth - 1), depth - 1); // WHEEL_TIMEOUT_MAX
  let level = 0;
  while (delta >= startOf(level + 1)) level++;
  return roundUp(clk + delta, level);
}

/** calc_index(): to the next bucket, even where it is due as one begins. */
const roundUp = (expires: number, level: number): number =>
  (Math.floor(expires / granularity(level)) + 1) * granularity(level);
