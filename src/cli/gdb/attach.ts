// klpemu gdb --attach: a debugger at a machine that klpemu up has started. What it says goes to the machine's process, and
// the answers back; nothing here understands any of it.

import type { Socket } from 'node:net';
import { UsageError } from '../exit.ts';
import { requireConnection } from '../session/socket.ts';

/** Has a debugger come to a machine. @throws UsageError where it cannot */
export async function attach(name: string): Promise<Socket> {
  const machine = await requireConnection(name);
  machine.setEncoding('latin1');
  machine.write('{"gdb":true}\n');
  const answer = JSON.parse(await firstLine(machine)) as { error?: string };
  if (answer.error === undefined) return machine;
  machine.destroy();
  throw new UsageError(`the machine '${name}' cannot be debugged: ${answer.error}`);
}

/** Nothing of the debugger's comes before. */
function firstLine(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    socket.once('data', (text: string) => resolve(text));
    socket.once('close', () => resolve('{"error":"it was ended"}'));
    socket.on('error', () => socket.destroy());
  });
}

/** Passes on what either says, until one of them is gone. */
export function relay(
  input: NodeJS.ReadableStream,
  output: NodeJS.WritableStream,
  machine: Socket,
): Promise<void> {
  input.setEncoding('latin1');
  return new Promise((resolve) => {
    const over = (): void => {
      machine.destroySoon();
      resolve();
    };
    input.on('data', (bytes: string) => machine.write(bytes, 'latin1'));
    for (const event of ['end', 'close', 'error']) input.on(event, over);
    output.on('error', over);
    machine.on('data', (bytes: string) => void output.write(Buffer.from(bytes, 'latin1') as never));
    machine.on('close', over);
  });
}
