// Writes to file descriptors that leave nothing out: a pipe takes as much as it has room for, and one that is not
// blocking says EAGAIN instead of waiting.

import { writeSync } from 'node:fs';

/** How long to wait for a reader, in milliseconds. */
const PATIENCE = 2;
const sleeper = new Int32Array(new SharedArrayBuffer(4));

/** @throws Error of the system, such as EPIPE and ENOSPC */
export function writeWhole(fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) at += writeSome(fd, bytes, at);
}

function writeSome(fd: number, bytes: Uint8Array, at: number): number {
  try {
    return writeSync(fd, bytes, at);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
    Atomics.wait(sleeper, 0, 0, PATIENCE);
    return 0;
  }
}
