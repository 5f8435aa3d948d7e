// Operands as every instruction set has them: a list with commas, and what a number fits.

const INT32_MIN = -0x80000000n;
const INT32_MAX = 0x7fffffffn;

export const fitsInt32 = (n: bigint): boolean => n >= INT32_MIN && n <= INT32_MAX;

/** Splits at commas outside brackets and quotes. */
export function splitOperands(text: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let quote = '';
  let start = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text[i] as string;
    if (quote) {
      if (c === '\\') i++;
      else if (c === quote) quote = '';
    } else if (c === '"') quote = c;
    else if (c === "'" && /^'(\\.|[^\\'])'/.test(text.slice(i))) quote = c;
    else if (c === '(' || c === '[') depth++;
    else if (c === ')' || c === ']') depth--;
    else if (c === ',' && depth === 0) {
      parts.push(text.slice(start, i).trim());
      start = i + 1;
    }
  }
  const last = text.slice(start).trim();
  if (last !== '' || parts.length > 0) parts.push(last);
  return parts;
}
