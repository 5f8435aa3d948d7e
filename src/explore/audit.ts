// What must hold of a machine when a scenario is over and nothing is under way: nothing of a transition is left behind.

import type { Machine } from '../machine/machine.ts';

/** Sentences that tell what is wrong; none when all is well. */
export function audit(machine: Machine): string[] {
  const { core, livepatch } = machine.inspect;
  const { KLP_UNDEFINED } = core.kernel.constants;
  const wrong: string[] = [];
  if (livepatch.transitionPatch) return wrong;
  if (livepatch.targetState !== KLP_UNDEFINED)
    wrong.push(`klp_target_state is ${livepatch.targetState} outside of a transition`);
  for (const task of [...core.tasks.processes(), ...core.tasks.idle]) {
    if (task.patchState !== KLP_UNDEFINED)
      wrong.push(`${task} has patch_state ${task.patchState} outside of a transition`);
    if (task.testTif('TIF_PATCH_PENDING'))
      wrong.push(`${task} has TIF_PATCH_PENDING outside of a transition`);
  }
  for (const patch of livepatch.patches())
    for (const object of patch.objects())
      for (const func of object.funcs())
        if (func.transition) wrong.push(`${func.oldName} of '${patch.name}' is in transition outside of one`);
  for (const ops of livepatch.patching.allOps()) {
    const stack = livepatch.patching.funcStack(ops);
    if (stack.length === 0) wrong.push('a klp_ops has an empty func_stack');
    for (const func of stack)
      if (!func.patched) wrong.push(`${func.oldName} is on a func_stack and not patched`);
  }
  return wrong;
}
