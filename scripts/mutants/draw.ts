// A sample that is the same in each run: by a seed, and by what the mutants are, not by the order in which they were found.

/** `size` of them, without replacement, by a linear congruential generator (Knuth's MMIX); all where there are no more. */
export function draw<T>(from: readonly T[], keyOf: (one: T) => string, size: number, seed: number): T[] {
  const left = from.map((one) => ({ one, key: keyOf(one) })).sort((a, b) => (a.key < b.key ? -1 : 1));
  const drawn: T[] = [];
  let state = BigInt(seed);
  while (drawn.length < size && left.length > 0) {
    state = BigInt.asUintN(64, state * 6364136223846793005n + 1442695040888963407n);
    const [{ one }] = left.splice(Number((state >> 33n) % BigInt(left.length)), 1);
    drawn.push(one);
  }
  return drawn;
}
