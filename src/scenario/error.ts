// What is wrong with a scenario, and where: file, line, column, the path in the document, the reason.

export interface Place {
  readonly file: string;
  /** From 1. */
  readonly line: number;
  readonly column: number;
}

export interface Problem {
  readonly place: Place;
  /** `steps[2].load`; empty for the document itself. */
  readonly path: string;
  readonly reason: string;
}

/** All that is wrong with one scenario, in the order of the file. */
export class ScenarioError extends Error {
  readonly code = 'ESCENARIO';
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    const ordered = [...problems].sort(
      (a, b) => a.place.line - b.place.line || a.place.column - b.place.column,
    );
    super(ordered.map(problemText).join('\n'));
    this.name = 'ScenarioError';
    this.problems = ordered;
  }
}

/** `file:line:column: path: reason` */
function problemText({ place, path, reason }: Problem): string {
  const where = `${place.file}:${place.line}:${place.column}`;
  return path === '' ? `${where}: ${reason}` : `${where}: ${path}: ${reason}`;
}
