// bundle.json: what a bundle says of itself and of its members. Strict: a field that is not known is an error,
// for it may be one that matters.

import * as z from 'zod/mini';
import { BundleError } from './error.ts';

/** A name of a directory of sysfs: neither the directory itself nor the one above. */
const name = z.string().check(z.regex(/^(?!\.{1,2}$)[\w.-]{1,55}$/));
const object = z.string().check(z.regex(/^\w{1,55}$/));

const member = z.strictObject({
  file: z.string().check(z.regex(/^[\w.-]{1,95}\.ko$/)),
  /** A module's name, or vmlinux. */
  object,
  /** Of the target: its srcversion, or its vermagic where it has none. */
  srcversion: z.optional(z.string()),
  vermagic: z.optional(z.string()),
  sha256: z.string().check(z.regex(/^[0-9a-f]{64}$/)),
});

const manifest = z.strictObject({
  name,
  version: z.string().check(z.minLength(1)),
  replace: z.boolean(),
  members: z.array(member).check(z.minLength(1)),
});

export type Manifest = z.infer<typeof manifest>;
export type ManifestMember = z.infer<typeof member>;

/** @throws BundleError EINVAL */
export function parseManifest(text: string): Manifest {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new BundleError('EINVAL', `bundle.json is no JSON: ${(error as Error).message}`);
  }
  const twice = duplicateKey(text);
  if (twice !== undefined)
    throw new BundleError('EINVAL', `bundle.json: the field '${twice}' is there twice`);
  const result = manifest.safeParse(json, { error: () => 'Invalid input' });
  if (!result.success) throw new BundleError('EINVAL', `bundle.json: ${reasonOf(result.error.issues[0])}`);
  checkMembers(result.data.members);
  return result.data;
}

/**
 * The first key that an object has twice; JSON.parse() takes the last one, other readers the first.
 * @param text is JSON.
 */
function duplicateKey(text: string): string | undefined {
  const open: Set<string>[] = [];
  for (const [token, string] of text.matchAll(/("(?:[^"\\]|\\.)*")\s*:|"(?:[^"\\]|\\.)*"|[{}]/gs)) {
    if (token === '{') open.push(new Set());
    else if (token === '}') open.pop();
    else if (string !== undefined) {
      const key: string = JSON.parse(string);
      const keys = open.at(-1);
      if (keys?.has(key)) return key;
      keys?.add(key);
    }
  }
  return undefined;
}

function reasonOf(issue: z.core.$ZodIssue): string {
  const where = issue.path.length > 0 ? `${issue.path.join('.')}: ` : '';
  return issue.code === 'unrecognized_keys'
    ? `${where}unknown field '${issue.keys.join("', '")}'`
    : `${where}${issue.message}`;
}

function checkMembers(members: readonly ManifestMember[]): void {
  const objects = new Map<string, string>();
  for (const { file, object: of, srcversion, vermagic } of members) {
    const other = objects.get(of);
    if (other !== undefined)
      throw new BundleError('EINVAL', `members ${other} and ${file} are both for object ${of}`);
    objects.set(of, file);
    if (srcversion === undefined && vermagic === undefined)
      throw new BundleError('EINVAL', `member ${file} does not say which ${of} it is for`);
  }
}
