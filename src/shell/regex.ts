// Patterns of grep, as RE2's: basic and extended regular expressions as POSIX and GNU have them. RE2 matches in time
// that grows with the line only, whatever the pattern; so there are no back-references.

import { RE2JS } from 're2js';

const CLASSES: Readonly<Record<string, string>> = {
  alpha: 'A-Za-z',
  digit: '0-9',
  alnum: 'A-Za-z0-9',
  upper: 'A-Z',
  lower: 'a-z',
  space: '\\s',
  blank: ' \\t',
  punct: '!-\\/:-@\\[-`{-~',
  xdigit: '0-9A-Fa-f',
};
/** In a basic expression these are special with a backslash, and plain without. */
const BASIC_ESCAPED = '(){}|+?';
const META = /[.*+?^${}()|[\]\\/]/;

interface GrepOptions {
  readonly extended?: boolean;
  readonly fixed?: boolean;
  readonly ignoreCase?: boolean;
  /** The whole line must match. */
  readonly wholeLine?: boolean;
  /** What matches has no letter, digit or _ before it or behind it. */
  readonly wholeWord?: boolean;
}

export interface GrepPattern {
  /** What each line that matches has in it, where that is known: most lines need not be tried then. */
  readonly needle: string | undefined;
  test(line: string): boolean;
  /** The first match in a line, the longest there. */
  first(line: string): string | undefined;
}

/** @throws SyntaxError for a pattern that is none, or too large. */
export function grepPattern(patterns: readonly string[], options: GrepOptions): GrepPattern {
  const sources = patterns
    .flatMap((pattern) => pattern.split('\n'))
    .map((pattern) => source(pattern, options));
  const any = sources.map((s) => `(?:${s})`).join('|');
  const flags = RE2JS.LONGEST_MATCH | (options.ignoreCase ? RE2JS.CASE_INSENSITIVE : 0);
  const word = options.wholeWord ? `(?:^|\\W)(${any})(?:\\W|$)` : `(${any})`;
  const pattern = compiled(options.wholeLine ? `^(${any})$` : word, flags);
  return {
    needle: needleOf(patterns, options),
    test: (line) => pattern.matcher(line).find(),
    first: (line) => {
      const matcher = pattern.matcher(line);
      return matcher.find() ? (matcher.group(1) ?? undefined) : undefined;
    },
  };
}

/** Of one pattern that is plain but for anchors at its ends. */
function needleOf(patterns: readonly string[], { fixed, ignoreCase }: GrepOptions): string | undefined {
  const [pattern] = patterns;
  if (patterns.length !== 1 || ignoreCase || pattern.includes('\n')) return undefined;
  const plain = fixed ? pattern : pattern.replace(/^\^|\$$/g, '');
  return plain === '' || (!fixed && META.test(plain.replaceAll('/', ''))) ? undefined : plain;
}

function compiled(text: string, flags: number): RE2JS {
  try {
    return RE2JS.compile(text, flags);
  } catch (error) {
    throw new SyntaxError((error as Error).message.replace(/^error parsing regexp: /, ''));
  }
}

function source(pattern: string, { extended, fixed }: GrepOptions): string {
  if (fixed) return pattern.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&');
  let out = '';
  for (let at = 0; at < pattern.length; ) {
    const c = pattern[at];
    if (c === '[') {
      const { text, end } = bracket(pattern, at);
      out += text;
      at = end;
    } else if (c === '\\') {
      out += escaped(pattern[at + 1] ?? '', extended ?? false);
      at += 2;
    } else {
      out += extended ? c : basic(pattern, at, out);
      at++;
    }
  }
  return out;
}

function escaped(c: string, extended: boolean): string {
  if (c === '') throw new SyntaxError('Trailing backslash');
  if (c === '<' || c === '>') return '\\b';
  if (/[1-9]/.test(c)) throw new SyntaxError('Back-references are not supported');
  if (/[wWsSbB]/.test(c)) return `\\${c}`;
  if (!extended && BASIC_ESCAPED.includes(c)) return c;
  return META.test(c) ? `\\${c}` : c;
}

/** A character of a basic expression that no backslash stands before. */
function basic(pattern: string, at: number, before: string): string {
  const c = pattern[at];
  if (BASIC_ESCAPED.includes(c)) return `\\${c}`;
  const atStart = before === '' || before.endsWith('(') || before.endsWith('|');
  if (c === '*' && (atStart || before === '^')) return '\\*';
  if (c === '^' && !atStart) return '\\^';
  if (c === '$' && at + 1 < pattern.length && !/^\\[)|]/.test(pattern.slice(at + 1))) return '\\$';
  return c;
}

function bracket(pattern: string, start: number): { text: string; end: number } {
  let at = start + 1;
  let text = '[';
  if (pattern[at] === '^') {
    text += '^';
    at++;
  }
  for (let first = true; at < pattern.length; first = false) {
    const named = /^\[:(\w+):\]/.exec(pattern.slice(at));
    if (named && CLASSES[named[1]]) {
      text += CLASSES[named[1]];
      at += named[0].length;
    } else if (pattern[at] === ']' && !first) return { text: `${text}]`, end: at + 1 };
    else text += /[\\\]^[]/.test(pattern[at]) ? `\\${pattern[at++]}` : pattern[at++];
  }
  throw new SyntaxError('Unmatched [, [^, [:, [., or [=');
}
