// The events of random sequences (test/properties), as a checkout's own code gives them: a program is bundled from
// it that runs the sequences of a share, each drawn from a seed of its own, and prints a line of digest for each.

import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { CommandError } from '../setup/run.ts';
import type { Checkout } from './checkout.ts';
import type { Keep } from './record.ts';

/** Runs in the checkout: `argv` is the first seed, the step to the next one and the end. */
const PROGRAM = `
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { runSequence, sequence } from './test/properties/sequences.ts';
import { traceLine } from './src/scenario/trace.ts';

const [from, step, end] = process.argv.slice(2).map(Number);
for (let seed = from; seed < end; seed += step) {
  const [one] = fc.sample(sequence, { seed, numRuns: 1, unbiased: true });
  const hash = createHash('sha256');
  let events = 0;
  let outcome = 'ok';
  try {
    await runSequence(one, (event) => {
      events++;
      hash.update(traceLine(event) + '\\n');
    });
  } catch (error) {
    outcome = String(error);
  }
  console.log(JSON.stringify({ seed, events, sha256: hash.digest('hex'), outcome }));
}
`;

/** The packages with a native library or a WebAssembly file beside them. */
const EXTERNAL = ['koffi', '@alexaltea/keystone-js', '@alexaltea/capstone-js', 'iced-x86'];

export async function recordSequences(checkout: Checkout, count: number, keep: Keep): Promise<void> {
  if (count === 0) return;
  const outfile = join(checkout.dir, '.cache/behaviour/sequences.mjs');
  await build({
    stdin: { contents: PROGRAM, resolveDir: checkout.dir, loader: 'ts', sourcefile: 'sequences_program.ts' },
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    outfile,
    external: EXTERNAL,
    logLevel: 'warning',
  });
  const lanes = Math.min(availableParallelism(), count);
  const outputs = await Promise.all(
    Array.from({ length: lanes }, (_, lane) => output(checkout, outfile, [lane + 1, lanes, count + 1])),
  );
  for (const line of outputs.flatMap((text) => text.trim().split('\n'))) {
    keep(`sequence/${(JSON.parse(line) as { seed: number }).seed}`, `${line}\n`);
  }
}

function output(checkout: Checkout, program: string, args: readonly number[]): Promise<string> {
  const child = spawn(process.execPath, [program, ...args.map(String)], { cwd: checkout.dir });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (text) => (stdout += text));
  child.stderr.on('data', (text) => (stderr += text));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => {
      if (code === 0) resolve(stdout);
      else
        reject(
          new CommandError(`${checkout.name}: the sequences ended with ${signal ?? code}: ${stderr.trim()}`),
        );
    });
  });
}
