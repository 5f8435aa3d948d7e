// Every error of src/ says by `code` what kind it is and by `name` which class it is; what JavaScript itself throws is
// a mistake of klpemu's own, and is shown as one.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '../../src');
const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'));
const sources = new Map(files.sort().map((name) => [name, readFileSync(join(root, name), 'utf8')]));

interface ErrorClass {
  readonly file: string;
  readonly name: string;
  readonly base: string;
  readonly abstract: boolean;
  readonly body: string;
}

/** Classes that extend Error, or a class that does. The formatter puts the brace that ends a class into column 1. */
function errorClasses(): ErrorClass[] {
  const all = [...sources].flatMap(([file, text]) =>
    [...text.matchAll(/^(?:export )?(abstract )?class (\w+) extends (\w+) \{(\}|[\s\S]*?\n\})/gm)].map(
      ([, abstract, name, base, body]) => ({ file, name, base, abstract: abstract !== undefined, body }),
    ),
  );
  const found = new Set(['Error', 'TypeError', 'RangeError']);
  for (let before = 0; before < found.size; ) {
    before = found.size;
    for (const { name, base } of all) if (found.has(base)) found.add(name);
  }
  return all.filter(({ base }) => found.has(base));
}

const classes = errorClasses();
const byName = new Map(classes.map((each) => [each.name, each]));

function saysName({ name, abstract, body }: ErrorClass): boolean {
  if (abstract) return /^ {2}abstract override readonly name: string;$/m.test(body);
  return body.includes(`this.name = '${name}';`) || body.includes(`override readonly name = '${name}';`);
}

const saysCode = ({ base, body }: ErrorClass): boolean =>
  /^ {2}(abstract )?readonly code\b/m.test(body) || saysCodeOf(byName.get(base));
/** What is abstract leaves it to its classes. */
const saysCodeOf = (base: ErrorClass | undefined): boolean =>
  base !== undefined && !base.abstract && saysCode(base);

describe('errors of src/', () => {
  it('are found, whatever they extend', () => {
    const names = classes.map(({ name }) => name);
    expect(names).toEqual(
      expect.arrayContaining(['KernelError', 'CfiLimitError', 'GuestTimeout', 'StopRun']),
    );
    expect(names.length).toBe(new Set(names).size);
  });

  it('have the name of their class', () => {
    expect(classes.filter((each) => !saysName(each)).map(({ file, name }) => `${file}: ${name}`)).toEqual([]);
  });

  it('have a code', () => {
    expect(classes.filter((each) => !saysCode(each)).map(({ file, name }) => `${file}: ${name}`)).toEqual([]);
  });

  it("are of a class of their own wherever something of a user's is read", () => {
    const facing = /^(asm|bundle|cli|compare|elf|objtool|scenario|shell|unpack)\//;
    const plain = [...sources]
      .filter(([file]) => facing.test(file))
      .flatMap(([file, text]) =>
        (text.match(/throw new (Error|RangeError|TypeError)\(.*/g) ?? []).map((at) => `${file}: ${at}`),
      );
    expect(plain).toEqual([]);
  });
});

describe('documentation of what is thrown', () => {
  const comments = [...sources].flatMap(([file, text]) =>
    (text.match(/\/\*\*[\s\S]*?\*\//g) ?? []).map((comment) => ({ file, comment })),
  );

  it('is a @throws with the names of classes, and then perhaps when', () => {
    const known = new Set([...byName.keys(), 'Error', 'RangeError', 'SyntaxError']);
    const unknown = comments.flatMap(({ file, comment }) =>
      [...comment.matchAll(/@throws ([^\n]*)/g)]

        .flatMap(([, text]) => (/^\w+(, [A-Z]\w+)*/.exec(text)?.[0] ?? text).split(', '))
        .filter((name) => !known.has(name))
        .map((name) => `${file}: @throws ${name}`),
    );
    expect(unknown).toEqual([]);
  });

  it('is not said in prose', () => {
    const prose = comments.filter(({ comment }) => /\bThrows\b/.test(comment)).map(({ file }) => file);
    expect(prose).toEqual([]);
  });
});
