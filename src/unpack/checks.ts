// The checksums of packed formats: CRC32 (IEEE 802.3) and CRC64 (ECMA-182) of xz, XXH64 of zstd.
// Node has none of them in every version that we run on.

/** Of one byte, and behind it those of the byte with one to seven bytes of zeros behind: a step takes eight bytes. */
const CRC32 = new Int32Array(8 * 256);
for (let byte = 0; byte < 256; byte++) {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  CRC32[byte] = crc;
}
for (let i = 256; i < CRC32.length; i++) {
  const before = CRC32[i - 256];
  CRC32[i] = (before >>> 8) ^ CRC32[before & 0xff];
}

export function crc32(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const words = bytes.length & ~7;
  let crc = -1;
  for (let at = 0; at < words; at += 8) {
    const low = crc ^ view.getInt32(at, true);
    const high = view.getInt32(at + 4, true);
    const ofLow =
      CRC32[0x700 + (low & 0xff)] ^
      CRC32[0x600 + ((low >>> 8) & 0xff)] ^
      CRC32[0x500 + ((low >>> 16) & 0xff)] ^
      CRC32[0x400 + (low >>> 24)];
    const ofHigh =
      CRC32[0x300 + (high & 0xff)] ^
      CRC32[0x200 + ((high >>> 8) & 0xff)] ^
      CRC32[0x100 + ((high >>> 16) & 0xff)] ^
      CRC32[high >>> 24];
    crc = ofLow ^ ofHigh;
  }
  for (let i = words; i < bytes.length; i++) crc = (crc >>> 8) ^ CRC32[(crc ^ bytes[i]) & 0xff];
  return ~crc >>> 0;
}

/** The same for up to three bytes of zeros, in halves: a step takes four bytes, in operations on words. */
const CRC64_LOW = new Int32Array(4 * 256);
const CRC64_HIGH = new Int32Array(4 * 256);
for (let byte = 0; byte < 256; byte++) {
  let [low, high] = [byte, 0];
  for (let bit = 0; bit < 8; bit++) {
    const odd = low & 1;
    low = (low >>> 1) | (high << 31);
    high >>>= 1;
    if (odd) [low, high] = [low ^ 0xd7870f42, high ^ 0xc96c5795];
  }
  CRC64_LOW[byte] = low;
  CRC64_HIGH[byte] = high;
}
for (let i = 256; i < CRC64_LOW.length; i++) {
  const [low, high] = [CRC64_LOW[i - 256], CRC64_HIGH[i - 256]];
  CRC64_LOW[i] = ((low >>> 8) | (high << 24)) ^ CRC64_LOW[low & 0xff];
  CRC64_HIGH[i] = (high >>> 8) ^ CRC64_HIGH[low & 0xff];
}

export function crc64(bytes: Uint8Array): bigint {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const words = bytes.length & ~3;
  let low = -1;
  let high = -1;
  for (let at = 0; at < words; at += 4) {
    const word = low ^ view.getInt32(at, true);
    const a = 0x300 + (word & 0xff);
    const b = 0x200 + ((word >>> 8) & 0xff);
    const c = 0x100 + ((word >>> 16) & 0xff);
    const d = word >>> 24;
    low = high ^ CRC64_LOW[a] ^ CRC64_LOW[b] ^ CRC64_LOW[c] ^ CRC64_LOW[d];
    high = CRC64_HIGH[a] ^ CRC64_HIGH[b] ^ CRC64_HIGH[c] ^ CRC64_HIGH[d];
  }
  for (let i = words; i < bytes.length; i++) {
    const at = (low ^ bytes[i]) & 0xff;
    low = ((low >>> 8) | (high << 24)) ^ CRC64_LOW[at];
    high = (high >>> 8) ^ CRC64_HIGH[at];
  }
  return (BigInt(~high >>> 0) << 32n) | BigInt(~low >>> 0);
}

const P1 = 0x9e3779b185ebca87n;
const P2 = 0xc2b2ae3d27d4eb4fn;
const P3 = 0x165667b19e3779f9n;
const P4 = 0x85ebca77c2b2ae63n;
const P5 = 0x27d4eb2f165667c5n;

