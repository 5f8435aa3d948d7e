// /sys/kernel/livepatch/BUNDLE: what every patch has there, and what only bundles have; and the file by which one
// is enabled. Unloaded objects have a directory too, with the size of their blob.

import type { HostCall, HostGenerator } from '../guest/hostcall.ts';
import type { KobjType } from '../kernel/kobject.ts';
import type { SysfsDir } from '../kernel/sysfs.ts';
import { UAPI } from '../kernel/uapi.ts';
import type { KlpContext } from '../livepatch/context.ts';
import { patchOfKobj } from '../livepatch/structs.ts';
import type { Bundle, Member } from './bundle.ts';

/** A write of a path loads the bundle in that file. */
export const ENABLE_FILE = '/kernel/livepatch_bundle/enable';

/** @param base the type that single patches have */
export function bundleType(klp: KlpContext, base: KobjType): KobjType {
  return {
    ...base,
    attributes: (kobj) => {
      const patch = patchOfKobj(klp.core, kobj);
      const order = () => klp.patches().findIndex((other) => other.addr === patch.addr) + 1;
      return [
        ...(base.attributes?.(kobj) ?? []),
        { name: 'replace', mode: 0o444, show: () => `${patch.replace ? 1 : 0}\n` },
        { name: 'stack_order', mode: 0o444, show: () => `${order()}\n` },
      ];
    },
  };
}

/** The directory of an object that is not loaded. */
export function addBlobDir(klp: KlpContext, bundle: Bundle, member: Member): void {
  const dir = klp.kobjects.dirOf(bundle.patch.kobj)?.addDir(member.spec.object);
  dir?.addFile({ name: 'patched', mode: 0o444, show: () => '0\n' });
  dir?.addFile({ name: 'blob', mode: 0o444, show: () => `${member.size}\n` });
}

export function removeBlobDir(klp: KlpContext, bundle: Bundle, member: Member): void {
  klp.kobjects.dirOf(bundle.patch.kobj)?.remove(member.spec.object);
}

/** @param enable loads the bundle in a file; 0 or -errno */
export function addEnableFile(
  mkdirs: (path: string) => SysfsDir,
  enable: (path: string, call: HostCall) => HostGenerator<number>,
): void {
  const at = ENABLE_FILE.lastIndexOf('/');
  mkdirs(ENABLE_FILE.slice(0, at)).addFile({
    name: ENABLE_FILE.slice(at + 1),
    mode: 0o200,
    *store(text, call): HostGenerator<number> {
      const path = text.trim();
      if (!path.startsWith('/')) return -UAPI.EINVAL;
      return (yield* enable(path, call)) || text.length;
    },
  });
}
