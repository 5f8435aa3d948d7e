// Unicorn as src/check opens it: an instruction is the one at the PC, and memory is where zones say.
//
// Kept from it are instructions that it does not have (AVX), or that it executes otherwise than whole.

import type { Addr } from '../../../guest/addr.ts';
import type { CpuContext, StopKind } from '../../../guest/engine.ts';
import { type CheckEngine, DIVISION, PRIVILEGED, REPEATED, VECTOR, type Zone } from '../../checking.ts';
import { UnicornEngine } from '../unicorn/unicorn.ts';

const KEPT_FROM_IT: ReadonlySet<number> = new Set([VECTOR, PRIVILEGED, DIVISION, REPEATED]);

export class CheckUnicorn extends UnicornEngine implements CheckEngine {
  /** What changes more than general registers is kept from it. */
  reset(): void {}

  readonly readsAhead = true;
  cannot(why: number): boolean {
    return KEPT_FROM_IT.has(why);
  }

  mapElsewhere(zones: readonly Zone[], size: number, offset: number): void {
    for (const [from, to] of zones) {
      for (let at: Addr = from; at < to; at += BigInt(size)) this.map(at, size, 3, offset);
    }
  }

  step(context: CpuContext): StopKind | undefined {
    const { kind, executed } = this.run(context, 1);
    return kind === 'budget' && executed === 1 ? undefined : kind;
  }
}
