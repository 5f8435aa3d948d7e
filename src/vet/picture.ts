// A picture of a machine that can be held against another: everything that an operation which failed, or was undone, must
// leave as it was.

import { createHash } from 'node:crypto';
import { type Addr, hex, lo32 } from '../guest/addr.ts';
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

/** Kworkers are made when work waits and stay; sysfs makes its root's node when the first file is opened. */
const KEPT = /^(worker|kernfs_node|call_rcu)$/;

/** Who makes the nodes of radix trees and IDRs, which are those of xarrays: some of them in store (lib/radix-tree.c). */
const TREE_NODE = /^(__radix_tree_preload|(radix_tree_node_alloc|xas_alloc)(\.\w+)*)$/;
/** Has the tree of the numbers of its files, which are given out in turn: a module's take nodes, whoever loads it. */
const OF_KERNFS = /^kernfs_create_root(\.\w+)*$/;

interface Allocation {
  readonly addr: Addr;
  readonly size: number;
  readonly owner: string;
}

/** How many live allocations there are of each owner and size; nodes of trees by the tree. */
export function heapOf(machine: Machine): Record<string, number> {
  let kworkers = tasksOf(machine).filter((task) => task.comm.startsWith('kworker/')).length;
  const counts = new Map<string, Map<number, number>>();
  const live = machine.inspect.core.slab.live();
  const homeOf = treeHomes(machine, live);
  // There are few owners, and thousands of allocations.
  const [isKept, isTreeNode] = [asked(KEPT), asked(TREE_NODE)];
  for (const allocation of live) {
    const { owner, size } = allocation;
    if (isKept(owner)) continue;
    if (owner === 'task_struct' && kworkers > 0) {
      kworkers--;
      continue;
    }
    const home = isTreeNode(owner) ? homeOf(allocation) : owner;
    if (home === undefined) continue;
    const bySize = counts.get(home) ?? new Map<number, number>();
    counts.set(home, bySize);
    bySize.set(size, (bySize.get(size) ?? 0) + 1);
  }
  const lines = [...counts].flatMap(([home, bySize]) =>
    Array.from(bySize, ([size, count]) => [`${home} ${size}`, count] as const),
  );
  return Object.fromEntries(lines.sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Whether a text matches, worked out once for each. */
function asked(pattern: RegExp): (text: string) => boolean {
  const known = new Map<string, boolean>();
  return (text) => {
    let matches = known.get(text);
    if (matches === undefined) {
      matches = pattern.test(text);
      known.set(text, matches);
    }
    return matches;
  };
}

/** Says in whose tree a node is; undefined for one in store, and for the numbers of kernfs. */
function treeHomes(machine: Machine, live: readonly Allocation[]): (node: Allocation) => string | undefined {
  const { core, modules } = machine.inspect;
  const array = BigInt(core.kernel.structs.xa_node.fields.array);
  const known = new Map<Addr, string | undefined>();
  const find = (tree: Addr): string | undefined => {
    // Nodes in store were made, and put nowhere yet.
    if (tree === 0n) return undefined;
    const module = modules.loader.modules.all.find((one) => one.contains(tree));
    if (module) return `node of a tree of ${module.name}`;
    const symbol = core.symbols.lookup(tree);
    if (symbol) return `node of the tree ${symbol.name}`;
    const home = live.find(({ addr, size }) => tree >= addr && tree < addr + BigInt(size));
    if (!home) return 'node of a tree that is gone';
    return OF_KERNFS.test(home.owner) ? undefined : `node of a tree of ${home.owner}`;
  };
  return ({ addr }) => {
    const tree = core.mem.readU64(addr + array);
    if (!known.has(tree)) known.set(tree, find(tree));
    return known.get(tree);
  };
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
  const last = name === undefined ? lastText.get(machine) : undefined;
  if (last && isStill(machine, runs, last.bytes)) return last.digest;
  const bytes = plainText(machine, name, runs);
  const digest = createHash('sha1').update(bytes).digest('hex').slice(0, 12);
  if (name === undefined) lastText.set(machine, { bytes, digest });
  return digest;
}

/** Whether the image's text, as plainText() would have it, is what it was: it is looked at where it lies. */
function isStill(machine: Machine, runs: readonly ImageRun[], was: Buffer): boolean {
  const { core, ftrace } = machine.inspect;
  const { nop } = core.arch.fentry;
  const called = ftrace.records.group(undefined).filter(({ target }) => target !== 0n);
  let offset = 0;
  for (const { start, size } of runs) {
    const { buffer, byteOffset } = core.mem.view(start, size);
    const now = Buffer.from(buffer, byteOffset, size);
    let from = 0;
    const isSame = (to: number): boolean => now.compare(was, offset + from, offset + to, from, to) === 0;
    for (const { ip } of called) {
      const at = lo32(ip) - lo32(start);
      if (at < 0 || at >= size) continue;
      if (!isSame(at) || was.compare(nop, 0, nop.length, offset + at, offset + at + nop.length) !== 0)
        return false;
      from = at + nop.length;
    }
    if (!isSame(size)) return false;
    offset += size;
  }
  return offset === was.length;
}

/** Calls of trampolines depend on where those are. */
function plainText(machine: Machine, name: string | undefined, runs: readonly ImageRun[]): Buffer {
  const { core, ftrace } = machine.inspect;
  const copy = Buffer.allocUnsafe(runs.reduce((sum, { size }) => sum + size, 0));
  let offset = 0;
  for (const { start, size } of runs) {
    copy.set(core.mem.view(start, size), offset);
    for (const rec of ftrace.records.group(name)) {
      if (rec.target === 0n) continue;
      const at = lo32(rec.ip) - lo32(start);
      if (at >= 0 && at < size) copy.set(core.arch.fentry.nop, offset + at);
    }
    offset += size;
  }
  return copy;
}
