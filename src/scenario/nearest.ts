// Which of the known names was meant by one that is not known.

/** The first that is so near that a slip of the fingers makes the difference. */
export function nearest(name: string, known: readonly string[]): string | undefined {
  return known.find((one) => distance(one, name) <= Math.max(1, Math.floor(name.length / 3)));
}

/** Letters to change, add or drop to make one word of the other. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + same);
    }
    row = next;
  }
  return row[b.length];
}
