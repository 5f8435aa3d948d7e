// Numbers, bytes and texts as packets have them: hexadecimal digits.

export const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** undefined: no such digits, or an odd number of them. */
export function bytesOf(hex: string): Uint8Array | undefined {
  return /^(?:[0-9a-f]{2})*$/i.test(hex) ? new Uint8Array(Buffer.from(hex, 'hex')) : undefined;
}

/** Of UTF-8. */
export const hexText = (text: string): string => Buffer.from(text, 'utf8').toString('hex');

export function textOf(hex: string): string | undefined {
  const bytes = bytesOf(hex);
  return bytes && Buffer.from(bytes).toString('utf8');
}

/** An address or a value, most significant digit first. */
export function numberOf(hex: string): bigint | undefined {
  return /^[0-9a-f]{1,16}$/i.test(hex) ? BigInt(`0x${hex}`) : undefined;
}

/** One that counts something: as a number, below 2^32. */
export function countOf(hex: string): number | undefined {
  return /^[0-9a-f]{1,8}$/i.test(hex) ? Number.parseInt(hex, 16) : undefined;
}

/** A value in the byte order of the target, least significant byte first. */
export function littleEndian(value: bigint, bytes: number): string {
  const big = BigInt.asUintN(8 * bytes, value)
    .toString(16)
    .padStart(2 * bytes, '0');
  return (big.match(/../g) ?? []).reverse().join('');
}

export function fromLittleEndian(hex: string): bigint | undefined {
  const bytes = bytesOf(hex);
  if (!bytes || bytes.length === 0) return undefined;
  return BigInt(`0x${hexOf(bytes.reverse())}`);
}
