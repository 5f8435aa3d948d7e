// A linked ELF file from sections, for tests.

import { EHDR_SIZE, SHDR_SIZE } from '../../src/elf/constants.ts';

export interface Section {
  readonly name: string;
  readonly address: bigint;
  /** SHF_* */
  readonly flags: number;
  /** SHT_*; PROGBITS. */
  readonly type?: number;
  readonly bytes: Uint8Array;
  /** In memory, where the file has nothing of it. */
  readonly size?: number;
}

/** Without symbols, as a kernel is in its image. */
export function linkedElf(sections: readonly Section[]): Uint8Array {
  const names = ['', ...sections.map(({ name }) => name), '.shstrtab'];
  const strings = Buffer.from(`${names.join('\0')}\0`, 'latin1');
  const header = Buffer.alloc(EHDR_SIZE);
  const rows: Buffer[] = [Buffer.alloc(SHDR_SIZE)];
  const parts: Uint8Array[] = [header];
  let at = EHDR_SIZE;
  let nameAt = 1;
  const add = ({ name, address, flags, type = 1, bytes, size }: Section): void => {
    const padding = -at & 15;
    const row = Buffer.alloc(SHDR_SIZE);
    row.writeUInt32LE(nameAt, 0);
    row.writeUInt32LE(type, 4);
    row.writeBigUInt64LE(BigInt(flags), 8);
    row.writeBigUInt64LE(address, 16);
    row.writeBigUInt64LE(BigInt(at + padding), 24);
    row.writeBigUInt64LE(BigInt(size ?? bytes.length), 32);
    row.writeBigUInt64LE(1n, 48);
    rows.push(row);
    parts.push(new Uint8Array(padding), bytes);
    at += padding + bytes.length;
    nameAt += name.length + 1;
  };
  for (const section of sections) add(section);
  add({ name: '.shstrtab', address: 0n, flags: 0, type: 3, bytes: strings });
  parts.push(new Uint8Array(-at & 7), ...rows);
  header.write('\x7fELF\x02\x01\x01', 0, 'latin1');
  header.writeUInt16LE(2, 16);
  header.writeUInt16LE(62, 18);
  header.writeUInt32LE(1, 20);
  header.writeBigUInt64LE(BigInt(at + (-at & 7)), 40);
  header.writeUInt16LE(EHDR_SIZE, 52);
  header.writeUInt16LE(SHDR_SIZE, 58);
  header.writeUInt16LE(rows.length, 60);
  header.writeUInt16LE(rows.length - 1, 62);
  return new Uint8Array(Buffer.concat(parts));
}
