// Files of sysfs as an onlooker sees them, for expectations of scenarios and tests.

import type { Sysfs } from '../kernel/sysfs.ts';
import { MachineError } from './machine_error.ts';

/**
 * The text of a sysfs file, looked at from outside: no task reads it and no time passes.
 * @throws MachineError for a path that is no such file, or one whose text guest code must make.
 */
export function peekSysfs(sysfs: Sysfs, path: string): string {
  const node = sysfs.lookup(path.replace(/^\/sys(?=\/)/, ''));
  if (node?.kind !== 'file') throw new MachineError(`${path}: no such file`);
  const show = node.show();
  const shown = show.next();
  show.return(0);
  if (!shown.done) throw new MachineError(`${path}: only a task can read it`);
  if (typeof shown.value === 'number') throw new MachineError(`${path}: error ${-shown.value}`);
  return shown.value;
}
