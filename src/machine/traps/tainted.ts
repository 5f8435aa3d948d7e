// The kernel's taints as a line of an oops shows them. Mirrors print_tainted() and taint_flags[] of kernel/panic.c.

/** Letter when set, letter when not, by bit. */
const TAINT_FLAGS: readonly (readonly [string, string])[] = [
  ['P', 'G'],
  ...[...'FSRMBUDAWCIOELKXTN'].map((letter) => [letter, ' '] as const),
];

export function printTainted(taints: number): string {
  if (taints === 0) return 'Not tainted';
  const letters = TAINT_FLAGS.map(([set, clear], bit) => (taints & (1 << bit) ? set : clear));
  return `Tainted: ${letters.join('')}`;
}
