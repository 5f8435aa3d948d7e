// The comparison with a real kernel, without one: what its machine writes, what is taken for the same, what is drawn.

import { describe, expect, it } from 'vitest';
import { readArguments } from '../../scripts/oracle/arguments.ts';
import { CpioArchive } from '../../scripts/oracle/cpio.ts';
import { type Difference, differences, sideBySide } from '../../scripts/oracle/difference.ts';
import { generate } from '../../scripts/oracle/generator.ts';
import { comparable } from '../../scripts/oracle/normalise.ts';
import { sequencesOf } from '../../scripts/oracle/operations.ts';
import { MachineFailure, type Outcome, readLog, readOutcomes } from '../../scripts/oracle/outcome.ts';
import { parse } from '../../src/shell/parse.ts';

const outcome = (stdout: string, more: Partial<Outcome> = {}): Outcome => ({
  status: 0,
  stdout,
  stderr: '',
  log: [],
  ...more,
});

/** As init.sh writes them. */
const written = (index: number, status: number, out: string, err: string, log: string): string =>
  `@ ${index} ${status} ${out.length} ${err.length} ${log.length}\n${out}${err}${log}`;
const WRITTEN = [
  written(0, 1, '', '/init: line 52: echo: write error: Invalid argument\n@ 5 of it\n', ''),
  written(1, 0, '1\n', '', '<6>[    3.512345] livepatch: enabling patch "a"\n<4>[    3.6] no line of it\n'),
];

describe('what the real machine wrote', () => {
  const text = `${WRITTEN.join('')}@ end\n`;

  it('is read by its lengths, whatever the bytes are', () => {
    const { outcomes, ended } = readOutcomes(Buffer.from(text));
    expect(ended).toBe(true);
    expect(outcomes.map(({ status, stdout }) => [status, stdout])).toEqual([
      [1, ''],
      [0, '1\n'],
    ]);
    expect(outcomes[1].log[0]).toEqual({ level: 6, text: 'livepatch: enabling patch "a"' });
  });

  it('is taken as far as it goes where the machine ended before, at every byte', () => {
    for (let cut = 0; cut < text.length - 1; cut++) {
      const { outcomes, ended } = readOutcomes(Buffer.from(text.slice(0, cut)));
      expect([cut, ended]).toEqual([cut, false]);
      expect(outcomes.length).toBe(
        [...WRITTEN.keys()].filter((i) => cut >= WRITTEN.slice(0, i + 1).join('').length).length,
      );
    }
  });

  it('is a failure of the machine where it is something else', () => {
    expect(() => readOutcomes(Buffer.from('Oops\n'))).toThrow(MachineFailure);
  });

  it('keeps a line of the log that has no prefix', () => {
    expect(readLog('<6>[    0.1] x\n')).toEqual([{ level: -1, text: '<6>[    0.1] x' }]);
    expect(readLog('<14>[    0.123456] a: b\n')).toEqual([{ level: 6, text: 'a: b' }]);
  });
});

describe('what is compared', () => {
  const lines = (real: Outcome, emulated: Outcome) => [comparable(real), comparable(emulated)];

  it('is the same for words of bash and of klpemu, for addresses, dates and times', () => {
    const [real, emulated] = lines(
      outcome(
        'a 16384 0 - Live 0xffffffffc0214000 (OE)\n-rw-r--r-- 1 root root 4096 Nov 27 18:35 enabled\n',
        {
          status: 1,
          stderr: '/init: line 63: echo: write error: Invalid argument\n',
        },
      ),
      outcome(
        'a 16384 0 - Live 0xffffffffc0000000 (OE)\n-rw-r--r-- 1 root root 4096 Jan  1 00:00 enabled\n',
        {
          status: 1,
          stderr: 'klpemu: echo: write error: Invalid argument\nklpemu: a note of ours\n',
        },
      ),
    );
    expect(emulated).toEqual(real);
  });

  it.each<[string, Outcome, Outcome]>([
    ['an exit status', outcome(''), outcome('', { status: 1 })],
    [
      'a mode',
      outcome('-r--r--r-- 1 root root 4096 Nov 27 18:35 a\n'),
      outcome('-rw-r--r-- 1 root root 4096 Nov 27 18:35 a\n'),
    ],
    [
      'the level of a message',
      outcome('', { log: [{ level: 4, text: 'a' }] }),
      outcome('', { log: [{ level: 6, text: 'a' }] }),
    ],
    [
      'an errno in words',
      outcome('', { stderr: '/init: line 1: echo: write error: Invalid argument\n' }),
      outcome('', { stderr: 'klpemu: echo: write error: Device or resource busy\n' }),
    ],
    ['a missing line of the log', outcome('', { log: [{ level: 6, text: 'a' }] }), outcome('')],
    ['where a line was written to', outcome('a\n'), outcome('', { stderr: 'a\n' })],
  ])('differs by %s', (_, real, emulated) => {
    expect([...differences(['op'], [real], [emulated])]).toMatchObject([{ index: 0, operation: 'op' }]);
  });

  it('is shown side by side, from the first line that differs, without control characters', () => {
    const [difference] = differences(
      ['a', 'b'],
      [outcome(''), outcome('x\n\x1b[2J')],
      [outcome(''), outcome('x\ny')],
    );
    const text = sideBySide(difference as Difference);
    expect(difference).toMatchObject({ index: 1, line: 1 });
    expect(text.split('\n').filter((line) => line.startsWith('>'))).toEqual([
      `> ${'\\x1b[2J'.padEnd(70)} | y`,
    ]);
  });

  it('is nothing where one machine carried out nothing', () => {
    expect([...differences(['a'], [], [outcome('')])]).toEqual([]);
  });
});

