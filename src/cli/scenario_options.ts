// What the commands that run a scenario share: options, and the exit codes that their help tells.

import { InvalidArgumentError, Option } from 'commander';
import { parseDuration } from '../scenario/units.ts';

export const EXIT_CODES = `
Exit codes:
  0  everything that the scenario expects was seen
  1  an expectation failed
  2  bad usage, or a scenario or file that cannot be used
  3  guest panic or unexpected oops, or the machine failed`;

function seed(text: string): number {
  const value = Number(text);
  if (/^(0x[0-9a-f]+|\d+)$/i.test(text) && value <= 0xffffffff) return value;
  throw new InvalidArgumentError('It must be a whole number below 2^32.');
}

function time(text: string): number {
  const ns = parseDuration(text);
  if (ns === undefined) throw new InvalidArgumentError('It must be a duration: 250ms, 1.5s, 10us.');
  return ns;
}

export const allowFilesOption = () =>
  new Option(
    '--allow-files',
    "the scenario may name files outside of its folder, and of 'modules' and 'bundles' beside it",
  );
export const seedOption = () =>
  new Option('--seed <number>', "seed of the machine's choices, instead of the scenario's").argParser(seed);
export const scheduleOption = () =>
  new Option(
    '--schedule <text>',
    'what is done to the order of events, as explore prints it (docs/explore.md)',
  );
export const kernelOption = () =>
  new Option(
    '--kernel <file>',
    'a vmlinuz that is put under the machine, or the release of an installed one',
  );
export const atOption = () =>
  new Option('--at <time>', 'virtual time since boot (1.2s, 800ms)').argParser(time);

interface RunSettings {
  readonly seed?: number;
  readonly schedule?: string;
  readonly kernel?: string;
}

/** Of all options, what says which run it is. */
export const runSettings = ({ seed, schedule, kernel }: RunSettings): RunSettings => ({
  ...(seed === undefined ? {} : { seed }),
  ...(schedule === undefined ? {} : { schedule }),
  ...(kernel === undefined ? {} : { kernel }),
});
