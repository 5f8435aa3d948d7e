// The shell's text, which is one character a byte, to and from that of the computer; what a command gives, printed.

import type { Result } from '../../shell/result.ts';
import { clearScreen, print, printError } from '../terminal.ts';

export function toBytes(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}

export function fromBytes(bytes: string): string {
  return Buffer.from(bytes, 'latin1').toString('utf8');
}

/** What a command gave: byte for byte for a program, and as text that does nothing for a terminal. */
export function writeResult({ stdout, stderr, clear }: Result): void {
  if (clear) clearScreen();
  if (stdout !== '') write(stdout, process.stdout, print);
  if (stderr !== '') write(stderr, process.stderr, printError);
}

function write(text: string, stream: NodeJS.WriteStream, printText: (text: string) => void): void {
  const bytes = Buffer.from(text, 'latin1');
  if (stream.isTTY) printText(bytes.toString('utf8'));
  else stream.write(bytes);
}
