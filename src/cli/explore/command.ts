// The options of klpemu explore.

import { type Command, InvalidArgumentError, Option } from 'commander';
import { parseDuration } from '../../scenario/units.ts';
import { allowFilesOption, scheduleOption } from '../scenario_options.ts';

const EXIT_CODES = `
Exit codes:
  0  nothing was found, and the searcher has done all that it has to do
  1  something was found: its schedule is printed
  2  bad usage, or a scenario that cannot be used
  4  nothing was found until the time was over: what is left is said`;

export function addExplore(root: Command): void {
  root
    .command('explore')
    .description('look for an order of events in which a scenario goes wrong')
    .argument('<file>', 'scenario (YAML) of ordinary operations')
    .addOption(
      new Option('--searcher <name>', 'which orders are tried')
        .choices(['bounded', 'pct', 'random', 'replay', 'determinism'])
        .default('pct'),
    )
    .addOption(number('--preemptions <number>', 'at most so many in one run', 1, 16).default(2))
    .addOption(number('--seed <number>', 'of pct, random and determinism', 0, 0xffffffff).default(1))
    .addOption(
      new Option('--time <time>', 'how long (60s, 5m), of the clock of the host')
        .argParser(time)
        .default(60_000, '60s'),
    )
    .addOption(number('--threads <number>', 'how many runs at once (default: one a processor)', 1, 256))
    .addOption(
      new Option(
        '--known <kinds>',
        'kinds of findings, by commas, that are counted and not stopped at',
      ).argParser(kinds),
    )
    .option('--at <text>', 'only at points with this, or one of several by commas, in their name')
    .addOption(
      new Option('--do <letters>', 'only this, by commas: p, h, w as in schedules').argParser(things),
    )
    .option('--state <file>', 'go on from where the file says, and leave there what is not done')
    .addOption(
      new Option(
        '--queue <url>',
        'a Redis server, redis://HOST[:PORT][/DATABASE]: other processes execute the schedules, on other computers too',
      ).argParser(redisUrl),
    )
    .option('--worker', 'be one of these processes, until it is told to end: with --queue, and the same file')
    .addOption(scheduleOption())
    .addOption(allowFilesOption())
    .option('--json', 'as one JSON object')
    .option(
      '--html <file>',
      'a page of the run that was found, with what led to it; written where one is found',
    )
    .addHelpText(
      'after',
      `${EXIT_CODES}\n\nExample:\n  klpemu explore fixtures/scenarios/explore_gap.yaml --time 60s --html gap.html`,
    )
    .action(async (file: string, options) => (await import('./explore.ts')).exploreFile(file, options));
}

function number(flags: string, text: string, min: number, max: number): Option {
  return new Option(flags, text).argParser((word: string) => {
    const value = Number(word);
    if (/^\d+$/.test(word) && value >= min && value <= max) return value;
    throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
  });
}

function time(text: string): number {
  const ns = parseDuration(text);
  if (ns !== undefined && ns >= 1e9) return ns / 1e6;
  throw new InvalidArgumentError('It must be a duration of at least a second: 60s, 5m.');
}

function redisUrl(text: string): string {
  if (URL.canParse(text) && /^rediss?:$/.test(new URL(text).protocol)) return text;
  throw new InvalidArgumentError('It must be redis://HOST[:PORT][/DATABASE].');
}

function things(text: string): string[] {
  const letters = text.split(',');
  if (letters.every((letter) => ['p', 'h', 'w'].includes(letter))) return letters;
  throw new InvalidArgumentError('There are p, h, w.');
}

const KINDS = ['gap', 'hole', 'failure', 'warning', 'exit', 'stuck', 'expectation', 'audit'];

function kinds(text: string): string[] {
  const words = text.split(',');
  if (words.every((word) => KINDS.includes(word))) return words;
  throw new InvalidArgumentError(`There are ${KINDS.join(', ')}.`);
}
