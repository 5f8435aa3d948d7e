// What modprobe does for a target that enabled bundles have members for: it loads it paused, loads their patch modules
// in the order of the bundles, and has it unpaused (docs/bundle.md, "Paused from user space").

import type { ShellContext } from './command.ts';
import type { Ended } from './guest.ts';

const LIVEPATCH = '/sys/kernel/livepatch';

/**
 * Patch modules that are to be loaded for a target, in order. undefined: the kernel is to do it, because no bundle asks
 * for the target, or one does whose patch module modules.klp does not have.
 */
export async function membersToLoad(shell: ShellContext, target: string): Promise<string[] | undefined> {
  const { guest, modules } = shell;
  const asking = (guest.machine.inspect.fs.list(LIVEPATCH) ?? []).filter((name) =>
    guest.exists(`${LIVEPATCH}/${name}/${target}/blob`),
  );
  if (asking.length === 0) return undefined;
  const listed = new Map(modules.patchModules(target).map(({ bundle, path }) => [bundle, path]));
  const found: { order: number; path: string }[] = [];
  for (const name of asking) {
    const path = listed.get(name);
    const order = await guest.read(`${LIVEPATCH}/${name}/stack_order`, 'modprobe');
    if (path === undefined || typeof order === 'number') return undefined;
    found.push({ order: Number(order), path });
  }
  return found.sort((a, b) => a.order - b.order).map(({ path }) => path);
}

/** Modules that members need besides the target, each after what it needs itself. */
export function needsOfMembers(shell: ShellContext, target: string, members: readonly string[]): string[] {
  const { modules } = shell;
  const needs = members.flatMap((path) => modules.resolve(path)?.slice(0, -1) ?? []);
  // What needs the target cannot be there before it.
  return [...new Set(needs)].filter((path) => !modules.resolve(path)?.some((need) => need === target));
}

/** Loads it paused, then its patch modules, then has it unpaused; `stdout` is the file that was refused, if one was. */
export function loadPaused(
  shell: ShellContext,
  path: string,
  params: string,
  members: readonly string[],
): Promise<Ended> {
  return shell.guest.run('modprobe_paused', [path, params, ...members], { comm: 'modprobe' });
}
