// What differs between two recordings, and where each difference begins.

import { readFileSync } from 'node:fs';

/** By name, the file that holds it. */
export interface Recording {
  readonly files: ReadonlyMap<string, string>;
}

export interface Difference {
  readonly what: string;
  readonly why: string;
}

export function differences(before: Recording, after: Recording): Difference[] {
  const names = [...new Set([...before.files.keys(), ...after.files.keys()])];
  return names.flatMap((what) => {
    const [a, b] = [before.files.get(what), after.files.get(what)];
    if (a === undefined) return [{ what, why: 'recorded after the change only' }];
    if (b === undefined) return [{ what, why: 'recorded before the change only' }];
    const why = firstDifference(readFileSync(a, 'utf8'), readFileSync(b, 'utf8'));
    return why === undefined ? [] : [{ what, why }];
  });
}

/** The first line that is not the same; undefined where all are. */
export function firstDifference(before: string, after: string): string | undefined {
  if (before === after) return undefined;
  const [a, b] = [before.split('\n'), after.split('\n')];
  const at = a.findIndex((line, i) => line !== b[i]);
  const line = at < 0 ? a.length : at;
  const shown = (lines: readonly string[]) =>
    line < lines.length ? lines[line].slice(0, 400) : '(ends here)';
  return `line ${line + 1}\nbefore ${shown(a)}\nafter  ${shown(b)}`;
}
