// Clocks and conversions of time for guest code. Mirrors kernel/time/timekeeping.c, time.c, and round_jiffies()
// of timer.c. All clocks are the machine's virtual one; the wall clock stood at the epoch when it booted.

import type { Addr } from '../guest/addr.ts';
import type { HostFunction } from '../guest/hostcall.ts';
import type { KernelCore } from '../kernel/core.ts';
import { roundJiffies } from '../kernel/jiffies.ts';
import type { Timers } from './timer.ts';

const NSEC_PER_SEC = 1_000_000_000n;
/** MAX_JIFFY_OFFSET: what a negative time becomes. */
const MAX_JIFFY_OFFSET = 0x3ffffffffffffffen;

export function defineTime(core: KernelCore, timers: Timers): void {
  const { HZ } = core.kernel.constants;
  const hz = BigInt(HZ);
  const jiffyNs = BigInt(timers.tickNs);
  const msecPerJiffy = 1000n / hz;
  const usecPerJiffy = 1_000_000n / hz;
  const now = (): bigint => BigInt(Math.floor(core.clock.now()));
  const timespec = ({ args }: { args: readonly bigint[] }): void => writeTimespec(core, args[0], now());
  const round =
    (relative: boolean, up: boolean, cpu: (args: readonly bigint[], here: number) => bigint): HostFunction =>
    ({ args, cpu: here }) => {
      const jiffies = timers.jiffies();
      const base = relative ? jiffies : 0n;
      return roundJiffies(HZ, args[0] + base, cpu(args, here), jiffies, up) - base;
    };
  const named = (args: readonly bigint[]): bigint => args[1] & 0xffffffffn;
  const own = (_args: readonly bigint[], here: number): bigint => BigInt(here);
  core.host.defineAll({
    ktime_get: now,
    ktime_get_raw: now,
    ktime_get_mono_fast_ns: now,
    ktime_get_with_offset: now,
    ktime_get_coarse_with_offset: () => (now() / jiffyNs) * jiffyNs,
    ktime_get_seconds: () => now() / NSEC_PER_SEC,
    ktime_get_real_seconds: () => now() / NSEC_PER_SEC,
    ktime_get_ts64: timespec,
    ktime_get_real_ts64: timespec,
    ktime_get_raw_ts64: timespec,
    __msecs_to_jiffies: ({ args }) => toJiffies(args[0], msecPerJiffy),
    __usecs_to_jiffies: ({ args }) => toJiffies(args[0], usecPerJiffy),
    jiffies_to_msecs: ({ args }) => (args[0] * msecPerJiffy) & 0xffffffffn,
    jiffies_to_usecs: ({ args }) => (args[0] * usecPerJiffy) & 0xffffffffn,
    round_jiffies: round(false, false, own),
    round_jiffies_relative: round(true, false, own),
    round_jiffies_up: round(false, true, own),
    round_jiffies_up_relative: round(true, true, own),
    __round_jiffies: round(false, false, named),
    __round_jiffies_relative: round(true, false, named),
  });
}

function writeTimespec(core: KernelCore, at: Addr, ns: bigint): void {
  const { tv_sec, tv_nsec } = core.kernel.structs.timespec64.fields;
  core.mem.writeU64(at + BigInt(tv_sec), ns / NSEC_PER_SEC);
  core.mem.writeU64(at + BigInt(tv_nsec), ns % NSEC_PER_SEC);
}

/** An unsigned int of ms or us, rounded up. */
function toJiffies(arg: bigint, perJiffy: bigint): bigint {
  const time = arg & 0xffffffffn;
  return time & 0x80000000n ? MAX_JIFFY_OFFSET : (time + perJiffy - 1n) / perJiffy;
}
