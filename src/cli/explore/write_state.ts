// A file that is there whole, or as it was.

import { renameSync, writeFileSync } from 'node:fs';
import { systemReason, UsageError } from '../exit.ts';

/** @throws UsageError */
export function writeWholeFile(file: string, text: string): void {
  try {
    writeFileSync(`${file}.${process.pid}`, text);
    renameSync(`${file}.${process.pid}`, file);
  } catch (error) {
    throw new UsageError(`${file}: ${systemReason(error)}`);
  }
}
