// Results that are kept on disk between runs, by name.
//
// Invariants: what is read is, to the byte, what was written, by a checksum over all of it, or it is said, thrown away and
// made anew; a folder that cannot be written, or read, costs time and nothing else; the files of the folder together are no
// larger than its limit: those that were used least lately go.

import { createHash } from 'node:crypto';
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { isMainThread } from 'node:worker_threads';

const CHECKSUM_SIZE = 32;
const PART = '.part';

export class DiskCache {
  readonly folder: string;
  readonly #most: number;

  /** @param most bytes of all files */
  constructor(folder: string, most: number) {
    this.folder = folder;
    this.#most = most;
  }

  /** undefined: it is not there, or no longer what was written. */
  read(name: string): Uint8Array | undefined {
    const path = join(this.folder, name);
    let bytes: Buffer;
    try {
      bytes = readFileSync(path);
    } catch {
      return undefined;
    }
    const data = bytes.subarray(CHECKSUM_SIZE);
    if (!checksum([data]).equals(bytes.subarray(0, CHECKSUM_SIZE))) {
      this.drop(name);
      return undefined;
    }
    this.#quietly(() => this.#used(path));
    return data;
  }

  /**
   * Fills an array with what was written from an offset on, without a look at the checksum: whoever calls it has one.
   * @returns whether there was as much
   */
  readInto(name: string, from: number, into: Uint8Array): boolean {
    let file: number | undefined;
    try {
      file = openSync(join(this.folder, name), 'r');
      for (let done = 0; done < into.length; ) {
        const read = readSync(file, into, done, into.length - done, CHECKSUM_SIZE + from + done);
        if (read === 0) return false;
        done += read;
      }
      return true;
    } catch {
      return false;
    } finally {
      if (file !== undefined) closeSync(file);
    }
  }

  /** Whether there is a file of that name with so much in it; it counts as used. */
  has(name: string, size: number): boolean {
    const path = join(this.folder, name);
    if (statSync(path, { throwIfNoEntry: false })?.size !== size + CHECKSUM_SIZE) return false;
    this.#quietly(() => this.#used(path));
    return true;
  }

  /** It is not what was written. */
  drop(name: string): void {
    const path = join(this.folder, name);
    if (isMainThread) process.stderr.write(`klpemu: ${path}: it is damaged; it is made anew\n`);
    this.#quietly(() => rmSync(path));
  }

  write(name: string, pieces: readonly Uint8Array[]): void {
    const size = pieces.reduce((sum, { length }) => sum + length, CHECKSUM_SIZE);
    if (size > this.#most) return;
    const path = join(this.folder, name);
    const part = `${path}.${process.pid}${PART}`;
    this.#quietly(() => {
      mkdirSync(this.folder, { recursive: true });
      this.#makeRoom(size);
      try {
        writeFileSync(part, Buffer.concat([checksum(pieces), ...pieces]));
        // Whole or not at all: others may be reading it.
        renameSync(part, path);
      } catch (error) {
        rmSync(part, { force: true });
        throw error;
      }
    });
  }

  /** The oldest go first, by when they were last read; what a run that was ended left behind is one of them. */
  #makeRoom(size: number): void {
    const files = readdirSync(this.folder).flatMap((name) => {
      const path = join(this.folder, name);
      const stat = statSync(path, { throwIfNoEntry: false });
      return stat?.isFile() ? [{ path, size: stat.size, used: stat.mtimeMs }] : [];
    });
    files.sort((a, b) => a.used - b.used);
    let total = files.reduce((sum, file) => sum + file.size, size);
    for (const file of files) {
      if (total <= this.#most) return;
      rmSync(file.path, { force: true });
      total -= file.size;
    }
  }

  #used(path: string): void {
    const now = new Date();
    utimesSync(path, now, now);
  }

  #quietly(run: () => void): void {
    try {
      run();
    } catch (error) {
      // A cache that cannot be written costs time, nothing else.
      if ((error as NodeJS.ErrnoException).code === undefined) throw error;
    }
  }
}

function checksum(pieces: readonly Uint8Array[]): Buffer {
  const hash = createHash('sha256');
  for (const piece of pieces) hash.update(piece);
  return hash.digest();
}
