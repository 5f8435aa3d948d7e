// Numbers in text that is written to a file of /proc/sys. Mirrors proc_get_long(), proc_dointvec() and
// proc_doulongvec_minmax() of kernel/sysctl.c for a table entry of one number.
//
// What stands behind the number and a blank is not looked at: the count that is returned ends before it.

import { PAGE_SIZE } from '../guest/memory.ts';
import { leadingNumber } from './lib.ts';
import { UAPI } from './uapi.ts';

const BLANKS = /^[ \t\n\v\f\r\xa0]*/;
/** What may follow a number: proc_wspace_sep. */
const SEPARATORS = ' \t\n';
/** Digits, sign and prefix together: TMPBUFLEN - 1 is too long already. */
const LONGEST = 21;

interface Written {
  readonly value: bigint;
  /** Bytes of the text that were taken. */
  readonly consumed: number;
}

/** An int: -2147483648 to 2147483647, also octal and hexadecimal. -EINVAL for anything else. */
export function procInt(text: string): Written | number {
  const found = procLong(text);
  if (typeof found === 'number') return found;
  return BigInt.asIntN(32, found.value) === found.value ? found : -UAPI.EINVAL;
}

/** An unsigned int. Mirrors proc_douintvec(). */
export function procUnsignedInt(text: string): Written | number {
  const found = procUnsignedLong(text);
  if (typeof found === 'number') return found;
  return found.value > 0xffff_ffffn ? -UAPI.EINVAL : found;
}

/** An unsigned long. */
export function procUnsignedLong(text: string): Written | number {
  const found = procLong(text);
  if (typeof found === 'number') return found;
  return found.negative ? -UAPI.EINVAL : found;
}

function procLong(whole: string): (Written & { readonly negative: boolean }) | number {
  const text = whole.slice(0, PAGE_SIZE - 1);
  const start = blanks(text);
  const word = text.slice(start, start + LONGEST);
  const negative = word.startsWith('-') && word.length > 1;
  const digits = negative ? word.slice(1) : word;
  if (!/^\d/.test(digits)) return -UAPI.EINVAL;
  const { value, rest } = leadingNumber(digits, 0);
  const length = word.length - rest.length;
  if (value > 0xffff_ffff_ffff_ffffn || length === LONGEST) return -UAPI.EINVAL;
  const end = start + length;
  if (end < text.length && !SEPARATORS.includes(text[end])) return -UAPI.EINVAL;
  const after = end + blanks(text.slice(end));
  return { value: negative ? -value : value, negative, consumed: after };
}

const blanks = (text: string): number => (BLANKS.exec(text)?.[0] ?? '').length;
