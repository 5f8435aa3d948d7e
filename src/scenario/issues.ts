// What zod found wrong, as sentences: which value of a union was meant, which key was perhaps misspelt.

import type * as z from 'zod/mini';
import { nearest } from '../kernel/nearest.ts';
import type { Problem } from './error.ts';
import { type Path, pathText, type YamlSource } from './source.ts';

type Issue = z.core.$ZodIssue;

/** The message of an issue for which the schema has no words: ours are said, whatever language a program has told zod to speak. */
export const UNSAID = 'Invalid input';

/** Why the key of old livepatches is refused. */
export const IMMEDIATE =
  "'immediate' is not part of livepatch any more (since Linux 4.16): a transition that does not end is ended " +
  "by 'force' (1 to /sys/kernel/livepatch/PATCH/force)";

const WORDS: Record<string, string> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'a map',
  record: 'a map',
  null: 'nothing',
};

/**
 * All problems of one parse; one issue may name several keys.
 * @param at where in the document what was parsed stands
 */
export function problemsOf(issues: readonly Issue[], source: YamlSource, at: Path = []): Problem[] {
  return issues.flatMap((issue) => problemOf(issue, at, source));
}

function problemOf(issue: Issue, prefix: Path, source: YamlSource): Problem[] {
  const path: Path = [...prefix, ...(issue.path as Path)];
  if (issue.code === 'invalid_union') {
    const branch = meant(issue.errors as readonly (readonly Issue[])[]);
    if (branch) return branch.flatMap((inner) => problemOf(inner, path, source));
    return [source.problem(path, unionReason(issue))];
  }
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => unknownKey([...path, key], issue.message, source));
  }
  return [source.problem(path, reasonOf(issue))];
}

/** Of the branches of a union, the one whose outermost type fits. */
function meant(branches: readonly (readonly Issue[])[]): readonly Issue[] | undefined {
  return branches.find((issues) => !issues.some((one) => one.path.length === 0 && isOtherType(one)));
}

/** A list or a map is of another type than any word that a branch consists of. */
const isOtherType = (issue: Issue): boolean =>
  issue.code === 'invalid_type' || (issue.code === 'invalid_value' && typeof issue.input === 'object');

function unionReason(issue: z.core.$ZodIssueInvalidUnion): string {
  if (issue.input === undefined) return 'is missing';
  if (issue.message !== UNSAID) return issue.message;
  const wanted = issue.errors.flatMap((branch) =>
    branch.map((one) => ('expected' in one ? one.expected : '')),
  );
  return `must be ${wanted.filter(Boolean).map(word).join(' or ')}${got(issue.input)}`;
}

function unknownKey(path: Path, known: string, source: YamlSource): Problem {
  const key = String(path.at(-1));
  const place = source.keyPlace(path);
  if (key === 'immediate') return { place, path: pathText(path), reason: IMMEDIATE };
  const names = known.split(', ');
  const near = nearest(key, names);
  const hint = near === undefined ? `known here: ${known}` : `did you mean '${near}'?`;
  return { place, path: pathText(path), reason: `unknown key '${key}'; ${hint}` };
}

function reasonOf(issue: Issue): string {
  switch (issue.code) {
    case 'invalid_type':
      if (issue.message !== UNSAID) return issue.message;
      if (issue.input === undefined) return 'is missing';
      return `must be ${word(issue.expected)}${got(issue.input)}`;
    case 'invalid_value':
      return `must be ${listed(issue.values.map((value) => `'${String(value)}'`))}${got(issue.input)}`;
    case 'too_small':
      return issue.origin === 'string' ? 'must not be empty' : `must be at least ${issue.minimum}`;
    case 'too_big':
      return issue.origin === 'string'
        ? `must have at most ${issue.maximum} characters`
        : `must be at most ${issue.maximum}`;
    default:
      return issue.message;
  }
}

const word = (expected: string): string => WORDS[expected] ?? expected;

function listed(words: readonly string[]): string {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`;
}

function got(input: unknown): string {
  if (input === null || input === undefined) return ', not empty';
  if (Array.isArray(input)) return ', not a list';
  if (typeof input === 'object') return ', not a map';
  return `, not ${typeof input === 'string' ? `'${input}'` : String(input)}`;
}
