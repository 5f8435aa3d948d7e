// What a command has used of the computer, all its threads together: they are one process.

interface ResourcesUsed {
  /** Milliseconds of processor time, user and system: other load on the computer stretches it much less than time. */
  readonly cpuMs: number;
  /** Bytes. */
  readonly peakMemory: number;
}

export function resourcesUsed(): ResourcesUsed {
  const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
  return { cpuMs: Math.round((userCPUTime + systemCPUTime) / 1000), peakMemory: maxRSS * 1024 };
}
