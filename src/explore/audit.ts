// What must hold of a machine when a scenario is over and nothing is under way: nothing of a transition is left behind.

import type { Machine } from '../machine/machine.ts';

/** Sentences that tell what is wrong; none when all is well. */
export function audit(machine: Machine): string[] {
  const { core, livepatch } = machine.inspect;
  const { KLP_UNDEFINED } = core.kernel.constants;
  const wrong: string[] = [...strayObjects(machine), ...waitsForEver(machine)];
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

/** Objects of patches whose module is not there, or is another one. */
function strayObjects({ inspect: { livepatch } }: Machine): string[] {
  const { modules } = livepatch.context.ports;
  return livepatch
    .patches()
    .flatMap((patch) => patch.objects().map((object) => ({ patch, object })))
    .filter(
      ({ object }) =>
        object.isModule && object.mod !== 0n && modules.findModule(object.displayName) !== object.mod,
    )
    .map(({ patch, object }) => {
      const left = object.patched ? 'is patched' : 'has obj->mod set';
      return `object '${object.displayName}' of '${patch.name}' ${left}, and its module is not there`;
    });
}

/** Who sleeps on the gate between loads and transitions though nobody holds it, or though who holds it waits for him. */
function waitsForEver({ inspect: { core, bundles } }: Machine): string[] {
  const gate = bundles?.gate;
  if (!gate) return [];
  const { TASK_RUNNING } = core.kernel.constants;
  const waiting = [...core.tasks.processes()].filter((task) => gate.why(task) !== undefined);
  const asleep = waiting.filter((task) => task.state !== TASK_RUNNING);
  if (asleep.length === 0 || gate.held) return [];
  const { loading } = gate;
  if (loading.length === 0)
    return asleep.map((task) => `${task} sleeps on the gate, which nobody holds: its wake-up is lost`);
  if (loading.some((task) => task.state === TASK_RUNNING)) return [];
  const chain = asleep.map((task) => `${task} ${gate.why(task)}`);
  return [`a deadlock: ${chain.join('; ')}; ${loading.join(', ')} asleep`];
}
