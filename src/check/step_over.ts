// Which instructions a check steps over instead of executing: those that the engine must not be given or could not execute,
// and those that go where no code says.
//
// Invariant: none of them changes the stack pointer, but one that takes something off the stack is said to.

/** Why an instruction is not executed where it stands; counted by their numbers; the first are the port's (src/arch/checking.ts). */
const SKIP_REASONS = [
  'vector instructions',
  'privileged, or of a device',
  'divisions by what happens to be there',
  'repeated by a count that nobody set',
  'interrupts, and returns from them',
  'no memory where a pointer leads',
  'not known to the engine',
] as const;
export const NO_MEMORY = 5;
export const UNKNOWN_TO_ENGINE = 6;

/** Instructions not executed, by reason. */
export class Skips {
  readonly counts = new Int32Array(SKIP_REASONS.length);

  get total(): number {
    return this.counts.reduce((sum, n) => sum + n, 0);
  }
  add(other: Skips): void {
    other.counts.forEach((n, i) => {
      this.counts[i] += n;
    });
  }
  clear(): void {
    this.counts.fill(0);
  }
  byReason(): Record<string, number> {
    const named: Record<string, number> = {};
    this.counts.forEach((n, i) => {
      if (n > 0) named[SKIP_REASONS[i]] = n;
    });
    return named;
  }
}
