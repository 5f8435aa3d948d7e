// Patterns of grep: what POSIX and GNU have, matched in time that no pattern can blow up.

import { describe, expect, it } from 'vitest';
import { grepPattern } from '../../src/shell/regex.ts';

const first = (pattern: string, line: string, extended = false) =>
  grepPattern([pattern], { extended }).first(line);

describe('a pattern of grep', () => {
  it('that would take a backtracking engine for ever is matched like any other', () => {
    const line = `${'a'.repeat(30_000)}c`;
    for (const pattern of ['(a+)+$', '(a|aa)*b', '(a*)*b', '(a|a?)+b', '(.*)*(.*)*(.*)*b'])
      expect(grepPattern([pattern], { extended: true }).test(line), pattern).toBe(false);
    expect(grepPattern(['\\(a*\\)*b'], {}).test(line)).toBe(false);
  });

  it('is refused when it cannot be had in bounded time or space', () => {
    expect(() => grepPattern(['\\(a\\)\\1'], {})).toThrow(
      new SyntaxError('Back-references are not supported'),
    );
    for (const pattern of ['((a{100}){100}){100}', 'a{2000}', '(', '[', 'a{2,1}'])
      expect(() => grepPattern([pattern], { extended: true }), pattern).toThrow(SyntaxError);
  });

  it('has the longest match of the leftmost ones, as POSIX has it', () => {
    expect(first('a|ab|abc', 'xabcd', true)).toBe('abc');
    expect(first('a\\|ab', 'xabcd')).toBe('ab');
  });

  it('is basic or extended, with classes, words and anchors', () => {
    expect(first('a+b', 'xa+b')).toBe('a+b');
    expect(first('a\\+b', 'xaab')).toBe('aab');
    expect(first('^*a', '*a')).toBe('*a');
    expect(first('[[:digit:]]\\{2,\\}', 'a123')).toBe('123');
    expect(first('\\<foo\\>', 'xfoo foo')).toBe('foo');
    expect(first('[]a]+', 'x]a]', true)).toBe(']a]');
    expect(first('a.c$', 'abcabc')).toBe('abc');
    expect(grepPattern(['AB'], { ignoreCase: true, wholeLine: true }).test('ab')).toBe(true);
    expect(grepPattern(['a.b'], { fixed: true }).test('axb')).toBe(false);
  });
});
