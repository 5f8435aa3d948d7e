// Files that a run is written to when it is over: opened before it begins, so that nothing is run in vain.

import { closeSync, openSync, rmSync } from 'node:fs';
import { systemReason, UsageError } from '../exit.ts';
import { writeWhole } from '../write_whole.ts';

export class OutputFile {
  readonly #path: string;
  readonly #fd: number;

  /** @throws UsageError when it cannot be written */
  constructor(path: string) {
    this.#path = path;
    try {
      this.#fd = openSync(path, 'w');
    } catch (error) {
      throw new UsageError(`${path}: ${systemReason(error)}`);
    }
  }

  /** Writes all of it, and closes the file. @throws UsageError */
  write(parts: Iterable<string>): void {
    try {
      for (const part of parts) writeWhole(this.#fd, Buffer.from(part));
    } catch (error) {
      throw new UsageError(`${this.#path}: ${systemReason(error)}`);
    } finally {
      closeSync(this.#fd);
    }
  }

  /** There is nothing to write: nobody is to take an older file, or an empty one, for it. */
  discard(): void {
    closeSync(this.#fd);
    rmSync(this.#path, { force: true });
  }
}
