// A picture of a machine that can be held against another: everything that an operation which failed, or was undone, must
// leave as it was.

import { createHash } from 'node:crypto';
import { type Addr, hex, lo32 } from '../guest/addr.ts';
import type { SysfsDir } from '../kernel/sysfs.ts';
import type { Machine } from '../machine/machine.ts';
import type { Module } from '../module/module.ts';
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
    records: [...ftrace.records.all()].length,
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
const KEPT = /^(worker|kernfs_node)$/;

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
  const { core, modules, ftrace } = machine.inspect;
  const hashes: Record<string, string> = {};
  const note = (name: string | undefined, runs: readonly TextRun[]): void => {
    const hash = createHash('sha1');
    for (const { start, size } of runs) {
      const copy = core.mem.readBytes(start, size);
      // Calls of trampolines depend on where those are.
      for (const rec of ftrace.records.group(name)) {
        const at = lo32(rec.ip) - lo32(start);
        if (rec.target !== 0n && at >= 0 && at < size) copy.set(core.arch.fentry.nop, at);
      }
      hash.update(copy);
    }
    hashes[name ?? 'vmlinux'] = `${hex(runs[0].start)} ${hash.digest('hex').slice(0, 12)}`;
  };
  note(undefined, imageRuns(machine));
  for (const mod of modules.loader.modules.all)
    note(mod.name, [{ start: mod.base('core'), size: mod.textSize('core') }]);
  return hashes;
}

interface TextRun {
  readonly start: Addr;
  readonly size: number;
}

/** From the first fentry site to the last; a kernel with ours behind it has text in two places. */
function imageRuns(machine: Machine): readonly TextRun[] {
  const known = runsOf.get(machine);
  if (known) return known;
  const { core, ftrace } = machine.inspect;
  const { size } = core.arch.fentry;
  const runs: { start: Addr; size: number }[] = [];
  for (const { ip } of ftrace.records.group(undefined)) {
    const last = runs.at(-1);
    const gap = last ? Number(ip - last.start) - last.size : 0;
    if (last && core.mem.isMapped(last.start + BigInt(last.size - 1), gap + size))
      last.size = Number(ip - last.start) + size;
    else runs.push({ start: ip, size });
  }
  runsOf.set(machine, runs);
  return runs;
}

/** The image's sites stay where they are. */
const runsOf = new WeakMap<Machine, readonly TextRun[]>();
