// When V8 forgets what it has compiled, and when it compiles for good what it has executed for a while: TurboFan takes some
// ten milliseconds for a function, in a thread beside, which a short process pays without having anything of it.
//
// Flags are set where nothing but time depends on them, and only in versions whose own values are known (Node 20, 22, 24).

import { setFlagsFromString } from 'node:v8';

interface Budgets {
  /** Bytes of WebAssembly that a function executes before; jumps back count with the bytes that they go back. */
  readonly webAssembly: number;
  /** Bytes of bytecode. Later versions count calls, and compile less of a short process. */
  readonly bytecode?: number;
}

/** V8's own, by its version. */
const OWN: Readonly<Record<string, Budgets>> = {
  11: { webAssembly: 1_800_000, bytecode: 67_584 },
  12: { webAssembly: 13_000_000 },
  13: { webAssembly: 13_000_000 },
};
const own = OWN[process.versions.v8.split('.')[0] as string];

/**
 * A module whose loop goes back over all of its code for each small thing it does. V8's own budget is some hundred
 * rounds of it; this is some ten thousand, a few milliseconds.
 */
const OF_LOOPS = 2_000_000_000;

/** Compiles a module whose functions are to earn TurboFan by that budget. */
export function withLoopBudget<T>(compile: () => T): T {
  if (!own) return compile();
  setFlagsFromString(`--wasm-tiering-budget=${OF_LOOPS}`);
  try {
    return compile();
  } finally {
    setFlagsFromString(`--wasm-tiering-budget=${own.webAssembly}`);
  }
}

/**
 * A loop that turned out to be long is compiled at once, not in a thread beside while it goes on without: for commands that
 * go over millions of instructions in one loop after the other.
 */
export function compileLoopsAtOnce(): void {
  if (own) setFlagsFromString('--no-concurrent-osr');
}

/**
 * V8 forgets the code of functions that were not called for a while. What a process keeps of its compiled code would lack
 * those that it calls once, at its start, of all.
 */
export function keepBytecode(): void {
  if (own) setFlagsFromString('--no-flush-bytecode');
}

/**
 * For the rest of the process: four times V8's, with which a process of seconds takes no more time than without.
 * @param ofMany commands one after the other, each with code of its own: sixteen times, with which they take less
 */
export function raiseBytecodeBudget(ofMany: boolean): void {
  if (own?.bytecode) setFlagsFromString(`--interrupt-budget=${(ofMany ? 16 : 4) * own.bytecode}`);
}
