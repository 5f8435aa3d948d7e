// The thread that a machine runs in: one command after the other. Whoever wants one to end says so in shared memory,
// which is looked at between slices. A debugger is heard at any time.

import { parentPort, workerData } from 'node:worker_threads';
import type { LiveMachine } from '../../history/live_machine.ts';
import { UsageError } from '../exit.ts';
import { bootShell, type KeptShell, type ShellMachineOptions } from '../shell/options.ts';
import type { MachineDebugger } from './machine_debugger.ts';
import type { FromMachine, Reply, ToMachine, Work } from './machine_work.ts';
import { messageOf, replyTo } from './reply.ts';

/** The number of the request that is to be ended. */
const wanted = new Int32Array(workerData as SharedArrayBuffer);
let serving = 0;
let kept: KeptShell;
let live: LiveMachine;
let attached: MachineDebugger | undefined;

const tell = (message: FromMachine): void => parentPort?.postMessage(message);

parentPort?.on('message', async (message: Exclude<ToMachine, { interrupt: number }>) => {
  if ('boot' in message) tell(await boot(message.boot));
  else if ('said' in message) attached?.take(message.said);
  else if ('debugger' in message) await debug(message.debugger);
  else tell({ id: message.id, reply: await serve(message.id, message.work) });
});

async function boot(options: ShellMachineOptions): Promise<FromMachine> {
  const warnings: string[] = [];
  try {
    kept = await bootShell(options, {
      warn: (line) => warnings.push(line),
      interrupted: () => serving !== 0 && Atomics.load(wanted, 0) === serving,
      drive: () => (condition, ns) => live.drive(condition, ns),
    });
    const { LiveMachine } = await import('../../history/live_machine.ts');
    const { guest } = kept.shell.context;
    live = new LiveMachine(guest.machine, {
      get failure() {
        return guest.failure;
      },
      passes: (own) => kept.past.passes(own),
      changed: () => kept.past.changed(),
    });
    return { booted: warnings, now: guest.machine.now() };
  } catch (error) {
    return { notBooted: messageOf(error), usage: error instanceof UsageError };
  }
}

async function serve(id: number, work: Work): Promise<Reply> {
  serving = id;
  const { shell, past } = kept;
  const reply = await ('complete' in work
    ? replyTo(shell, work)
    : live.command(() => past.perform(shell, (on) => replyTo(on, work))));
  serving = 0;
  return reply;
}

/** At most one debugger is at the machine. */
async function debug(what: 'comes' | 'is gone'): Promise<void> {
  if (what === 'is gone') {
    attached?.lost();
    return;
  }
  try {
    const { MachineDebugger } = await import('./machine_debugger.ts');
    attached = await MachineDebugger.at(live, kept.past, (answered) => tell({ answered }));
  } catch (error) {
    tell({ debugged: true, refused: messageOf(error) });
    return;
  }
  tell({ debugged: true });
  await attached.left;
  attached = undefined;
  tell({ left: true });
}
