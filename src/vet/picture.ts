// A picture of a machine that can be held against another: everything that an operation which failed, or was undone, must
// leave as it was.

import { createHash } from 'node:crypto';
import { hex, lo32 } from '../guest/addr.ts';
import type { SysfsDir } from '../kernel/sysfs.ts';
import type { Machine } from '../machine/machine.ts';
import type { Module } from '../module/module.ts';
import { type ImageRun, imageRuns } from './image_text.ts';
import { locked, registeredOps, tasksOf } from './invariants.ts';

/** Everything that operations change, as text that can be compared. @param withText all text as well */
export function pictureOf(machine: Machine, withText = true): Record<string, unknown> {
  const { livepatch, modules, ftrace, sysfs } = machine.inspect;
  return {
    heap: heapOf(machine),
    moduleMemory: machine.inspect.moduleArena.used(),
    sysfs: treeOf(sysfs.root.get('kernel') as SysfsDir).concat(treeOf(sysfs.root.get('module') as SysfsDir)),
    modules: modules.loader.modules.all.map((mod) => moduleText(mod)),
    ops: registeredOps(machine).length,
    trampolines: ftrace.trampolines.list().length,
    records: ftrace.records.count,
    patches: livepatch.patches().map((patch) => `${patch.name} ${patch.enabled}`),
    objects: livepatch
      .patches()
      .flatMap((patch) => patch.objects().map((o) => `${patch.name} ${o.name} ${o.mod !== 0n} ${o.patched}`)),
    transition: livepatch.transitionPatch?.name ?? 'none',
    pending: tasksOf(machine).filter((task) => task.testTif('TIF_PATCH_PENDING')).length,
    text: withText ? textHash(machine) : {},
    mutexes: ['klp_mutex', 'ftrace_lock', 'text_mutex'].filter((name) => locked(machine, name)),
  };
}

const moduleText = (mod: Module): string => `${mod.name} ${mod.state} ${mod.refcount} ${mod.users.size}`;

/**
 * Kworkers are made when work waits and stay; sysfs makes its root's node when the first file is opened. A real kernel keeps
 * nodes of trees in store, has some for the numbers of its kernfs, which it gives out in turn, and frees them behind a grace period.
 */
const KEPT = /^(worker|kernfs_node|call_rcu|__radix_tree_preload|radix_tree_node_alloc(\.\w+)*)$/;

/** How many live allocations there are of each owner and size. */
export function heapOf(machine: Machine): Record<string, number> {
  let kworkers = tasksOf(machine).filter((task) => task.comm.startsWith('kworker/')).length;
  const counts = new Map<string, number>();
  for (const { owner, size } of machine.inspect.core.slab.live()) {
    if (KEPT.test(owner)) continue;
    if (owner === 'task_struct' && kworkers > 0) {
      kworkers--;
      continue;
    }
    const key = `${owner} ${size}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return Object.fromEntries([...counts].sort(([a], [b]) => (a < b ? -1 : 1)));
}

function treeOf(dir: SysfsDir | undefined, depth = 0): string[] {
  if (!dir || depth > 8) return [];
  return dir
    .entries()
    .flatMap((node) =>
      node.kind === 'directory' ? [`${node.path}/`, ...treeOf(node, depth + 1)] : [node.path],
    );
}

/** The image's text and every module's, with the fentry sites as they are when nobody listens. */
function textHash(machine: Machine): Record<string, string> {
  const { modules } = machine.inspect;
  const hashes: Record<string, string> = {};
  const note = (name: string | undefined, runs: readonly ImageRun[]): void => {
    hashes[name ?? 'vmlinux'] = `${hex(runs[0].start)} ${digestOf(machine, name, runs)}`;
  };
  note(undefined, imageRuns(machine));
  for (const mod of modules.loader.modules.all)
    note(mod.name, [{ start: mod.base('core'), size: mod.textSize('core') }]);
  return hashes;
}

/** What text was when it was looked at last, and its digest: to compare it takes a tenth of the time. */
const lastText = new WeakMap<Machine, { readonly bytes: Buffer; readonly digest: string }>();

function digestOf(machine: Machine, name: string | undefined, runs: readonly ImageRun[]): string {
  const bytes = Buffer.concat(runs.map((run) => plainText(machine, name, run)));
  const last = name === undefined ? lastText.get(machine) : undefined;
  if (last?.bytes.equals(bytes)) return last.digest;
  const digest = createHash('sha1').update(bytes).digest('hex').slice(0, 12);
  if (name === undefined) lastText.set(machine, { bytes, digest });
  return digest;
}

/** Calls of trampolines depend on where those are. */
function plainText(machine: Machine, name: string | undefined, { start, size }: ImageRun): Uint8Array {
  const { core, ftrace } = machine.inspect;
  const copy = core.mem.readBytes(start, size);
  for (const rec of ftrace.records.group(name)) {
    if (rec.target === 0n) continue;
    const at = lo32(rec.ip) - lo32(start);
    if (at >= 0 && at < size) copy.set(core.arch.fentry.nop, at);
  }
  return copy;
}
