// Writes that leave nothing out, or say so. A pipe takes as much as it has room for, and one that is not
// blocking says EAGAIN instead of waiting, to whoever reads it as well.

import { writeFileSync, writeSync } from 'node:fs';
import { systemReason, UsageError } from './exit.ts';

/** How long to wait for who reads, or writes, in milliseconds. */
const PATIENCE = 2;
const sleeper = new Int32Array(new SharedArrayBuffer(4));

/** @throws Error of the system, such as EPIPE and ENOSPC */
export function writeWhole(fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) at += whenReady(() => writeSync(fd, bytes, at));
}

/** Tries again while the other end of a pipe is not ready. */
export function whenReady(move: () => number): number {
  for (;;) {
    try {
      return move();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      Atomics.wait(sleeper, 0, 0, PATIENCE);
    }
  }
}

/** Writes a file that the user has named. @throws UsageError, which names it too */
export function writeNamed(path: string, bytes: Uint8Array): void {
  try {
    writeFileSync(path, bytes);
  } catch (error) {
    throw new UsageError(`${path}: ${systemReason(error)}`);
  }
}
