// V8's compiled code of the program on disk, a file a command or kind of thread.
//
// It is used only as it was written: V8 looks at its version and flags, and at the length of the source, at nothing else.

import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { threadId } from 'node:worker_threads';

const CHECKSUM_SIZE = 32;

const checksumOf = (bytes: Uint8Array): Buffer => createHash('sha256').update(bytes).digest();

export class CompiledCode {
  readonly #folder: string;
  readonly #program: string;
  readonly #file: string;

  /** @param program file name with the hash of what is in it */
  constructor(folder: string, program: string, name: string) {
    this.#folder = folder;
    this.#program = program;
    this.#file = join(folder, `${program}.${process.version}.${process.arch}.${name}`);
  }

  read(): Buffer | undefined {
    try {
      const bytes = readFileSync(this.#file);
      const code = bytes.subarray(CHECKSUM_SIZE);
      return checksumOf(code).equals(bytes.subarray(0, CHECKSUM_SIZE)) ? code : undefined;
    } catch {
      return undefined;
    }
  }

  /** In the place of what is there, and of the code of other programs. */
  keep(code: Buffer): void {
    // Threads of one process may do so at once.
    const written = `${this.#file}.${process.pid}.${threadId}`;
    try {
      mkdirSync(this.#folder, { recursive: true });
      for (const name of readdirSync(this.#folder)) {
        if (!name.startsWith(this.#program)) rmSync(join(this.#folder, name), { force: true });
      }
      writeFileSync(written, Buffer.concat([checksumOf(code), code]));
      renameSync(written, this.#file);
    } catch {
      // A cache that cannot be written costs time, nothing else.
    }
  }
}
