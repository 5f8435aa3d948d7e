// Moments by their time: the first between two instructions at which the CPU that executes is not before it.

import type { Debuggee } from './debuggee.ts';

/** Has a run go on until a virtual time, ns. */
export async function runToTime(run: Debuggee, ns: number): Promise<void> {
  const { executor } = run.machine.inspect;
  const { instructionNs } = run.machine.options;
  if (run.machine.now() >= ns) return;
  const { onSteer, steersAlways } = executor;
  executor.steersAlways = true;
  executor.onSteer = (cpu) => {
    const done = onSteer(cpu);
    const left = Math.max(0, Math.ceil((ns - cpu.clock) / instructionNs));
    executor.stopAt = executor.instructions + left;
    return done;
  };
  try {
    await run.go(Number.POSITIVE_INFINITY);
  } finally {
    Object.assign(executor, { onSteer, steersAlways });
  }
}
