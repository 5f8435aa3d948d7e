// Commands on text: what files and other commands give. Messages and statuses are those of GNU coreutils and grep.

import { UAPI } from '../../kernel/uapi.ts';
import type { Command } from '../command.ts';
import { errnoText } from '../errno_text.ts';
import { parseOptions } from '../options.ts';
import { type GrepPattern, grepPattern } from '../regex.ts';
import { failed, Output, ok } from '../result.ts';
import { cut } from './cut.ts';
import { inputs, invalidOption, joined, linesOf, matchingLines } from './text_input.ts';

const cat: Command = {
  name: 'cat',
  usage: 'cat [FILE]...',
  summary: 'read files of the guest',
  completes: 'paths',
  run: async (invocation) => {
    const { operands, unknown } = parseOptions(invocation.args, ['u']);
    if (unknown) return invalidOption('cat', unknown);
    const output = new Output();
    for await (const { text } of inputs('cat', invocation, operands, output)) output.stdout += text;
    return output.result();
  },
};

const echo: Command = {
  name: 'echo',
  usage: 'echo [-n] [-e] [WORD]...',
  summary: 'print words; with > write them to a file of the guest',
  completes: 'paths',
  run: ({ args }) => {
    let first = 0;
    let newline = '\n';
    let escapes = false;
    for (; /^-[neE]+$/.test(args[first] ?? ''); first++) {
      if (args[first].includes('n')) newline = '';
      if (args[first].includes('e')) escapes = true;
    }
    const text = args.slice(first).join(' ');
    return ok((escapes ? unescaped(text) : text) + newline);
  },
};

function unescaped(text: string): string {
  const codes: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', '\\': '\\', e: '\x1b' };
  return text.replace(/\\([ntre\\])/g, (_, c: string) => codes[c]);
}

const grep: Command = {
  name: 'grep',
  usage: 'grep [-q] [-E | -F] [-v] [-c] [-x] [-w] [-i] [-n] [-o] [-e] PATTERN [FILE]...',
  summary: 'lines that match a pattern; status 1 when there are none',
  completes: 'paths',
  run: async (invocation) => {
    const flagNames = [
      'q',
      'E',
      'F',
      'v',
      'c',
      'x',
      'w',
      'i',
      'n',
      'o',
      's',
      'h',
      'quiet',
      'count',
      'invert-match',
    ];
    const repeated = extractPatterns(invocation.args);
    const { flags, operands, unknown } = parseOptions(repeated.rest, flagNames);
    if (unknown) return invalidOption('grep', unknown, 2);
    const has = (...names: string[]): boolean => names.some((name) => flags.has(name));
    const patterns = repeated.patterns.length > 0 ? repeated.patterns : operands.slice(0, 1);
    const paths = repeated.patterns.length > 0 ? operands : operands.slice(1);
    if (patterns.length === 0) return failed('Usage: grep [OPTION]... PATTERNS [FILE]...', 2);
    let pattern: GrepPattern;
    try {
      pattern = grepPattern(patterns, {
        extended: has('E'),
        fixed: has('F'),
        ignoreCase: has('i'),
        wholeLine: has('x'),
        wholeWord: has('w'),
      });
    } catch (error) {
      return failed(`grep: ${(error as Error).message}`, 2);
    }
    const output = new Output();
    let matched = false;
    for await (const { path, text } of inputs('grep', invocation, paths, output, 2)) {
      const matches = matchingLines(text, pattern, has('v', 'invert-match'));
      if (has('q', 'quiet')) {
        if (!matches.next().done) matched = true;
        continue;
      }
      const hits = [...matches];
      if (hits.length > 0) matched = true;
      const prefix = paths.length > 1 && !has('h') ? `${path ?? '(standard input)'}:` : '';
      if (has('c', 'count')) output.line(`${prefix}${hits.length}`);
      else
        for (const { text: line, number } of hits) {
          const shown = has('o') ? (pattern.first(line) ?? '') : line;
          output.line(`${prefix}${has('n') ? `${number}:` : ''}${shown}`);
        }
    }
    if (has('s')) output.stderr = '';
    if (has('q', 'quiet') && matched) return { ...output.result(), status: 0 };
    return { ...output.result(), status: output.status || (matched ? 0 : 1) };
  },
};

