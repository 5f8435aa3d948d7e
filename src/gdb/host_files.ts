// The files that the debugger asks for through the stub (vFile packets): those that it takes symbols from, and no others.
// gdb's manual, Host I/O packets. Nothing of the host's own files can be reached.

import { countOf, hexOf, numberOf, textOf } from './hex.ts';
import { escaped } from './packet.ts';

/** Errors of the File-I/O protocol. */
const [EPERM, ENOENT, EBADF, EINVAL, EMFILE] = [1, 2, 9, 22, 24];
const MOST_OPEN = 64;
/** struct stat of the protocol: 64 bytes; where in it mode and size are. */
const [STAT_SIZE, STAT_MODE, STAT_LINKS, STAT_BYTES] = [64, 8, 12, 28];
const REGULAR_FILE = 0o100444;
const O_ACCESS = 3;

/** As much as fits in a packet, whatever is escaped. */
const MOST_READ = 0x7000;

export class HostFiles {
  readonly #read: (name: string) => Uint8Array | undefined;
  readonly #open = new Map<number, Uint8Array>();

  /** @param read undefined: there is no such file */
  constructor(read: (name: string) => Uint8Array | undefined) {
    this.#read = read;
  }

  /** @param request behind `vFile:` @returns undefined: what is asked is not known */
  answer(request: string): string | undefined {
    const [operation, ...rest] = request.split(':');
    const parameters = rest.join(':').split(',');
    switch (operation) {
      case 'setfs':
        return 'F0';
      case 'open':
        return this.#opens(parameters);
      case 'close':
        return this.#open.delete(countOf(parameters[0]) ?? -1) ? 'F0' : failed(EBADF);
      case 'pread':
        return this.#reads(parameters);
      case 'fstat':
        return this.#stat(parameters);
      case 'readlink':
        return failed(ENOENT);
      case 'pwrite':
      case 'unlink':
        return failed(EPERM);
      default:
        return undefined;
    }
  }

  #opens([path = '', flags = '']: readonly string[]): string {
    const name = textOf(path);
    const how = countOf(flags);
    if (name === undefined || how === undefined) return failed(EINVAL);
    if ((how & O_ACCESS) !== 0) return failed(EPERM);
    const bytes = this.#read(name);
    if (!bytes) return failed(ENOENT);
    if (this.#open.size >= MOST_OPEN) return failed(EMFILE);
    let descriptor = 3;
    while (this.#open.has(descriptor)) descriptor++;
    this.#open.set(descriptor, bytes);
    return `F${descriptor.toString(16)}`;
  }

  #reads([descriptor = '', count = '', offset = '']: readonly string[]): string {
    const bytes = this.#open.get(countOf(descriptor) ?? -1);
    const [size, from] = [countOf(count), numberOf(offset)];
    if (!bytes) return failed(EBADF);
    if (size === undefined || from === undefined) return failed(EINVAL);
    const start = from > BigInt(bytes.length) ? bytes.length : Number(from);
    const part = bytes.subarray(start, start + Math.min(size, MOST_READ));
    return `F${part.length.toString(16)};${escaped(Buffer.from(part).toString('latin1'))}`;
  }

  #stat([descriptor = '']: readonly string[]): string {
    const bytes = this.#open.get(countOf(descriptor) ?? -1);
    if (!bytes) return failed(EBADF);
    const stat = Buffer.alloc(STAT_SIZE);
    stat.writeUInt32BE(REGULAR_FILE, STAT_MODE);
    stat.writeUInt32BE(1, STAT_LINKS);
    stat.writeBigUInt64BE(BigInt(bytes.length), STAT_BYTES);
    return `F${STAT_SIZE.toString(16)};${escaped(Buffer.from(hexOf(stat), 'hex').toString('latin1'))}`;
  }
}

const failed = (errno: number): string => `F-1,${errno.toString(16)}`;
