// Which structures, members and constants of the built-in description src/, asm/, test/ and bench/ name: the table of
// extract-layout holds these and no others.
//
// A member counts as used where asm/ has `struct_member`, or a source file names both the structure and the member; or
// where a source file makes names of that form (`callbacks_${which}`).

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface UsedNames {
  constant(name: string): boolean;
  /** Whether the structure is named at all, and which of its members are. */
  members(struct: string): { readonly itself: boolean; readonly has: (member: string) => boolean };
}

const TABLES: ReadonlySet<string> = new Set(['kernel/layout.ts', 'kernel/uapi.ts']);

/** Names made of a text and what stands in a template: at least five letters of the first. */
const MADE = /`(\w*)\$\{[\w.#]+\}(\w*)`/g;

/** The names that templates of src/ can make. */
function madeNames(root: string): RegExp[] {
  return readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .flatMap((file) => [...readFileSync(join(root, 'src', file), 'utf8').matchAll(MADE)])
    .filter(([, before, after]) => before.length + after.length >= 5 && (before + after).includes('_'))
    .map(([, before, after]) => new RegExp(`^${before}[A-Za-z]\\w*${after}$`));
}

/** The words of each file below the folders that ends so. */
function wordsOf(root: string, folders: readonly string[], ending: RegExp): ReadonlySet<string>[] {
  return folders.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((file) => ending.test(file) && !TABLES.has(file))
      .map((file) => new Set(readFileSync(join(root, folder, file), 'utf8').match(/[A-Za-z_]\w*/g))),
  );
}

/** @param root of the package. */
export function usedNames(root: string): UsedNames {
  const asm = wordsOf(root, ['asm'], /\.(s|inc)$/);
  const code = wordsOf(root, ['src', 'test', 'bench'], /\.ts$/);
  const inAsm = (word: string): boolean => asm.some((words) => words.has(word));
  const patterns = madeNames(root);
  const made = (name: string): boolean => patterns.some((pattern) => pattern.test(name));
  return {
    constant: (name) => made(name) || inAsm(name) || code.some((words) => words.has(name)),
    members(struct) {
      const files = code.filter((words) => words.has(struct));
      return {
        itself: files.length > 0 || inAsm(`sizeof_${struct}`),
        has: (member) =>
          (files.length > 0 && made(member)) ||
          inAsm(`${struct}_${member}`) ||
          files.some((words) => words.has(member)),
      };
    },
  };
}
