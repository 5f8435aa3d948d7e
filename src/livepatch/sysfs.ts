// The files of a patch and of its objects below /sys/kernel/livepatch.
// Mirrors the sysfs part of kernel/livepatch/core.c.

import type { HostCall, HostGenerator } from '../guest/hostcall.ts';
import { kstrtobool } from '../kernel/lib.ts';
import { holds } from '../kernel/release.ts';
import type { SysfsAttribute } from '../kernel/sysfs.ts';
import { UAPI } from '../kernel/uapi.ts';
import type { KlpContext } from './context.ts';
import type { KlpTypes } from './init.ts';
import { LIVEPATCH } from './since.ts';
import { type KlpPatch, objectOfKobj, patchOfKobj } from './structs.ts';

const { EINVAL } = UAPI;

/** What writes to the files do. */
interface PatchActions {
  /** Under klp_mutex. 0 or -errno. */
  disable(patch: KlpPatch, call: HostCall): HostGenerator<number>;
  reverse(): HostGenerator<void>;
  force(): void;
}

const line = (value: boolean): string => `${value ? 1 : 0}\n`;

export function klpAttributes(klp: KlpContext, actions: PatchActions): KlpTypes {
  return {
    patch: {
      attributes: (kobj) => {
        const patch = patchOfKobj(klp.core, kobj);
        return [
          {
            name: 'enabled',
            mode: 0o644,
            show: () => line(patch.enabled),
            store: (text, call) => enabledStore(klp, actions, patch, text, call),
          },
          { name: 'transition', mode: 0o444, show: () => line(klp.isInTransition(patch)) },
          { name: 'force', mode: 0o200, store: (text) => forceStore(klp, actions, patch, text) },
          ...laterAttributes(klp, patch),
        ];
      },
    },
    object: {
      attributes: (kobj) => [
        { name: 'patched', mode: 0o444, show: () => line(objectOfKobj(klp.core, kobj).patched) },
      ],
    },
  };
}

/** What later kernels have beside them. */
function laterAttributes(klp: KlpContext, patch: KlpPatch): SysfsAttribute[] {
  const { kernel } = klp.core;
  const mode = 0o444;
  const order = (): number => [...klp.patches()].findIndex(({ addr }) => addr === patch.addr) + 1;
  return [
    ...(holds(kernel, LIVEPATCH.replaceFile)
      ? [{ name: 'replace', mode, show: () => line(patch.replace) }]
      : []),
    ...(holds(kernel, LIVEPATCH.stackOrderFile)
      ? [{ name: 'stack_order', mode, show: () => `${order()}\n` }]
      : []),
  ];
}

/** 0 disables, or turns a transition round, which 1 does too; a disabled patch cannot be enabled again. */
function* enabledStore(
  klp: KlpContext,
  actions: PatchActions,
  patch: KlpPatch,
  text: string,
  call: HostCall,
): HostGenerator<number> {
  const enabled = kstrtobool(text);
  if (enabled === undefined) return -EINVAL;
  const { model } = klp;
  if (!klp.isInTransition(patch)) {
    const refused = yield* model.transitionBegin();
    if (refused !== 0) return refused;
  }
  yield* klp.lock();
  let ret = 0;
  if (patch.enabled === enabled) ret = -EINVAL;
  else if (klp.isInTransition(patch)) yield* actions.reverse();
  else ret = enabled ? -EINVAL : yield* actions.disable(patch, call);
  yield* klp.unlock();
  if (!klp.transitionPatch) yield* model.transitionEnd();
  return ret || text.length;
}

function* forceStore(
  klp: KlpContext,
  actions: PatchActions,
  patch: KlpPatch,
  text: string,
): HostGenerator<number> {
  const value = kstrtobool(text);
  if (value === undefined) return -EINVAL;
  if (!value) return text.length;
  yield* klp.lock();
  const ours = klp.isInTransition(patch);
  if (ours) actions.force();
  yield* klp.unlock();
  return ours ? text.length : -EINVAL;
}
