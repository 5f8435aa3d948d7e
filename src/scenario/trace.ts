// Events as JSON lines: the same run gives the same bytes.

import type { KernelEvent } from '../kernel/events.ts';

/** One event in one line: addresses as `0x...`, bytes as `e8 00 ...`. */
export function traceLine(event: KernelEvent): string {
  return JSON.stringify(event, jsonValue);
}

/** For JSON.stringify: what JSON has no form for. */
export function jsonValue(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return `0x${value.toString(16)}`;
  if (value instanceof Uint8Array) return hexBytes(value);
  return value;
}

/** `0f 1f 44 00 00` */
export function hexBytes(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(' ');
}
