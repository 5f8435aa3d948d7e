// Moments by their time, the first between two instructions at which the CPU that executes is not before it; and by the log.

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

/** Has a run go on until a line of the log has a text. @returns false: none came before its end */
export async function runToLine(run: Debuggee, text: string): Promise<boolean> {
  const { executor } = run.machine.inspect;
  let isThere = false;
  const leave = run.machine.events.subscribe(
    (event) => {
      if (event.type !== 'printk' || !event.text.includes(text)) return;
      isThere = true;
      executor.stopAt = executor.instructions;
    },
    ['printk'],
  );
  while (!isThere && run.over === undefined) await run.go(Number.POSITIVE_INFINITY);
  leave();
  return isThere;
}
