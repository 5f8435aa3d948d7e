// What the API throws can be told apart by who uses it: its classes are exported. So are the types that the functions of
// a machine take and give.

import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '../../src');
const read = (file: string): string => readFileSync(join(root, file), 'utf8');

/** Files that an import of one leads to: at run time, and lazy ones. */
function importsOf(file: string): string[] {
  const text = read(file);
  const static_ = [...text.matchAll(/^(?:import|export) (?!type )[^;]*?from '(\.[^']+)'/gm)];
  const lazy = [...text.matchAll(/\bimport\(\s*'(\.[^']+)'\s*\)/g)];
  return [...static_, ...lazy]
    .map(([, from]) => join(dirname(file), from))
    .filter((one) => one.endsWith('.ts'));
}

/** All files that the API is made of. */
function madeOf(file: string): ReadonlySet<string> {
  const found = new Set<string>();
  for (const todo = [file]; todo.length > 0; ) {
    const next = todo.pop() as string;
    if (found.has(next)) continue;
    found.add(next);
    todo.push(...importsOf(next));
  }
  return found;
}

/** By name: the file that it is exported from. */
const EXPORTED = new Map(
  [...read('index.ts').matchAll(/export (?:type )?\{([^}]*)\} from '\.\/([^']+)'/g)].flatMap(
    ([, names, file]) =>
      names
        .split(',')
        .map((name) => name.trim())
        .filter(Boolean)
        .map((name) => [name, file] as const),
  ),
);

/** Errors that never leave the API, and what becomes of them. */
const INSIDE: Readonly<Record<string, string>> = {
  AbsentError: 'a KernelFileError: what a machine lacks of a kernel',
  ElfError: 'what a module is refused with: the errno of who loads it, and the log; a problem of a scenario',
  RelocationError: 'as ElfError',
  UnpackError: 'as ElfError',
  ModuleError: 'as ElfError',
  BundleError: 'the errno of who writes to the file of bundles, and the log',
  OrcTableError: 'a module without frames that could be relied upon, and the log',
  ExprError: 'an AsmError with a place',
  StopRun: 'the end of a run that was to stop there',
  LimitError: 'the end of a run that took too long, which its report tells',
  FileTooLargeError: 'a ScenarioError',
};

interface ErrorClass {
  readonly name: string;
  readonly base: string;
}

function errorClasses(): ErrorClass[] {
  const all = [...madeOf('index.ts')].flatMap((file) =>
    [...read(file).matchAll(/^(?:export )?(?:abstract )?class (\w+) extends (\w+)/gm)].map(
      ([, name, base]) => ({
        name,
        base,
      }),
    ),
  );
  const known = new Set(['Error', 'TypeError', 'RangeError']);
  for (let before = 0; before < known.size; ) {
    before = known.size;
    for (const { name, base } of all) if (known.has(base)) known.add(name);
  }
  return all.filter(({ base }) => known.has(base));
}

const CLASSES = errorClasses();

describe('errors of the API', () => {
  it('are exported, each or its base, or never leave it', () => {
    const left = CLASSES.filter(
      ({ name, base }) => !EXPORTED.has(name) && !EXPORTED.has(base) && INSIDE[name] === undefined,
    );
    expect(left).toEqual([]);
    expect(CLASSES.length).toBeGreaterThan(20);
  });

  it('that never leave it are not exported, and are there', () => {
    const names = CLASSES.map(({ name }) => name);
    expect(Object.keys(INSIDE).filter((name) => EXPORTED.has(name) || !names.includes(name))).toEqual([]);
  });

  it('that a machine, its options or a scenario says to throw are exported', () => {
    const files = ['machine/machine.ts', 'machine/options.ts', 'scenario/runner.ts', 'scenario/parse.ts'];
    const said = files.flatMap((file) =>
      [...read(file).matchAll(/^export [\s\S]*?^\}/gm)].flatMap(([part]) =>
        [...part.matchAll(/@throws ([^\n]*)/g)].flatMap(
          ([, names]) => names.match(/\b[A-Z]\w*Error\b|\bGuestPanic\b/g) ?? [],
        ),
      ),
    );
    expect(said).toEqual(expect.arrayContaining(['MachineOptionError', 'GuestPanic', 'KernelError']));
    expect(said.filter((name) => name !== 'Error' && !EXPORTED.has(name))).toEqual([]);
  });
});

describe('types of the functions of Machine', () => {
  const OWN = new Set(['Promise', 'Required', 'Uint8Array', 'Machine']);
  const text = read('machine/machine.ts');
  const imports = new Map(
    [...text.matchAll(/^import (?:type )?\{([^}]*)\} from '([^']+)'/gm)].flatMap(([, names, from]) =>
      names.split(',').map((name) => [name.trim().replace(/^type /, ''), join('machine', from)] as const),
    ),
  );
  /** Signatures of the class's public members, from the name to the body. */
  const signatures = [
    ...text.matchAll(/^ {2}(?:static async |readonly |async )?([a-z]\w*)(\(|:)([\s\S]*?)(?:\{\n|;\n)/gm),
  ]
    .filter(([, name]) => name !== 'constructor' && name !== 'private')
    .map(([whole, name]) => ({ name, types: whole.match(/\b[A-Z]\w+\b/g) ?? [] }));

  it('are found', () => {
    expect(signatures.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['boot', 'checks', 'why', 'inspect']),
    );
    expect(signatures.find(({ name }) => name === 'boot')?.types).toEqual(expect.arrayContaining(['Arch']));
  });

  it('are exported, from where the machine has them', () => {
    const names = new Set(signatures.flatMap(({ types }) => types).filter((name) => !OWN.has(name)));
    const missing = [...names].filter((name) => {
      const from = imports.get(name);
      return from !== undefined && EXPORTED.get(name) !== from && EXPORTED.get(name) !== 'machine/machine.ts';
    });
    expect(missing).toEqual([]);
    expect(names.size).toBeGreaterThan(5);
  });
});
