// cut: parts of lines. Messages and statuses are those of GNU coreutils 9.1.

import type { Command } from '../command.ts';
import { parseOptions } from '../options.ts';
import { failed, Output, type Result } from '../result.ts';
import { inputs, invalidOption, joined, linesOf } from './text_input.ts';

/** Both included; counted from 1. */
interface Range {
  readonly from: number;
  readonly to: number;
}

/** A word of -b, -c or -f: ranges, or what is wrong with it. */
function rangesOf(list: string, isFields: boolean): Range[] | string {
  const what = isFields ? 'fields' : 'byte/character positions';
  const ranges: Range[] = [];
  for (const part of list.split(/[, \t]/)) {
    const [, from = '', dash = '', to = ''] = /^(\d*)(-?)(\d*)$/.exec(part) ?? [];
    if (dash === '' && from === '')
      return part === ''
        ? `${what} are numbered from 1`
        : `invalid ${isFields ? 'field value' : 'byte/character position'} '${part}'`;
    if (from === '' && to === '') return 'invalid range with no endpoint: -';
    const range = {
      from: Number(from || 1),
      to: Number(dash === '' ? from : to || Number.POSITIVE_INFINITY),
    };
    if (range.from === 0 || range.to === 0) return `${what} are numbered from 1`;
    if (range.to < range.from) return 'invalid decreasing range';
    ranges.push(range);
  }
  return ranges;
}

const isIn = (ranges: readonly Range[], n: number): boolean =>
  ranges.some(({ from, to }) => n >= from && n <= to);

export const cut: Command = {
  name: 'cut',
  usage: 'cut -b LIST | -c LIST | -f LIST [-d DELIMITER] [-s] [FILE]...',
  summary: 'bytes, characters or fields of each line',
  completes: 'paths',
  run: async (invocation) => {
    const { flags, values, operands, unknown } = parseOptions(
      invocation.args,
      ['s', 'n'],
      ['b', 'c', 'f', 'd'],
    );
    if (unknown) return invalidOption('cut', unknown);
    const lists = ['b', 'c', 'f'].filter((option) => values.has(option));
    const wrong = (text: string): Result => failed(`cut: ${text}`);
    const [which] = lists;
    if (which === undefined) return wrong('you must specify a list of bytes, characters, or fields');
    if (lists.length > 1) return wrong('only one list may be specified');
    const delimiter = values.get('d');
    if (delimiter !== undefined && delimiter.length > 1)
      return wrong('the delimiter must be a single character');
    const isFields = which === 'f';
    if (!isFields && delimiter !== undefined)
      return wrong('an input delimiter may be specified only when operating on fields');
    if (!isFields && flags.has('s'))
      return wrong('suppressing non-delimited lines makes sense\n\tonly when operating on fields');
    const ranges = rangesOf(values.get(which) ?? '', isFields);
    if (typeof ranges === 'string') return wrong(ranges);
    // -d '' is a NUL.
    const between = isFields ? (delimiter ?? '\t') || '\0' : '';
    const output = new Output();
    for await (const { text } of inputs('cut', invocation, operands, output)) {
      const kept = linesOf(text).flatMap((line) => {
        const parts = line.split(between);
        if (isFields && parts.length === 1) return flags.has('s') ? [] : [line];
        return [parts.filter((_, i) => isIn(ranges, i + 1)).join(between)];
      });
      output.stdout += joined(kept);
    }
    return output.result();
  },
};
