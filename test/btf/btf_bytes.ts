// BTF from a list of types, for tests: what pahole would write of them.

type Part =
  | {
      readonly kind: 'int';
      readonly name: string;
      readonly size: number;
      readonly bits?: number;
      readonly within?: number;
    }
  | { readonly kind: 'ptr' | 'const' | 'volatile' | 'restrict'; readonly of: number }
  | { readonly kind: 'array'; readonly of: number; readonly count: number }
  | {
      readonly kind: 'struct' | 'union';
      readonly name: string;
      readonly size: number;
      readonly members: readonly Member[];
      readonly flag?: boolean;
    }
  | {
      readonly kind: 'enum' | 'enum64';
      readonly name: string;
      readonly signed?: boolean;
      readonly values: readonly (readonly [string, bigint])[];
    }
  | { readonly kind: 'fwd'; readonly name: string; readonly union?: boolean }
  | { readonly kind: 'typedef' | 'typeTag' | 'func'; readonly name: string; readonly of: number }
  | {
      readonly kind: 'proto';
      readonly of: number;
      readonly parameters: readonly (readonly [string, number])[];
    };

interface Member {
  readonly name: string;
  readonly type: number;
  /** In bits. */
  readonly at: number;
  readonly width?: number;
}

const NUMBERS = {
  int: 1,
  ptr: 2,
  array: 3,
  struct: 4,
  union: 5,
  enum: 6,
  fwd: 7,
  typedef: 8,
  volatile: 9,
  const: 10,
  restrict: 11,
  func: 12,
  proto: 13,
  typeTag: 18,
  enum64: 19,
} as const;

/** The first is type 1; of a module's, the one behind the base's last, and its strings go on at `strings`. */
export function btfBytes(types: readonly Part[], stringsFrom = 0): Uint8Array {
  const words: number[] = [];
  const strings: Buffer[] = [Buffer.from([0])];
  let length = 1;
  if (stringsFrom > 0) {
    strings.length = 0;
    length = 0;
  }
  const string = (name: string): number => {
    if (name === '') return 0;
    const at = stringsFrom + length;
    strings.push(Buffer.from(`${name}\0`));
    length += name.length + 1;
    return at;
  };
  const type = (
    name: number,
    kind: keyof typeof NUMBERS,
    parts: number,
    flag: boolean,
    size: number,
  ): void => {
    words.push(name, parts | (NUMBERS[kind] << 24) | (flag ? 2 ** 31 : 0), size);
  };
  for (const one of types) {
    switch (one.kind) {
      case 'int':
        type(string(one.name), 'int', 0, false, one.size);
        words.push((one.bits ?? one.size * 8) | ((one.within ?? 0) << 16));
        break;
      case 'array':
        type(0, 'array', 0, false, 0);
        words.push(one.of, 1, one.count);
        break;
      case 'struct':
      case 'union':
        type(string(one.name), one.kind, one.members.length, one.flag ?? false, one.size);
        for (const { name, type: of, at, width = 0 } of one.members)
          words.push(string(name), of, one.flag ? at | (width << 24) : at);
        break;
      case 'enum':
      case 'enum64':
        type(string(one.name), one.kind, one.values.length, one.signed ?? false, one.kind === 'enum' ? 4 : 8);
        for (const [name, value] of one.values) {
          words.push(string(name), Number(BigInt.asUintN(32, value)));
          if (one.kind === 'enum64') words.push(Number(BigInt.asUintN(32, value >> 32n)));
        }
        break;
      case 'fwd':
        type(string(one.name), 'fwd', 0, one.union ?? false, 0);
        break;
      case 'proto':
        type(0, 'proto', one.parameters.length, false, one.of);
        for (const [name, of] of one.parameters) words.push(string(name), of);
        break;
      default:
        type('name' in one ? string(one.name) : 0, one.kind, 0, false, one.of);
    }
  }
  const body = Buffer.alloc(words.length * 4);
  words.forEach((word, i) => {
    body.writeUInt32LE(word >>> 0, i * 4);
  });
  const header = Buffer.alloc(24);
  header.writeUInt16LE(0xeb9f, 0);
  header[2] = 1;
  [24, 0, body.length, body.length, length].forEach((word, i) => {
    header.writeUInt32LE(word, 4 + i * 4);
  });
  return new Uint8Array(Buffer.concat([header, body, ...strings]));
}
