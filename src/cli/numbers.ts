// Numbers as reports print them.

export const whole = (n: number): string => n.toLocaleString('en-US');

/** `1 object`, `2 objects`, `3 entries` */
export function counted(n: number, what: string): string {
  if (n === 1) return `1 ${what}`;
  return `${whole(n)} ${what.replace(/y$/, 'ie')}s`;
}

export const percent = (part: number, all: number): string =>
  all === 0 ? '-' : `${((100 * part) / all).toFixed(2)} %`;
