// What the person at the debugger asks beside its protocol: `monitor why`, and the like.
//
// Invariant: but for `goto` nothing of it has the machine execute anything; `back` executes its history in others.

import { backText } from '../history/back_text.ts';
import { DebugError } from '../history/error.ts';
import { SOUGHT_USAGE } from '../history/sought.ts';
import { formatDuration, parseDuration } from '../scenario/units.ts';
import { Shell } from '../shell/shell.ts';
import type { Moment, Session } from './session.ts';

interface MonitorCommand {
  readonly usage: string;
  readonly text: string;
  run(session: Session, words: readonly string[]): Promise<string> | string;
}

/** A command of the shell that only looks. */
const look = (name: string, usage: string, text: string): MonitorCommand => ({
  usage,
  text,
  run: async ({ machine }, words) => {
    const { stdout, stderr } = await new Shell(machine).run([name, ...words]);
    return stdout + stderr;
  },
});

const COMMANDS: Readonly<Record<string, MonitorCommand>> = {
  why: look('why', 'why', 'who has not switched, and why'),
  stack: look('stack', 'stack PID', 'as /proc/PID/stack has it'),
  disas: look('disas', 'disas SYMBOL', 'the text of a function as it is now'),
  dmesg: {
    usage: 'dmesg [LINES]',
    text: 'the log, or its last lines',
    run: ({ machine }, [lines]) => {
      const log = machine.dmesg();
      return log.slice(/^\d+$/.test(lines ?? '') ? Math.max(0, log.length - Number(lines)) : 0).join('\n');
    },
  },
  transition: {
    usage: 'transition',
    text: 'which one is under way',
    run: ({ machine }) => transition(machine),
  },
  schedule: { usage: 'schedule', text: 'where the machine is, and how to come here again', run: schedule },
  back: {
    usage: 'back WHAT',
    text: 'the last moment before this one at which something was so: write, change, call, dmesg (docs/gdb.md)',
    run: back,
  },
  goto: {
    usage: 'goto TIME | goto instruction N | goto dmesg TEXT',
    text: 'to another moment of the same history',
    run: goTo,
  },
};

/** Commands, by name. */
export class Monitor {
  readonly #session: Session;

  constructor(session: Session) {
    this.#session = session;
  }

  async run(line: string): Promise<string> {
    const [name = 'help', ...words] = line.trim().split(/\s+/).filter(Boolean);
    if (name === 'help') return helpText();
    if (!Object.hasOwn(COMMANDS, name))
      return `klpemu: no command ${name}; there are ${Object.keys(COMMANDS).join(', ')}`;
    return COMMANDS[name].run(this.#session, words);
  }
}

function helpText(): string {
  const width = Math.max(...Object.values(COMMANDS).map(({ usage }) => usage.length));
  return Object.values(COMMANDS)
    .map(({ usage, text }) => `${usage.padEnd(width)}  ${text}`)
    .join('\n');
}

function transition(machine: Session['machine']): string {
  const found = machine.why();
  if (!found) return 'no transition is under way';
  const { patch, direction, blocked, switched, now, since } = found;
  return `${patch}: ${direction} for ${formatDuration(now - since)}, ${switched} switched, ${blocked.length} have not`;
}

function schedule({ machine, position, changedAt }: Session): string {
  const { options } = machine;
  const how = options.schedule === '' ? `seed ${options.seed}` : `schedule ${options.schedule}`;
  const other = changedAt === undefined ? '' : `; another history since instruction ${changedAt}`;
  return `${how}, instruction ${position} at ${formatDuration(machine.now())}${other}`;
}

async function back(session: Session, words: readonly string[]): Promise<string> {
  if (words.length === 0) return `klpemu: back WHAT, which is ${SOUGHT_USAGE}`;
  return answered(async () => {
    const answer = await session.back(words.join(' '));
    return answer ? backText(answer, (position) => `monitor goto instruction ${position}`) : NO_WAY;
  });
}

const NO_WAY = 'klpemu: there is no way back from here';

async function goTo(session: Session, words: readonly string[]): Promise<string> {
  const moment = momentOf(words);
  if (!moment) return `klpemu: ${COMMANDS.goto.usage}`;
  return answered(async () => {
    if (!(await session.goTo(moment))) return NO_WAY;
    return `${schedule(session)}\n'maintenance flush register-cache' and 'thread' have gdb look again`;
  });
}

function momentOf([first = '', ...rest]: readonly string[]): Moment | undefined {
  const time = parseDuration(first);
  if (time !== undefined) return { time };
  if (first === 'instruction' && /^\d{1,15}$/.test(rest[0] ?? '')) return { position: Number(rest[0]) };
  return first === 'dmesg' && rest.length > 0 ? { line: rest.join(' ') } : undefined;
}

/** What is not to be had is said. */
async function answered(work: () => Promise<string>): Promise<string> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof DebugError) return `klpemu: ${error.message}`;
    throw error;
  }
}
