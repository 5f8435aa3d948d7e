// The task that does what a step says: what a user would type.

import type { TaskStruct } from '../kernel/task_struct.ts';
import type { ScenarioMachine } from './ports.ts';
import type { ActionStep } from './scenario.ts';

export function startAction(
  machine: Pick<ScenarioMachine, 'insmod' | 'rmmod' | 'spawn'>,
  { verb, target, params, text }: ActionStep,
): TaskStruct {
  switch (verb) {
    case 'load':
      return machine.insmod(target, params);
    case 'unload':
      return machine.rmmod(target);
    case 'write':
      return machine.spawn('echo', [text ?? '', target]);
    case 'read':
      return machine.spawn('cat', [target]);
  }
}
