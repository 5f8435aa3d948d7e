// Two kinds of YAML file are run: scenarios (`klpemu run`) and workloads of both models (`klpemu compare`). Which
// one a file is meant to be is told by what only one of them has, so that the wrong command can name the right one.

const SCENARIO_KEYS = ['machine', 'files', 'tasks', 'faults', 'expect', 'limit'];

type FileKind = 'scenario' | 'workload';

/** The kind of a document that is plainly one of the two; undefined where it could be either or neither. */
export function kindOf(document: unknown): FileKind | undefined {
  if (typeof document !== 'object' || document === null || Array.isArray(document)) return undefined;
  const { modules } = document as { modules?: unknown };
  if (Array.isArray(modules) || SCENARIO_KEYS.some((key) => key in document)) return 'scenario';
  // A workload names the folder of its modules.
  return typeof modules === 'string' && 'steps' in document ? 'workload' : undefined;
}

/** What to say to who runs a file of one kind with the command of the other. */
export const OTHER_KIND: Readonly<Record<FileKind, string>> = {
  scenario: 'this is a scenario, not a workload of both models: klpemu run',
  workload: 'this is a workload of both models, not a scenario: klpemu compare',
};
