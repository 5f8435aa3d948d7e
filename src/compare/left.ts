// What a step of a workload has left behind: the difference between two looks at a machine.
//
// Invariant: a look changes nothing. What a kernel makes on first use and keeps (kworkers, nodes of sysfs) is not
// looked at.

import type { SysfsDir } from '../kernel/sysfs.ts';
import type { Machine } from '../machine/machine.ts';

/** Counts by what is counted, by category. */
type Look = ReadonlyMap<string, ReadonlyMap<string, number>>;

/** Made on first use, and kept. */
const KEPT = /^(task_struct|worker|kernfs_node|workqueue)/;

export function lookAt(machine: Machine): Look {
  const { core, modules, livepatch, bundles } = machine.inspect;
  const all = modules.loader.modules.all;
  return new Map([
    ['module', counted(all.map((mod) => `${mod.name}${mod.state === 'LIVE' ? '' : ` (${mod.state})`}`))],
    ['patch', counted(livepatch.patches().map((patch) => patch.name))],
    ['patched', counted(patchedFunctions(machine))],
    ['in sysfs', counted(['/kernel/livepatch', '/module'].flatMap((path) => below(machine, path)))],
    ['bytes of modules', new Map([['', machine.inspect.moduleArena.used()]])],
    ['bytes of blobs', new Map([['', bundles?.blobBytes() ?? 0]])],
    [
      'allocated',
      counted(
        core.slab
          .live()
          .map(({ owner }) => owner)
          .filter((owner) => !KEPT.test(owner)),
      ),
    ],
  ]);
}

function counted(names: readonly string[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return counts;
}

function patchedFunctions({
  inspect: {
    core,
    livepatch: { patching },
  },
}: Machine): string[] {
  return [...patching.allOps()].flatMap((ops) =>
    patching.funcStack(ops).map((func) => core.sym(func.oldFunc).replace(/\+0x0\S*/, '')),
  );
}

function below(machine: Machine, path: string): string[] {
  const dir = machine.inspect.sysfs.lookup(path);
  return dir?.kind === 'directory' ? pathsOf(dir) : [];
}

function pathsOf(dir: SysfsDir): string[] {
  return dir
    .entries()
    .flatMap((node) => (node.kind === 'directory' ? [node.path, ...pathsOf(node)] : [node.path]));
}

/** In words, a category a line; none when nothing has changed. */
export function leftBehind(before: Look, after: Look): string[] {
  return [...after].flatMap(([category, now]) => {
    const then = before.get(category) ?? new Map<string, number>();
    const changed = [...new Set([...then.keys(), ...now.keys()])]
      .map((name) => ({ name, by: (now.get(name) ?? 0) - (then.get(name) ?? 0) }))
      .filter(({ by }) => by !== 0);
    return changed.length === 0 ? [] : [lineOf(category, changed)];
  });
}

type Change = { readonly name: string; readonly by: number };

function lineOf(category: string, changed: readonly Change[]): string {
  const total = changed.reduce((sum, { by }) => sum + by, 0);
  const sign = (by: number): string => (by > 0 ? `+${by}` : String(by));
  if (/^bytes/.test(category)) return `${sign(total)} ${category}`;
  if (changed.length > 3) return `${sign(total)} ${category}`;
  return `${category} ${changed.map(({ name, by }) => (by === 1 ? name : `${name} (${sign(by)})`)).join(', ')}`;
}