describe('the generator', () => {
  const drawn = generate(2000, 7, '6.1.0-56-amd64');

  it('draws the same for the same seed, and other operations for another', () => {
    expect(generate(2000, 7, '6.1.0-56-amd64')).toEqual(drawn);
    expect(generate(2000, 8, '6.1.0-56-amd64')).not.toEqual(drawn);
  });

  it('speaks what both shells understand: simple commands with one redirection, or one pipe', () => {
    for (const line of drawn) expect([line, parse(line).length]).toEqual([line, 1]);
    const plain = drawn.map((line) => line.replace(/'[^']*'/g, '').replace(' | ', ' '));
    expect(plain.filter((line) => /[*?$`&<|~{}[\]!]/.test(line))).toEqual([]);
  });

  it.each([
    'enabled',
    'transition',
    'force',
    'signal',
    'patched',
    'replace',
    'stack_order',
    'ftrace_enabled',
  ])('reads %s and writes to it', (file) => {
    expect(drawn.some((line) => new RegExp(`^cat .*/${file}$`).test(line))).toBe(true);
    expect(drawn.some((line) => new RegExp(`^echo .* > .*/${file}$`).test(line))).toBe(true);
  });

  it.each([
    'current_tracer',
    'tracing_on',
    'set_ftrace_filter',
    'set_ftrace_notrace',
    'kprobe_events',
    'kprobes/enabled',
    'enable',
  ])('reads %s and writes to it, as of probes and tracers', (file) => {
    expect(drawn.some((line) => new RegExp(`^cat .*/${file}$`).test(line))).toBe(true);
    expect(drawn.some((line) => new RegExp(`^echo .* >>? .*/${file}$`).test(line))).toBe(true);
  });

  it('never has all functions traced: a filter is written before, and is not emptied while it holds', () => {
    const filter = /^echo '([^']*)' (>>?) .*\/set_ftrace_filter$/;
    for (let seed = 1; seed <= 40; seed++) {
      let [traces, filtered] = [false, false];
      for (const line of generate(250, seed, '6.1.0-56-amd64')) {
        const [, words, how] = filter.exec(line) ?? [];
        if (how === '>') filtered = /\b(version|meminfo|uptime)_proc_show\b/.test(words);
        if (how === '>>' && words.startsWith('!')) filtered = false;
        if (line.startsWith('echo function > ')) traces = true;
        if (/^echo 'nop' > .*current_tracer$/.test(line)) traces = false;
        expect([seed, line, traces && !filtered]).toEqual([seed, line, false]);
      }
    }
  });

  it.each(['insmod', 'rmmod', 'modprobe', 'modprobe -r', 'lsmod', 'ls -l', 'stat', 'grep'])(
    'has %s',
    (command) => {
      expect(drawn.some((line) => line.startsWith(command))).toBe(true);
    },
  );
});

describe('the arguments', () => {
  const read = (...args: string[]) => readArguments(['--kernel', '6.1', ...args], ['6.1', '6.12', '7.3']);

  it.each([
    [['--kernel', '5.10'], /--kernel 5.10: 6.1, 6.12, 7.3/],
    [['--random', '0'], /--random 0: it must be a whole number from 1/],
    [['--cpus', '99'], /--cpus 99/],
    [['--script', 'a', '--random', '3'], /one of --script, --random, --selftests, --patches and --livepatch/],
    [['--nothing'], /Unknown option '--nothing'/],
    [['--script', '/nowhere/at/all'], /\/nowhere\/at\/all: ENOENT/],
  ])('%j are refused in words', (args, words) => {
    expect(() => sequencesOf(read(...args) as never, '6.1.0-56-amd64')).toThrow(words);
  });

  it('cut many random operations into sequences, each with a seed of its own', () => {
    const sequences = sequencesOf(read('--random', '600', '--seed', '5') as never, '6.1.0-56-amd64');
    expect(sequences.map(({ name }) => name)).toEqual(['seed 5', 'seed 6', 'seed 7']);
    const [prelude] = sequences[0].operations;
    expect(prelude).toMatch(/dynamic_debug/);
    expect(sequences[2].operations.length).toBe(102);
  });
});

describe('the archive of the initramfs', () => {
  it('has folders before what is in them, each once, names and data aligned to four bytes', () => {
    const archive = new CpioArchive();
    archive.file('a/b/c', 'hello', 0o755);
    archive.link('a/b/d', 'c');
    archive.file('a/b/c', 'again');
    const text = archive.bytes().toString('latin1');
    expect(archive.bytes().length % 4).toBe(0);
    const names = [...text.matchAll(/070701(?:[0-9a-f]{8}){11}([0-9a-f]{8})[0-9a-f]{8}/g)].map((found) => {
      expect((found.index as number) % 4).toBe(0);
      return text.substr((found.index as number) + 110, Number.parseInt(found[1], 16) - 1);
    });
    expect(names).toEqual(['a', 'a/b', 'a/b/c', 'a/b/d', 'TRAILER!!!']);
    expect(text).toContain('hello');
  });
});
