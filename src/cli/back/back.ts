// klpemu back: the last moment before another at which something was so, with stack, code and the events before it.

import { comeTo, type FoundMoment, lastBefore } from '../../history/back.ts';
import { Checkpoints } from '../../history/checkpoints.ts';
import { positionOf } from '../../history/debuggee.ts';
import { DebugError } from '../../history/error.ts';
import { eventText } from '../../history/event_text.ts';
import { type Sought, soughtOf } from '../../history/sought.ts';
import type { Machine } from '../../machine/machine.ts';
import type { FileAccess } from '../../scenario/host_file.ts';
import { insnText } from '../../scenario/insn_text.ts';
import { listCode, nameTarget } from '../../scenario/text.ts';
import { hexBytes, jsonValue } from '../../scenario/trace.ts';
import { formatDuration } from '../../scenario/units.ts';
import { EXIT, UsageError } from '../exit.ts';
import { open } from '../scenario.ts';
import { print, toTerminalUnder } from '../terminal.ts';

interface BackOptions extends FileAccess {
  readonly from: string;
  readonly to: string;
  readonly seed?: number;
  readonly schedule?: string;
  readonly kernel?: string;
  readonly json?: boolean;
}

/** Bytes of code that are listed. */
const LISTED = 24;

export async function back(file: string, options: BackOptions): Promise<void> {
  const scenario = await open(file, options);
  const { seed, schedule, kernel } = options;
  const checkpoints = new Checkpoints(scenario, {
    ...(seed === undefined ? {} : { seed }),
    ...(schedule === undefined ? {} : { schedule }),
    ...(kernel === undefined ? {} : { kernel }),
  });
  try {
    const { sought, before } = await resolve(checkpoints, options);
    const found = await lastBefore(checkpoints, sought, before);
    if (!found) {
      say(options, { file, before, found: null }, `no ${sought.what} before instruction ${before}\n`);
      process.exitCode = EXIT.failed;
      return;
    }
    await tell(file, options, checkpoints, sought, found);
  } finally {
    checkpoints.close();
  }
}

/** What is looked for, by the names of the moment from which is looked back. */
async function resolve(checkpoints: Checkpoints, { from, to }: BackOptions) {
  try {
    const run = await comeTo(checkpoints, from);
    try {
      return { sought: soughtOf(to, run.machine), before: positionOf(run) };
    } finally {
      run.close();
    }
  } catch (error) {
    throw error instanceof DebugError ? new UsageError(error.message) : error;
  }
}

async function tell(
  file: string,
  options: BackOptions,
  checkpoints: Checkpoints,
  sought: Sought,
  { position, cpu, task, events }: FoundMoment,
): Promise<void> {
  const run = await checkpoints.at(position);
  try {
    const { machine } = run;
    const { core, smp } = machine.inspect;
    const { pc } = smp.cpus[cpu];
    const stack = stackOf(machine, cpu);
    const code = (await listCode(machine, pc, LISTED)).map(insnText);
    const t = machine.now();
    const bytes = (): string | undefined =>
      sought.kind === 'access' && core.mem.isMapped(sought.point.addr, sought.point.size)
        ? hexBytes(core.mem.readBytes(sought.point.addr, sought.point.size))
        : undefined;
    const before = bytes();
    const at = nameTarget(machine, pc) ?? `0x${pc.toString(16)}`;
    await run.go(position + 1);
    const after = bytes();
    const changed = before === undefined ? '' : `: ${before} -> ${after}`;
    const again = `klpemu gdb ${file} --at-instruction ${position}`;
    const json = { file, found: { position, t, cpu, task, at, before, after, stack, code, events } };
    const lines = [
      `${sought.what}${changed}`,
      `${task} on CPU ${cpu}, in ${at}, at ${formatDuration(t)}, before instruction ${position}`,
      ...stack.map((line) => `  ${line}`),
      'code:',
      ...toTerminalUnder(
        code.map((line) => `  ${line}`),
        UNDER_BYTES,
      ),
      'before it:',
      ...events.map((event) => `  ${eventText(event)}`),
      `there: ${again}`,
    ];
    say(options, json, `${lines.join('\n')}\n`);
  } finally {
    run.close();
  }
}

/** Where a CPU stands, and its callers, as far as its stack is reliable. */
function stackOf({ inspect }: Machine, cpu: number): string[] {
  const { core, smp, traces } = inspect;
  const trace = traces.stackTrace.explainRegsReliable(core.current(cpu), traces.cpuRegs(smp.cpus[cpu]));
  const lines = trace.entries.map((addr, i) => (i === 0 ? core.sym(addr) : core.symbols.formatReturn(addr)));
  return trace.ok ? lines : [...lines, `and no further: ${trace.reason}`];
}

/** Where the bytes of an instruction begin: what does not fit beside them stands there. */
const UNDER_BYTES = 20;

function say({ json }: BackOptions, value: unknown, text: string): void {
  print(json ? `${JSON.stringify(value, jsonValue)}\n` : text);
}
