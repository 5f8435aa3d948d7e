// kallsyms as scripts/kallsyms.c writes them, in each of their layouts.

export interface Listed {
  readonly address: bigint;
  /** As nm has it. */
  readonly type: string;
  readonly name: string;
}

/** The kernel that had it first, and how addresses are stored. */
export const LAYOUTS = {
  '2.6': 'addresses',
  '4.6': 'offsets from a base, those of per-CPU symbols absolute',
  '6.2': 'offsets from a base, those of per-CPU symbols absolute',
  '6.4': 'offsets from a base, those of per-CPU symbols absolute',
  '6.15': 'offsets from a base',
  '7.0': 'offsets from their own places',
} as const;
export type Layout = keyof typeof LAYOUTS;

interface Written {
  readonly bytes: Uint8Array;
  /** Where the parts begin. */
  readonly names: number;
  readonly tokens: number;
  readonly offsets: number;
}

/** Pieces of text that stand for a byte which no name has. */
const PIECES: readonly string[] = ['__', 'start', 'stop', 'ab', '_x', 'T', 'sys_'];

/** @param start where the bytes will lie. Symbols go by address. */
export function kallsymsBytes(symbols: readonly Listed[], layout: Layout, start: bigint): Written {
  const base = symbols.find(({ address }) => address >> 32n !== 0n)?.address ?? 0n;
  const tokens = Array.from({ length: 256 }, (_, i) =>
    i >= 0x21 && i < 0x7f ? String.fromCharCode(i) : (PIECES[i % 16] ?? ''),
  );
  const out = new Writer();
  const isBefore = layout === '2.6' || layout === '4.6' || layout === '6.2';
  let offsets = 0;
  const addresses = (): void => {
    out.align(8);
    offsets = out.length;
    symbols.forEach(({ address }) => {
      if (layout === '2.6') out.long(address);
      else if (layout === '7.0') out.word(Number(BigInt.asIntN(32, address - start - BigInt(out.length))));
      else if (layout === '6.15') out.word(Number(address - base));
      else out.word(address >> 32n === 0n ? Number(address) : Number(base - 1n - address));
    });
    out.align(8);
    if (layout !== '2.6' && layout !== '7.0') out.long(base);
  };
  out.text('what stands before it\0');
  if (isBefore) addresses();
  out.align(8);
  out.word(symbols.length);
  out.align(8);
  const names = out.length;
  const markers = symbols.map(({ type, name }) => {
    const at = out.length - names;
    const codes = encode(type + name, tokens);
    out.bytes(codes.length < 0x80 ? [codes.length] : [(codes.length & 0x7f) | 0x80, codes.length >> 7]);
    out.bytes(codes);
    return at;
  });
  out.align(8);
  for (let i = 0; i < symbols.length; i += 256) {
    if (layout === '2.6') out.long(BigInt(markers[i]));
    else out.word(markers[i]);
  }
  // Numbers of names in their order, three bytes each.
  if (layout === '6.2') {
    out.align(8);
    for (let i = 0; i < symbols.length; i++) out.bytes([0, i >> 8, i & 0xff]);
  }
  out.align(8);
  const table = out.length;
  const index = tokens.map((token) => {
    const at = out.length - table;
    out.text(`${token}\0`);
    return at;
  });
  out.align(8);
  for (const at of index) out.bytes([at & 0xff, at >> 8]);
  if (!isBefore) addresses();
  out.text('what stands behind it\0');
  return { bytes: out.finish(), names, tokens: table, offsets };
}

/** By the longest token that fits, wherever one does. */
function encode(text: string, tokens: readonly string[]): number[] {
  const codes: number[] = [];
  for (let at = 0; at < text.length; ) {
    const piece = PIECES.find((one) => one.length > 1 && text.startsWith(one, at)) ?? text[at];
    codes.push(tokens.indexOf(piece));
    at += piece.length;
  }
  return codes;
}

class Writer {
  readonly #parts: Buffer[] = [];
  length = 0;

  #add(part: Buffer): void {
    this.#parts.push(part);
    this.length += part.length;
  }

  bytes(values: readonly number[]): void {
    this.#add(Buffer.from(values));
  }

  text(value: string): void {
    this.#add(Buffer.from(value, 'latin1'));
  }

  word(value: number): void {
    const part = Buffer.alloc(4);
    part.writeUInt32LE(value >>> 0);
    this.#add(part);
  }

  long(value: bigint): void {
    const part = Buffer.alloc(8);
    part.writeBigUInt64LE(BigInt.asUintN(64, value));
    this.#add(part);
  }

  align(to: number): void {
    this.#add(Buffer.alloc(-this.length & (to - 1)));
  }

  finish(): Uint8Array {
    return new Uint8Array(Buffer.concat(this.#parts));
  }
}
