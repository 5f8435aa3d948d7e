// Mutants that tests do not notice, looked at one by one: each with the reason why nobody could, or what would have to be there.
// By what they are (asmKey, sourceKey), not by lines.

interface Known {
  readonly mutant: string;
  /** equivalent: nothing can tell it from the code as it is. open: a test could, and there is none yet. */
  readonly is: 'equivalent' | 'open';
  readonly why: string;
}

export const KNOWN: readonly Known[] = [];
