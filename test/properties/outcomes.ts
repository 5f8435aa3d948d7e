// A small model of the operations: how a task that does one may end, by what the machine was like when it began. What a
// transition that ends meanwhile changes is foreseen; where something else is under way, or a fault was put in, no more is
// said than that nothing is killed.
//
// It knows nothing of how livepatch does its work: names, enabled or not, whose transition, who refers to whom.

import { UAPI } from '../../src/kernel/uapi.ts';
import type { Machine } from '../../src/machine/machine.ts';
import { MODULE_FILES, type ModuleName } from './modules.ts';
import type { Action } from './steps.ts';

/** What a machine was like before an operation. */
export interface Situation {
  /** By name, whether enabled. */
  readonly patches: ReadonlyMap<string, boolean>;
  /** The patch whose transition is under way, and whether it takes the place of the others then. */
  readonly transition: { readonly patch: string; readonly replaces: boolean } | undefined;
  /** Directories of patches that are gone but for that. */
  readonly fading: boolean;
  /** References to modules, by name. */
  readonly modules: ReadonlyMap<string, number>;
  /** Versions of system states, by the patch that has them. */
  readonly states: ReadonlyMap<string, ReadonlyMap<string, number>>;
}

/** @param args of the patches with system states that were loaded, by name */
export function situationOf(machine: Machine, args: ReadonlyMap<string, string>): Situation {
  const { livepatch, modules, fs } = machine.inspect;
  const patches = new Map(livepatch.patches().map((patch) => [patch.name, patch.enabled]));
  const current = livepatch.transitionPatch;
  const directories = fs.list('/sys/kernel/livepatch') ?? [];
  return {
    patches,
    transition: current && { patch: current.name, replaces: current.replace },
    fading: directories.some((name) => !patches.has(name)),
    modules: new Map(modules.loader.modules.visible.map((mod) => [mod.name, mod.refcount + mod.users.size])),
    states: new Map([...patches.keys()].map((name) => [name, statesIn(args.get(name) ?? '')])),
  };
}

function statesIn(args: string): Map<string, number> {
  return new Map(
    [...args.matchAll(/(version\d)=(\d)/g)].map(([, state, version]) => [state, Number(version)]),
  );
}

/** When the transition under way has ended, and all that was to go is gone. */
function settled(now: Situation): Situation {
  const { transition } = now;
  if (!transition) return now;
  const remaining = [...now.patches].filter(([name, enabled]) =>
    name === transition.patch ? enabled : !(transition.replaces && now.patches.get(transition.patch)),
  );
  return { ...now, patches: new Map(remaining), transition: undefined };
}

const { EAGAIN, EBUSY, EEXIST, EINVAL, ENODEV, ENOENT } = UAPI;
const FAILS_BEFORE_PATCH = /pre_patch_ret=-19/;

/** The exit status where nothing else changes; undefined: any but that of a task that was killed. */
function expected(action: Action, now: Situation): number | undefined {
  switch (action.do) {
    case 'load':
      return loading(action.module, action.args, now);
    case 'write':
      return writing(MODULE_FILES[action.patch], action.file, action.text, now);
    case 'block':
      return now.modules.has(MODULE_FILES.target) ? 0 : ENOENT;
    case 'read':
      return action.path === '/proc/klpdemo' && !now.modules.has(MODULE_FILES.target) ? ENOENT : 0;
    default:
      return undefined;
  }
}

function loading(name: ModuleName, args: string, now: Situation): number {
  const file = MODULE_FILES[name];
  if (now.modules.has(file)) return EEXIST;
  if (name === 'target' || name === 'core') return 0;
  if (name === 'mid') return now.modules.has(MODULE_FILES.core) ? 0 : ENOENT;
  if (!compatible(args, now)) return EINVAL;
  if (now.transition) return EBUSY;
  return FAILS_BEFORE_PATCH.test(args) ? ENODEV : 0;
}

/** States of a patch do not go back, and one that replaces all others knows all of theirs. */
function compatible(args: string, now: Situation): boolean {
  const mine = statesIn(args);
  const replaces = /replace=1/.test(args);
  return [...now.states].every(
    ([patch, states]) =>
      !now.patches.has(patch) ||
      [...states].every(([state, version]) =>
        mine.has(state) ? (mine.get(state) ?? 0) >= version : !replaces,
      ),
  );
}

function writing(patch: string, file: 'enabled' | 'force', text: string, now: Situation): number {
  const enabled = now.patches.get(patch);
  if (enabled === undefined) return ENOENT;
  const current = now.transition?.patch === patch;
  if (text === 'x') return EINVAL;
  if (file === 'force') return text === '0' || current ? 0 : EINVAL;
  if (enabled === (text === '1')) return EINVAL;
  if (current) return 0;
  if (enabled) return now.transition ? EBUSY : 0;
  return EINVAL;
}

/** Whether a module that is to go may go: somebody refers to it, or nobody. */
export const unloading = (name: string, now: Situation): number =>
  (now.modules.get(name) ?? 0) > 0 ? EAGAIN : 0;

/**
 * How a task may end that was waited for, while nothing else was done.
 * @returns undefined: any way but by a signal
 */
export function outcomes(action: Action, now: Situation): ReadonlySet<number> | undefined {
  if (now.fading) return undefined;
  const all = [now, settled(now)].map((situation) => expected(action, situation));
  return all.includes(undefined) ? undefined : new Set(all as number[]);
}
