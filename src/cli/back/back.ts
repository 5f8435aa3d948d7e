// klpemu back: the last moment before another at which something was so, with stack, code and the events before it.

import type { BackAnswer } from '../../history/back.ts';
import { backText, backValue } from '../../history/back_text.ts';
import { DebugError } from '../../history/error.ts';
import { back as goBack } from '../../history/scenario_back.ts';
import type { FileAccess } from '../../scenario/host_file.ts';
import { jsonValue } from '../../scenario/trace.ts';
import { EXIT, UsageError } from '../exit.ts';
import { open } from '../scenario.ts';
import { runSettings } from '../scenario_options.ts';
import { print, toTerminalUnder } from '../terminal.ts';

interface BackOptions extends FileAccess {
  readonly from: string;
  readonly to: string;
  readonly seed?: number;
  readonly schedule?: string;
  readonly kernel?: string;
  readonly json?: boolean;
}

/** Where the bytes of an instruction begin: what does not fit beside them stands there. */
const UNDER_BYTES = 20;

export async function back(file: string, options: BackOptions): Promise<void> {
  const scenario = await open(file, options);
  const { to, from } = options;
  const answer = await goBack(scenario, to, from, runSettings(options)).catch(asUsage);
  print(options.json ? json(file, answer) : text(file, answer));
  if (!answer.found) process.exitCode = EXIT.failed;
}

function asUsage(error: unknown): never {
  throw error instanceof DebugError ? new UsageError(error.message) : error;
}

const json = (file: string, answer: BackAnswer): string =>
  `${JSON.stringify({ file, ...backValue(answer) }, jsonValue)}\n`;

const text = (file: string, answer: BackAnswer): string =>
  backText(
    answer,
    (position) => `klpemu gdb ${file} --at-instruction ${position}`,
    (lines) => toTerminalUnder([...lines], UNDER_BYTES),
  );
