// A checker of Stryker's that lets a sample of the mutants through: all those of a folder would take days. Bundled by
// stryker.ts, and loaded by Stryker's own processes.

import { draw } from './draw.ts';

/** What Stryker hands over of each mutant. */
interface Mutant {
  readonly id: string;
  readonly fileName: string;
  readonly location: Readonly<Record<'start' | 'end', { readonly line: number; readonly column: number }>>;
  readonly replacement: string;
}

interface Options {
  readonly sample: { readonly size: number; readonly seed: number };
}

const keyOf = ({ fileName, location: { start, end }, replacement }: Mutant): string =>
  [fileName.replace(/.*\/src\//, ''), start.line, start.column, end.line, end.column, replacement].join('\0');

class SampleChecker {
  static readonly inject = ['options'] as const;
  readonly #options: Options;
  #drawn: ReadonlySet<string> = new Set();

  constructor(options: Options) {
    this.#options = options;
  }

  async init(): Promise<void> {}

  /** Is given all mutants that tests come to, once, before the first is checked. */
  async group(mutants: Mutant[]): Promise<string[][]> {
    const { size, seed } = this.#options.sample;
    this.#drawn = new Set(draw(mutants, keyOf, size, seed).map(({ id }) => id));
    return [mutants.map(({ id }) => id)];
  }

  /** Stryker has no word for a mutant that is not looked at but this. */
  async check(mutants: Mutant[]): Promise<Record<string, { status: string; reason?: string }>> {
    return Object.fromEntries(
      mutants.map(({ id }) => [
        id,
        this.#drawn.has(id) ? { status: 'passed' } : { status: 'compileError', reason: 'not in the sample' },
      ]),
    );
  }
}

export const strykerPlugins = [{ kind: 'Checker', name: 'sample', injectableClass: SampleChecker }];
