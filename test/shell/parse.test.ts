import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parse, ShellSyntaxError, wordText } from '../../src/shell/parse.ts';

/** Words of the only command of a text. */
function words(text: string, status = 0): string[] {
  const steps = parse(text);
  expect(steps).toHaveLength(1);
  expect(steps[0].pipeline).toHaveLength(1);
  return steps[0].pipeline[0].words.map((word) => wordText(word, status));
}

describe('words', () => {
  it.each([
    ['echo a  b', ['echo', 'a', 'b']],
    ["echo 'a  b' c", ['echo', 'a  b', 'c']],
    ['echo "a \'b\' \\"c\\""', ['echo', 'a \'b\' "c"']],
    ['echo a\\ b', ['echo', 'a b']],
    ["echo ''", ['echo', '']],
    ['echo ""', ['echo', '']],
    ["echo $'a\\tb\\n\\x41\\101'", ['echo', 'a\tb\nAA']],
    ['echo a"b"\'c\'', ['echo', 'abc']],
    ['echo a#b # not this', ['echo', 'a#b']],
    ['echo one \\\n two', ['echo', 'one', 'two']],
    ['echo 5$ $', ['echo', '5$', '$']],
    ["grep -q '^0$' /x", ['grep', '-q', '^0$', '/x']],
  ])('of %s', (text, expected) => {
    expect(words(text)).toEqual(expected);
  });

  it('hold the last exit status, but not in single quotes', () => {
    expect(words('echo $? "<$?>" \'$?\'', 7)).toEqual(['echo', '7', '<7>', '$?']);
  });

  it('that are quoted come out as they went in, whatever is in them', () => {
    const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'grapheme-ascii' }), { minLength: 1 }), (texts) => {
        expect(words(texts.map(quote).join(' '))).toEqual(texts);
      }),
    );
  });
});

describe('steps', () => {
  it('follow each other by ; and newline, && and ||', () => {
    expect(parse('a; b && c || d\ne').map((step) => step.when)).toEqual([
      'always',
      'always',
      'success',
      'failure',
      'always',
    ]);
  });

  it('know their lines', () => {
    expect(parse('a\n\n# nothing\nb &&\nc').map((step) => step.line)).toEqual([1, 4, 5]);
  });

  it('are pipelines, which go on after | at the end of a line', () => {
    const [step] = parse('a |\n b | c > /f');
    expect(step.pipeline).toHaveLength(3);
    expect(step.pipeline[2].redirect).toEqual({ append: false, target: ['/f'] });
  });
});

describe('redirections', () => {
  it('are of the input and of the output, in any order, and before the words', () => {
    const command = { words: [['cat']], redirect: { append: false, target: ['/g'] }, input: ['/f'] };
    for (const [line, inputFirst] of [
      ['cat < /f > /g', true],
      ['cat >/g</f', false],
      ['< /f cat > /g', true],
    ] as const)
      expect(parse(line)[0].pipeline, line).toEqual([{ ...command, inputFirst }]);
  });
});

describe('what the language does not have', () => {
  it.each([
    ['echo $HOME', 'only $? is supported'],
    ['echo $(x)', 'only $? is supported'],
    ['echo `x`', 'command substitution is not supported'],
    ['cat << EOF', 'a here-document is not supported'],
    ['cat <(a)', 'a subshell is not supported'],
    ['cat < /f < /g', 'only one redirection of the input'],
    ['cat <', 'near unexpected token `newline'],
    ['cat 3< /f', 'only standard input and output can be redirected'],
    ['cat /f 2> /g', 'only standard input and output can be redirected'],
    ['sleep 5 &', 'background'],
    ['(a)', 'a subshell is not supported'],
    ['echo > /a > /b', 'only one redirection'],
    ["echo 'a", "looking for matching `''"],
    ['echo "a', 'looking for matching `"\''],
    ['| a', "near unexpected token `|'"],
    ['a ;; b', "near unexpected token `;'"],
    ['a &&', 'unexpected end of file'],
    ['echo >', 'near unexpected token `newline'],
  ])('%s is an error, not a word', (text, message) => {
    expect(() => parse(text)).toThrow(ShellSyntaxError);
    expect(() => parse(text)).toThrow(message);
  });

  it('is told with its line', () => {
    try {
      parse('a\nb\nc $x\n');
      expect.unreachable();
    } catch (error) {
      expect((error as ShellSyntaxError).line).toBe(3);
    }
  });
});
