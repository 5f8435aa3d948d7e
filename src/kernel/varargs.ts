// Arguments of a variadic function that TypeScript calls itself. Those of guest code are the port's (src/arch/varargs.ts).

import type { ArgSource } from '../arch/varargs.ts';

/** Arguments that TypeScript has at hand. */
export function listArgs(values: readonly (bigint | number)[]): ArgSource {
  let next = 0;
  return () => BigInt.asUintN(64, BigInt(values[next++] ?? 0));
}
