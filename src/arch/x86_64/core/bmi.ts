// BMI1, BMI2, ADX and CRC32: of general registers, encoded as vector instructions are. Intel SDM volume 2, ANDN and the
// others by name.

import { isCarry, isOverflow, setCarryOverflow, setLogic } from './flags';
import { D } from './kinds';
import { a, b, c, get, imm, RDX, set } from './state';
import * as K from './vector_kinds';

export function bmi(kind: i32, op: u32): void {
  if (kind == K.CRC32) crc32(op);
  else if ((<u32>imm(op) & 0xff) == D) sized<u32>(kind, op);
  else sized<u64>(kind, op);
}

function sized<T>(kind: i32, op: u32): void {
  const x = <u64>get<T>(b(op));
  const y = <u64>get<T>(c(op));
  const bits: u64 = 8 * sizeof<T>();
  switch (kind) {
    case K.ANDN: withFlags<T>(op, <T>(~x & y), false); break;
    case K.BEXTR: bextr<T>(op, x, y); break;
    case K.BLSI: withFlags<T>(op, <T>(y & (0 - y)), y != 0); break;
    case K.BLSR: withFlags<T>(op, <T>(y & (y - 1)), y == 0); break;
    case K.BLSMSK: withFlags<T>(op, <T>(y ^ (y - 1)), y == 0); break;
    case K.BZHI: bzhi<T>(op, x, y); break;
    case K.PDEP: set<T>(a(op), <T>deposited(x, y)); break;
    case K.PEXT: set<T>(a(op), <T>extracted(x, y)); break;
    case K.MULX: mulx<T>(op, y); break;
    case K.SARX: set<T>(a(op), <T>((bits == 32 ? <i64>(<i32>y) : <i64>y) >> <i64>(x & (bits - 1)))); break;
    case K.SHLX: set<T>(a(op), <T>(y << (x & (bits - 1)))); break;
    case K.SHRX: set<T>(a(op), <T>(y >> (x & (bits - 1)))); break;
    case K.RORX: set<T>(a(op), rotr<T>(<T>y, <T>((imm(op) >> 8) & (bits - 1)))); break;
    case K.ADCX: setCarryOverflow(addedWithCarry<T>(op, y, isCarry()), isOverflow()); break;
    case K.ADOX: {
      const carry = isCarry();
      setCarryOverflow(carry, addedWithCarry<T>(op, y, isOverflow()));
      break;
    }
  }
}

/** a <- result; SF, ZF, CF; OF is 0 */
function withFlags<T>(op: u32, result: T, carry: bool): void {
  set<T>(a(op), result);
  setLogic<T>(result);
  setCarryOverflow(carry, false);
}

/** BEXTR: of b's bits, from x's low byte on, as many as its next byte says */
function bextr<T>(op: u32, x: u64, y: u64): void {
  const start = x & 0xff;
  const length = (x >> 8) & 0xff;
  const shifted: u64 = start > 63 ? 0 : y >> start;
  withFlags<T>(op, <T>(length > 63 ? shifted : shifted & (((<u64>1) << length) - 1)), false);
}
/** BZHI: zeros from a bit on; CF when there is no such bit */
function bzhi<T>(op: u32, x: u64, y: u64): void {
  const from = x & 0xff;
  withFlags<T>(op, <T>(from > 63 ? y : y & (((<u64>1) << from) - 1)), from >= 8 * sizeof<T>());
}

/** The low bits of x to where the mask has ones. */
function deposited(x: u64, mask: u64): u64 {
  let result: u64 = 0;
  for (let left = mask, i: u64 = 0; left != 0; left &= left - 1, i++)
    if (((x >> i) & 1) != 0) result |= left & (0 - left);
  return result;
}
function extracted(x: u64, mask: u64): u64 {
  let result: u64 = 0;
  for (let left = mask, i: u64 = 0; left != 0; left &= left - 1, i++)
    if ((x & left & (0 - left)) != 0) result |= (<u64>1) << i;
  return result;
}

/** MULX: the low half is written first, so that it is the high one where both are the same register */
function mulx<T>(op: u32, y: u64): void {
  if (sizeof<T>() == 4) {
    const product = <u64>load<u32>(RDX) * y;
    set<u32>(b(op), <u32>product);
    set<u32>(a(op), <u32>(product >> 32));
    return;
  }
  const x = load<u64>(RDX);
  const high = upperProduct(x, y);
  set<u64>(b(op), x * y);
  set<u64>(a(op), high);
}
/** Bits 64 to 127 of a product. */
export function upperProduct(x: u64, y: u64): u64 {
  const xl = x & 0xffffffff;
  const xh = x >> 32;
  const yl = y & 0xffffffff;
  const yh = y >> 32;
  const middle = xh * yl + ((xl * yl) >> 32);
  return xh * yh + (middle >> 32) + ((xl * yh + (middle & 0xffffffff)) >> 32);
}

/** a <- a + y + carry. @returns the carry out */
function addedWithCarry<T>(op: u32, y: u64, carry: bool): bool {
  const x = <u64>get<T>(a(op));
  const sum = <T>(x + y + <u64>carry);
  set<T>(a(op), sum);
  return <u64>sum < x || (carry && <u64>sum == x);
}

/** CRC32: c's bytes into the checksum in a, by the polynomial 11EDC6F41, its bits reversed */
function crc32(op: u32): void {
  const bytes: u32 = 1 << (<u32>imm(op) & 0xff);
  let crc = load<u32>(a(op));
  for (let i: u32 = 0; i < bytes; i++) {
    crc ^= load<u8>(c(op) + i);
    for (let bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  store<u64>(a(op), crc);
}