/** `-e PATTERN`, of which there may be several. */
function extractPatterns(args: readonly string[]): { patterns: string[]; rest: string[] } {
  const patterns: string[] = [];
  const rest: string[] = [];
  for (let i = 0; i < args.length; i++) {
    if (args[i] === '-e' && i + 1 < args.length) patterns.push(args[++i]);
    else rest.push(args[i]);
  }
  return { patterns, rest };
}

/** head and tail differ in which end they keep. */
function endCommand(name: 'head' | 'tail', keep: (lines: string[], n: number) => string[]): Command {
  return {
    name,
    usage: `${name} [-n LINES] [FILE]...`,
    summary: name === 'head' ? 'the first lines' : 'the last lines; from line N on with -n +N',
    completes: 'paths',
    run: async (invocation) => {
      const { values, operands, unknown } = parseOptions(invocation.args, ['q'], ['n', 'lines'], {
        numbers: true,
      });
      if (unknown) return invalidOption(name, unknown);
      const wanted = values.get('n') ?? values.get('lines') ?? '10';
      if (!/^[+-]?\d+$/.test(wanted)) return failed(`${name}: invalid number of lines: '${wanted}'`);
      const output = new Output();
      for await (const { path, text } of inputs(name, invocation, operands, output)) {
        if (operands.length > 1) output.line(`==> ${path ?? 'standard input'} <==`);
        const lines = linesOf(text);
        const from = wanted.startsWith('+') && name === 'tail';
        output.stdout += joined(from ? lines.slice(Number(wanted) - 1) : keep(lines, Number(wanted)));
      }
      return output.result();
    },
  };
}

const allButLast = endCommand('head', (lines, n) => lines.slice(0, n));

/** The first lines of files are read as far as is needed, a buffer at a time: what is behind them may never come. */
const head: Command = {
  ...allButLast,
  run: async (invocation) => {
    const { values, operands, unknown } = parseOptions(invocation.args, ['q'], ['n', 'lines'], {
      numbers: true,
    });
    const wanted = values.get('n') ?? values.get('lines') ?? '10';
    if (unknown || !/^\+?\d+$/.test(wanted) || operands.length === 0) return allButLast.run(invocation);
    const output = new Output();
    for (const path of operands) {
      const read =
        path === '-'
          ? { text: invocation.stdin ?? '', seekErrno: undefined }
          : await invocation.shell.guest.readHead(path, Number(wanted));
      if (typeof read === 'number') {
        output.error(
          read === UAPI.EISDIR
            ? `head: error reading '${path}': ${errnoText(read)}`
            : `head: cannot open '${path}' for reading: ${errnoText(read)}`,
        );
        continue;
      }
      if (operands.length > 1) output.line(`==> ${path === '-' ? 'standard input' : path} <==`);
      const kept = linesOf(read.text).slice(0, Number(wanted));
      const text = joined(kept);
      output.stdout += text;
      if (read.seekErrno !== undefined)
        output.stderr += `head: ${path}: cannot seek to relative offset ${text.length - read.text.length}: ${errnoText(read.seekErrno)}\n`;
    }
    return output.result();
  },
};
const tail = endCommand('tail', (lines, n) => (n === 0 ? [] : lines.slice(-Math.abs(n))));

const wc: Command = {
  name: 'wc',
  usage: 'wc [-l] [-w] [-c] [FILE]...',
  summary: 'count lines, words and bytes',
  completes: 'paths',
  run: async (invocation) => {
    const { flags, operands, unknown } = parseOptions(invocation.args, ['l', 'w', 'c', 'm']);
    if (unknown) return invalidOption('wc', unknown);
    const which = ['l', 'w', 'c'].filter((flag) => flags.size === 0 || flags.has(flag));
    const output = new Output();
    for await (const { path, text } of inputs('wc', invocation, operands, output)) {
      const counts: Readonly<Record<string, number>> = {
        l: text.split('\n').length - 1,
        w: text.split(/\s+/).filter(Boolean).length,
        c: text.length,
      };
      const width = which.length > 1 || operands.length > 1 ? 7 : 0;
      const columns = which.map((flag) => String(counts[flag]).padStart(width));
      output.line([...columns, ...(path === undefined ? [] : [path])].join(' '));
    }
    return output.result();
  },
};

export const TEXT_COMMANDS: readonly Command[] = [cat, cut, echo, grep, head, tail, wc];
