// modules.klp: which patch modules user space has to load for a target, for the bundles that it is in (docs/bundle.md).
//
// A line an object, in the manner of modules.dep: `klpbundle_core: v1=extra/p1_core.ko v2=extra/p2_core.ko`. A bundle is
// a file; which are enabled, and in which order, only the running kernel knows: modprobe asks it.
//
// Invariant: a patch module is listed for a bundle only when it is the very file that the bundle was made of.

import type { BundleFile } from '../bundle/format.ts';
import { sha256 } from '../bundle/format.ts';

export interface PatchModule {
  readonly bundle: string;
  /** As in modules.dep. */
  readonly path: string;
}

/** A module file that could be a member. */
interface Candidate {
  readonly name: string;
  readonly path: string;
  readonly bytes: Uint8Array;
}

/** @param bundles by path @param warn what depmod has to say */
export function modulesKlp(
  bundles: ReadonlyMap<string, BundleFile>,
  candidates: readonly Candidate[],
  warn: (line: string) => void,
): string {
  const lines = new Map<string, string[]>();
  const from = new Map<string, string>();
  for (const [path, { name, members }] of bundles) {
    const other = from.get(name);
    if (other !== undefined) {
      warn(`depmod: WARNING: ${path}: bundle '${name}' is in ${other} already`);
      continue;
    }
    from.set(name, path);
    for (const member of members) {
      // The kernel itself never comes.
      if (member.object === 'vmlinux') continue;
      const found = candidates.find((c) => c.name === member.module && sha256(c.bytes) === member.sha256);
      if (!found) {
        warn(`depmod: WARNING: ${path}: member ${member.file} is not here as a module`);
        continue;
      }
      const entries = lines.get(member.object) ?? [];
      lines.set(member.object, [...entries, `${name}=${found.path}`]);
    }
  }
  return [...lines].map(([object, entries]) => `${object}: ${entries.join(' ')}\n`).join('');
}

/** The line of an object; none where there is no such line. */
export function patchModulesOf(text: string, object: string): PatchModule[] {
  const line = text.split('\n').find((each) => each.startsWith(`${object}: `)) ?? '';
  return line
    .slice(object.length + 2)
    .split(' ')
    .filter((entry) => entry.includes('='))
    .map((entry) => {
      const at = entry.indexOf('=');
      return { bundle: entry.slice(0, at), path: entry.slice(at + 1) };
    });
}
