// klpemu gdb: a scenario at a moment, with a debugger at it.

import { DebugServer, type Serve, serveStreams, toSession } from '../../gdb/server.ts';
import { type Moment, Session } from '../../gdb/session.ts';
import { Checkpoints } from '../../history/checkpoints.ts';
import { type DrivenRun, scenarioProgram } from '../../history/driven_run.ts';
import { DebugError } from '../../history/error.ts';
import type { Scenario } from '../../scenario/scenario.ts';
import { EXIT, systemReason, UsageError } from '../exit.ts';
import { open } from '../scenario.ts';
import { runSettings } from '../scenario_options.ts';
import { print, printError } from '../terminal.ts';
import { attach, relay } from './attach.ts';

/** Options that say which run it is, and which moment. */
const OF_A_SCENARIO = [
  'at',
  'atInstruction',
  'atDmesg',
  'seed',
  'schedule',
  'kernel',
  'allowFiles',
  'checkpoints',
] as const;

interface GdbOptions {
  readonly attach?: string;
  readonly at?: number;
  readonly atInstruction?: number;
  readonly atDmesg?: string;
  readonly checkpoints?: number;
  readonly port: number;
  readonly socket?: string;
  readonly stdio?: boolean;
  readonly seed?: number;
  readonly schedule?: string;
  readonly kernel?: string;
  readonly allowFiles?: boolean;
}

export async function gdb(file: string | undefined, options: GdbOptions): Promise<void> {
  if (options.stdio && options.socket !== undefined)
    throw new UsageError('--stdio and --socket are both where the debugger is: one of them');
  const moment = momentOf(options);
  if (options.attach !== undefined) {
    if (file !== undefined || OF_A_SCENARIO.some((name) => options[name] !== undefined))
      throw new UsageError(
        '--attach is to a machine that is up, at this moment: with no scenario, and no other moment',
      );
    await debugMachine(options.attach, options);
  } else {
    if (file === undefined) throw new UsageError('a scenario, or --attach NAME');
    await debugScenario(file, options, moment);
  }
}

/** One debugger, at a machine that is up: it goes on when that leaves. */
async function debugMachine(name: string, options: GdbOptions): Promise<void> {
  const machine = await attach(name);
  try {
    if (options.stdio) await relay(process.stdin, process.stdout, machine);
    else
      await serve(async (socket) => {
        await relay(socket, socket, machine);
        return 'detached';
      }, options);
  } finally {
    machine.destroy();
    process.stdin.pause();
  }
}

async function debugScenario(file: string, options: GdbOptions, moment: Moment | undefined): Promise<void> {
  const scenario = await open(file, { allowFiles: options.allowFiles ?? false });
  const { session, checkpoints } = await begin(scenario, options, moment);
  try {
    const how = options.stdio
      ? await serveStreams(session, process.stdin, process.stdout)
      : await serve(toSession(session), options);
    if (how === 'detached') await finish(session);
  } finally {
    session.close();
    checkpoints.close();
    process.stdin.pause();
  }
}

function momentOf({ at, atInstruction, atDmesg }: GdbOptions): Moment | undefined {
  const moments: readonly (Moment | undefined)[] = [
    at === undefined ? undefined : { time: at },
    atInstruction === undefined ? undefined : { position: atInstruction },
    atDmesg === undefined ? undefined : { line: atDmesg },
  ];
  const [moment, another] = moments.filter((one) => one !== undefined);
  if (another !== undefined)
    throw new UsageError('--at, --at-instruction and --at-dmesg are each a moment: one of them');
  return moment;
}

async function begin(scenario: Scenario, options: GdbOptions, moment: Moment | undefined) {
  const checkpoints = new Checkpoints(scenarioProgram(scenario, runSettings(options)), options.checkpoints);
  let run: DrivenRun | undefined;
  try {
    run = await checkpoints.boot();
    const session = new Session(run, checkpoints);
    if (moment !== undefined) await session.goTo(moment);
    return { session, checkpoints };
  } catch (error) {
    run?.close();
    throw error instanceof DebugError ? new UsageError(error.message) : error;
  }
}

async function serve(each: Serve, { port, socket }: GdbOptions) {
  const server = new DebugServer(each);
  const address = socket === undefined ? { port } : { path: socket };
  const where = await server.listen(address).catch((error) => {
    throw new UsageError(`${socket ?? `port ${port}`} cannot be used: ${systemReason(error)}`);
  });
  const leave = (): void => {
    server.close(socket);
    process.exit(EXIT.ok);
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, leave);
  print(`gdb -ex 'target remote ${where}'\n`);
  const how = await server.done;
  server.close(socket);
  return how;
}

/** The debugger is gone, and the scenario goes on to its end. */
async function finish(session: Session): Promise<void> {
  session.points.clear();
  const report = await session.finish();
  if (!report) return;
  if (report.failure) printError(`klpemu: ${report.failure.message}\n`);
  const failed = report.expectations.some(({ ok }) => !ok);
  process.exitCode = report.failure ? EXIT.machine : failed ? EXIT.failed : EXIT.ok;
}
