// `npm run behaviour -- BEFORE AFTER [--sequences N] [--engines A,B] [--keep DIR]`: does the program of one commit do
// what that of another did? Both are checked out, built and made to record the same things (record.ts); what they
// recorded is compared byte for byte. Exit code 0: the same; 1: something differs, which is named with its first
// difference. A folder of recordings that --keep left (DIR/before or DIR/after) stands for its commit. With --engines,
// the guest of BEFORE is executed by the one and that of AFTER by the other: `. . --engines core,unicorn`. Two that differ do without
// address spaces, which Unicorn has not, but where a scenario asks for them; what `check` has to step over is left out.
//
// A change that is said to change no behaviour is shown by this.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { ENGINES } from '../../src/arch/engine.ts';
import { ScriptUsageError } from '../errors.ts';
import { ROOT } from '../root.ts';
import { Checkout } from './checkout.ts';
import { differences, type Recording } from './difference.ts';
import { isKept, record, recordingIn } from './record.ts';

const USAGE =
  'usage: npm run behaviour -- BEFORE AFTER [--sequences N] [--engines A,B] [--keep DIR]   (. is the work tree as it is, a folder of kept recordings what was recorded)';

export async function main(args: string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      sequences: { type: 'string', default: '200' },
      engines: { type: 'string', default: 'core,core' },
      keep: { type: 'string' },
    },
  });
  const sequences = Number(values.sequences);
  const engines = values.engines.split(',');
  const isKnown =
    engines.length === 2 && engines.every((name) => (ENGINES as readonly string[]).includes(name));
  if (positionals.length !== 2 || !Number.isInteger(sequences) || sequences < 0 || !isKnown)
    throw new ScriptUsageError(USAGE);
  const work =
    values.keep === undefined ? mkdtempSync(join(tmpdir(), 'klpemu-behaviour-')) : resolve(values.keep);
  try {
    const isOneSpace = engines[0] !== engines[1];
    const [before, after] = [
      await recordCommit(positionals[0], join(work, 'before'), { sequences, isOneSpace, engine: engines[0] }),
      await recordCommit(positionals[1], join(work, 'after'), { sequences, isOneSpace, engine: engines[1] }),
    ];
    report(before, after, positionals);
  } finally {
    if (values.keep === undefined) rmSync(work, { recursive: true, force: true });
  }
}

interface Wanted {
  readonly sequences: number;
  readonly engine: string;
  /** Two engines are compared: kernel and users in one address space. */
  readonly isOneSpace: boolean;
}

async function recordCommit(commit: string, to: string, wanted: Wanted): Promise<Recording> {
  if (isKept(commit)) return recordingIn(commit);
  const checkout = Checkout.of(commit, ROOT);
  try {
    console.log(`${commit} (${checkout.name}), executed by ${wanted.engine}`);
    if (wanted.isOneSpace) process.env.KLPEMU_PROTECTION = 'off';
    // what the commands and the sequences of the checkout take for the default (src/arch/engine.ts)
    process.env.KLPEMU_ENGINE = wanted.engine;
    return await record(checkout, to, {
      sequences: wanted.sequences,
      isOfEngine: wanted.isOneSpace,
      say: (line) => console.log(`  ${line}`),
    });
  } finally {
    checkout.remove();
  }
}

function report(before: Recording, after: Recording, [a, b]: readonly string[]): void {
  const found = differences(before, after);
  for (const { what, why } of found) console.log(`DIFFERENT ${what}\n${why.replace(/^/gm, '    ')}`);
  const total = new Set([...before.files.keys(), ...after.files.keys()]).size;
  console.log(
    `${total} recordings of ${a} and ${b}: ${total - found.length} the same, ${found.length} different`,
  );
  if (found.length > 0) process.exitCode = 1;
}