const wrap = (value: bigint): bigint => BigInt.asUintN(64, value);
const rotate = (value: bigint, by: bigint): bigint => wrap(value << by) | (value >> (64n - by));
const round = (lane: bigint, input: bigint): bigint => wrap(rotate(wrap(lane + wrap(input * P2)), 31n) * P1);
const merge = (hash: bigint, lane: bigint): bigint => wrap(wrap((hash ^ round(0n, lane)) * P1) + P4);

/** With the seed 0. */
export function xxh64(bytes: Uint8Array): bigint {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  let hash = P5;
  if (bytes.length >= 32) {
    const end = bytes.length & ~31;
    const [a, b, c, d] = [wrap(P1 + P2), P2, 0n, wrap(-P1)].map((start, i) =>
      laneOf(view, i * 8, end, start),
    );
    at = end;
    hash = wrap(rotate(a, 1n) + rotate(b, 7n) + rotate(c, 12n) + rotate(d, 18n));
    for (const lane of [a, b, c, d]) hash = merge(hash, lane);
  }
  hash = wrap(hash + BigInt(bytes.length));
  for (; at + 8 <= bytes.length; at += 8) {
    hash = wrap(rotate(hash ^ round(0n, view.getBigUint64(at, true)), 27n) * P1 + P4);
  }
  if (at + 4 <= bytes.length) {
    hash = wrap(rotate(hash ^ wrap(BigInt(view.getUint32(at, true)) * P1), 23n) * P2 + P3);
    at += 4;
  }
  for (; at < bytes.length; at++) hash = wrap(rotate(hash ^ wrap(BigInt(bytes[at]) * P5), 11n) * P1);
  hash = wrap((hash ^ (hash >> 33n)) * P2);
  hash = wrap((hash ^ (hash >> 29n)) * P3);
  return hash ^ (hash >> 32n);
}

/**
 * One of the four lanes, which take turns at 8 bytes: round() of all its words. In halves of 32 bits, and products of
 * quarters: numbers of any size take fifty times as long.
 */
function laneOf(view: DataView, from: number, end: number, start: bigint): bigint {
  let low = Number(start & WORD_MASK) | 0;
  let high = Number(start >> 32n) | 0;
  for (let at = from; at < end; at += 32) {
    const inLow = view.getInt32(at, true);
    const inHigh = view.getInt32(at + 4, true);
    // lane + input * P2
    const product = Math.imul(inLow, P2_LOW);
    const sum = (low + product) | 0;
    const carry = sum >>> 0 < product >>> 0 ? 1 : 0;
    const added = highOf(inLow, P2_LOW) + Math.imul(inLow, P2_HIGH) + Math.imul(inHigh, P2_LOW);
    high = (high + added + carry) | 0;
    // rotated by 31
    low = (sum << 31) | (high >>> 1);
    high = (high << 31) | (sum >>> 1);
    // times P1
    high = (highOf(low, P1_LOW) + Math.imul(low, P1_HIGH) + Math.imul(high, P1_LOW)) | 0;
    low = Math.imul(low, P1_LOW);
  }
  return (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
}

/** The high half of the product of two unsigned words. */
function highOf(x: number, y: number): number {
  const [a, b, c, d] = [x & 0xffff, x >>> 16, y & 0xffff, y >>> 16];
  const first = Math.imul(b, c);
  const second = Math.imul(a, d);
  const middle = (Math.imul(a, c) >>> 16) + (first & 0xffff) + (second & 0xffff);
  return (Math.imul(b, d) + (first >>> 16) + (second >>> 16) + (middle >>> 16)) | 0;
}

const WORD_MASK = 0xffffffffn;
const P1_LOW = Number(P1 & WORD_MASK) | 0;
const P1_HIGH = Number(P1 >> 32n) | 0;
const P2_LOW = Number(P2 & WORD_MASK) | 0;
const P2_HIGH = Number(P2 >> 32n) | 0;
