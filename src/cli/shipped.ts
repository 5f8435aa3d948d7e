// Files that come with klpemu, named so that they are there from where the user stands: in a checkout as they are,
// elsewhere by the way into the installed package.

import { isAbsolute, join, relative } from 'node:path';
import { packageRoot } from '../guest/package_root.ts';

/** A path from the package's root, such as fixtures/scenarios/demo.yaml, as one from the working directory. */
export function shipped(path: string): string {
  const absolute = join(packageRoot(), path);
  const from = relative(process.cwd(), absolute);
  return from.startsWith('..') || isAbsolute(from) ? absolute : from;
}

/** Text of ours, with each path below fixtures/ and docs/ as one that is there. */
export function withShippedPaths(text: string): string {
  return text.replace(/(?<![\w./])(?:fixtures|docs)\/[\w./-]+\w/g, shipped);
}
