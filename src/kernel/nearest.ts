// Which word was perhaps meant by one that is unknown.

/** The word that is nearest to another one, if one is near: a letter of three may be wrong, missing, too many or swapped. */
export function nearest(word: string, known: Iterable<string>): string | undefined {
  let best: string | undefined;
  let least = Math.max(1, Math.floor(word.length / 3)) + 1;
  for (const candidate of known) {
    if (Math.abs(candidate.length - word.length) >= least) continue;
    const steps = distance(candidate, word);
    if (steps >= least) continue;
    best = candidate;
    least = steps;
  }
  return best;
}

/** `; did you mean 'load'?`, or nothing. */
export function didYouMean(word: string, known: Iterable<string>, before = '; '): string {
  const found = nearest(word, known);
  return found === undefined ? '' : `${before}did you mean '${found}'?`;
}

/** Letters to change, add, drop or swap with the next to make one word of the other. */
function distance(a: string, b: string): number {
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + same);
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (swapped) next[j] = Math.min(next[j], before[j - 2] + 1);
    }
    before = row;
    row = next;
  }
  return row[b.length];
}
