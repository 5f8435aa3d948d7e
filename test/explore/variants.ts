// Mistakes that this code had, or could have, each planted in a machine by replacing a part of it through its port.

import type { HostCall, HostFunction, HostGenerator } from '../../src/guest/hostcall.ts';
import { preemptCount, setPreemptCount } from '../../src/kernel/preempt_count.ts';
import type { TaskStruct } from '../../src/kernel/task_struct.ts';
import type { KlpPatch } from '../../src/livepatch/structs.ts';
import type { Machine } from '../../src/machine/machine.ts';

export type Plant = (machine: Machine) => void;

function* nothing(): HostGenerator<void> {}

/** Other CPUs run, as they do while a kernel executes what is one host function here. */
function* meanwhile(): HostGenerator<void> {
  for (let i = 0; i < 3; i++) yield { relax: true };
}

/** What a transition did last, as its events tell. */
function lastEvent({ events }: Machine): () => string {
  let last = '';
  events.subscribe(
    (event) => {
      if (event.type === 'transition') last = event.what;
    },
    ['transition'],
  );
  return () => last;
}

/** Another body for a host function. */
function replaceHost(
  { inspect: { core } }: Machine,
  name: string,
  body: (call: HostCall, original: HostFunction) => ReturnType<HostFunction>,
): void {
  const get = core.host.get.bind(core.host);
  const original = get(name) as HostFunction;
  const replaced: HostFunction = (call) => body(call, original);
  core.host.get = (wanted) => (wanted === name ? replaced : get(wanted));
}

// Modules that come and go

/** Before klp_alive: whether klp_module_coming() has seen a module is not asked for. */
export const patchedBeforeNotifier: Plant = ({ inspect: { livepatch } }) => {
  livepatch.context.moduleAlive = () => true;
};

/** klp_module_coming() refuses a module, and leaves obj->mod as it is. */
export const modLeftSet: Plant = ({ inspect: { livepatch } }) => {
  const klp = livepatch.context;
  let refused: { readonly object: { mod: bigint }; readonly mod: bigint } | undefined;
  const setModuleAlive = klp.setModuleAlive.bind(klp);
  klp.setModuleAlive = (mod, alive) => {
    setModuleAlive(mod, alive);
    const objects = klp.patches().flatMap((patch) => patch.objects());
    // The last that it has come to is the one that failed.
    const object = objects.findLast((one) => one.mod === mod);
    refused = !alive && object ? { object, mod } : undefined;
  };
  const clear = klp.model.clearObjectRelocs.bind(klp.model);
  klp.model.clearObjectRelocs = (...args) => {
    clear(...args);
    if (refused) refused.object.mod = refused.mod;
    refused = undefined;
  };
};

/** klp_module_coming() refuses a module, and takes back the object that failed, not those of the patches before. */
export const onlyFailingUnpatched: Plant = ({ inspect: { livepatch } }) => {
  const klp = livepatch.context;
  const patches = klp.patches.bind(klp);
  let refusing = false;
  klp.patches = () => (refusing ? [] : patches());
  const setModuleAlive = klp.setModuleAlive.bind(klp);
  klp.setModuleAlive = (mod, alive) => {
    setModuleAlive(mod, alive);
    refusing = !alive && klp.moduleState(mod) === klp.constants.MODULE_STATE_COMING;
  };
  const unlock = klp.unlock.bind(klp);
  klp.unlock = () => {
    refusing = false;
    return unlock();
  };
};

// Fork

/** Ms until kthreadd comes to make a thread that it is asked for. */
const KTHREADD_MS = 20;

/**
 * kthread_create() sleeps until kthreadd has come to it, whose copy_process() takes time between dup_task_struct() and
 * klp_copy_process(): no mistake by itself.
 */
function slowKthreadd(machine: Machine, dup: (kthreadd: TaskStruct) => (child: TaskStruct) => void): void {
  const { core } = machine.inspect;
  replaceHost(machine, 'kthread_create_on_node', function* (call, original) {
    yield { call: core.symbols.require('msleep'), args: [KTHREADD_MS] };
    const copied = dup(core.tasks.byPid(2) as TaskStruct);
    yield* meanwhile();
    const made = original(call);
    const addr = (typeof made === 'object' ? yield* made : made) as bigint;
    const child = core.tasks.byAddr(addr);
    if (child) copied(child);
    return addr;
  });
}

/** No mistake: other CPUs run in the midst of it. */
export const forkTakesTime: Plant = (machine) => slowKthreadd(machine, () => () => {});

/** The child has TIF_PATCH_PENDING as dup_task_struct() found it, and patch_state as klp_copy_process() does. */
export const copiedAtTwoMoments: Plant = (machine) =>
  slowKthreadd(machine, (kthreadd) => {
    const isPending = kthreadd.testTif('TIF_PATCH_PENDING');
    return (child) => (isPending ? child.setTif('TIF_PATCH_PENDING') : child.clearTif('TIF_PATCH_PENDING'));
  });

/** klp_try_complete_transition() lets others run between two tasks, which a kernel with tasklist_lock does not: no mistake where the list is alive. */
export const walkTakesTime: Plant = ({ inspect: { livepatch } }) => {
  Object.assign(livepatch.context.options, { tasksPerRelax: 1 });
};

/** And it walks the tasks that there were when it began. */
export const walkOfSnapshot: Plant = (machine) => {
  walkTakesTime(machine);
  const { tasks } = machine.inspect.core;
  const processes = tasks.processes.bind(tasks);
  tasks.processes = () => [...processes()].values();
};

// Without tasklist_lock: as was proposed in 2025, one after the other

type ForIdle = (task: TaskStruct, chosen: Chosen) => ReturnType<HostFunction>;

/** What klp_ftrace_handler() is about to choose for a task that is KLP_UNDEFINED. */
interface Chosen {
  /** By that state. */
  take(state: number): void;
}

/** klp_ftrace_handler() of a task that has no state, in a transition: where the kernel has WARN_ON_ONCE(). */
function handlerOfIdle(machine: Machine, body: ForIdle): void {
  const { core } = machine.inspect;
  const { klp_func } = core.kernel.structs;
  const original = core.slab.alloc(klp_func.size, 'klp_func');
  core.mem.fill(original, klp_func.size, 0);
  core.mem.writeU8(original + BigInt(klp_func.fields.nop), 1);
  replaceHost(machine, 'klp_handler_warn', (call, warn) => {
    if ((call.args[0] & 3n) !== 2n) return warn(call);
    // The function that the handler goes on with lies above its return address.
    const saved = call.sp + 8n;
    return body(core.currentOf(call), {
      take: (state) => {
        if (state !== core.kernel.constants.KLP_UNPATCHED) return;
        core.mem.writeU64(saved, below(machine, core.mem.readU64(saved)) ?? original);
      },
    });
  });
}

/** The version under a function. */
function below({ inspect: { core, livepatch } }: Machine, addr: bigint): bigint | undefined {
  for (const ops of livepatch.patching.allOps()) {
    const stack = livepatch.patching.funcStack(ops).map((func) => func.addr);
    const at = stack.indexOf(addr);
    if (at >= 0) return stack[at + 1];
  }
  void core;
  return undefined;
}

/** A child does not take after its parent. */
function childrenHave({ inspect: { livepatch } }: Machine, state: () => number): void {
  livepatch.copyProcess = (_, child) => {
    child.clearTif('TIF_PATCH_PENDING');
    child.patchState = state();
  };
}

/** klp_copy_process() was done, and the child is not on the list yet, while others run. */
function lateOnTheList(machine: Machine): void {
  const { core } = machine.inspect;
  replaceHost(machine, 'copy_process', function* (call, original) {
    const made = original(call);
    const addr = (typeof made === 'object' ? yield* made : made) as bigint;
    const child = core.tasks.byAddr(addr);
    if (!child) return addr;
    core.tasks.unlink(child);
    yield* meanwhile();
    core.tasks.add(child);
    return addr;
  });
}

/** (a) Children have no state and no flag; the handler takes the target for that one call. */
export const targetForOneCall: Plant = (machine) => {
  const { livepatch, core } = machine.inspect;
  childrenHave(machine, () => core.kernel.constants.KLP_UNDEFINED);
  handlerOfIdle(machine, (_, chosen) => chosen.take(livepatch.targetState));
};

/** (b) Children have the target as it is at fork. */
export const targetAtFork: Plant = (machine) => {
  childrenHave(machine, () => machine.inspect.livepatch.targetState);
  lateOnTheList(machine);
};

/** (c) The handler writes the target into the task, and goes on with what it had read: as if patched. */
export const targetWrittenNotTaken: Plant = (machine) => {
  const { livepatch, core } = machine.inspect;
  childrenHave(machine, () => core.kernel.constants.KLP_UNDEFINED);
  handlerOfIdle(machine, (task) => {
    task.patchState = livepatch.targetState;
  });
};

/** (d) It goes on with the target; but there is no grace period between the new target and func->transition. */
export const noGracePeriodAtInit: Plant = (machine) => {
  const { livepatch, core } = machine.inspect;
  childrenHave(machine, () => core.kernel.constants.KLP_UNDEFINED);
  lateOnTheList(machine);
  handlerOfIdle(machine, (task, chosen) => {
    task.patchState = livepatch.targetState;
    chosen.take(task.patchState);
  });
};

// How tasks switch

/**
 * cond_resched() switches the task that calls it, here in kthread_should_stop(): the target is read, the stack looked at, and
 * then both are written, without a lock, as klp_try_switch_task() does with its own task.
 */
function switchesInCondResched(machine: Machine, isPreemptible: boolean): void {
  const { core, livepatch } = machine.inspect;
  const { KLP_PATCHED, KLP_UNPATCHED } = core.kernel.constants;
  const disable = ({ cpu }: HostCall, by: 1 | -1): void => {
    if (!isPreemptible) setPreemptCount(core, cpu, preemptCount(core, cpu) + by);
  };
  replaceHost(machine, 'kthread_should_stop', function* (call, original) {
    const task = core.currentOf(call);
    if (task.testTif('TIF_PATCH_PENDING')) {
      disable(call, 1);
      const to = livepatch.targetState;
      const isInside = machine.stack(task).some((line) => /klpdemo_(new_)?(round|check)/.test(line));
      yield* meanwhile();
      if (!isInside) {
        task.clearTif('TIF_PATCH_PENDING');
        task.patchState = to;
        const from = to === KLP_PATCHED ? KLP_UNPATCHED : KLP_PATCHED;
        const { pid, comm } = task;
        core.events.emit({ type: 'patch_state', pid, comm, from, to, way: 'cond_resched', sinceNs: 0 });
      }
      disable(call, -1);
    }
    return original(call) as bigint;
  });
}

/** With preemption disabled, which klp_synchronize_transition() waits for: no mistake. */
export const switchInCondResched: Plant = (machine) => switchesInCondResched(machine, false);

/** It may be preempted between. */
export const preemptedInCondResched: Plant = (machine) => switchesInCondResched(machine, true);

// Grace periods

/** klp_synchronize_transition() does nothing where the last thing that the transition did was this. */
function noSynchronizeAfter(what: string, target?: 0 | 1): Plant {
  return (machine) => {
    const last = lastEvent(machine);
    const { context } = machine.inspect.livepatch;
    const original = context.synchronize.bind(context);
    context.synchronize = () =>
      last() === what && (target ?? context.targetState) === context.targetState ? nothing() : original();
  };
}

/** func->transition is cleared, and patch_state reset, without a grace period between. */
export const noGracePeriodAtCompletion = noSynchronizeAfter('completing');

/** A reversal goes on at once: a klp_update_patch_state() that saw the flag may still be about to write the old target. */
export const noGracePeriodAtReversal = noSynchronizeAfter('reversing');

/** func->transition is cleared as soon as the functions are off their stacks. */
export const noGracePeriodAfterUnpatching = noSynchronizeAfter('completing', 0);

/** It is cleared, and then the grace period is waited for. */
export const clearedBeforeGracePeriod: Plant = (machine) => {
  const last = lastEvent(machine);
  const { context } = machine.inspect.livepatch;
  const original = context.synchronize.bind(context);
  context.synchronize = function* () {
    if (last() === 'completing' && context.targetState === context.constants.KLP_UNPATCHED)
      for (const func of funcsOf(context.transitionPatch)) func.transition = false;
    yield* original();
  };
};

// Barriers: what they keep in order is written in the other order, as a compiler could without them

const funcsOf = (patch: KlpPatch | undefined) => patch?.objects().flatMap((object) => object.funcs()) ?? [];

/** klp_init_transition(): func->transition before patch_state. */
export const transitionBeforeStates: Plant = ({ inspect: { livepatch } }) => {
  const { transition } = livepatch;
  const init = transition.init.bind(transition);
  transition.init = (patch, state) => {
    for (const func of funcsOf(patch)) func.transition = true;
    init(patch, state);
  };
};

/** klp_init_transition(): klp_target_state behind the flags. */
export const targetBehindFlags: Plant = ({ inspect: { livepatch } }) => {
  const { context, transition } = livepatch;
  const accessor = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(context), 'targetState');
  let late: number | undefined;
  Object.defineProperty(context, 'targetState', {
    get: () => late ?? accessor?.get?.call(context),
    set: (state: number) => {
      if (late !== undefined) late = state;
      else accessor?.set?.call(context, state);
    },
  });
  const init = transition.init.bind(transition);
  transition.init = (patch, state) => {
    late = context.targetState;
    init(patch, state);
  };
  const start = transition.start.bind(transition);
  transition.start = function* () {
    yield* start();
    const state = late;
    late = undefined;
    if (state !== undefined) context.targetState = state;
  };
};

/** __klp_disable_patch(): func->transition behind the flags. */
export const transitionBehindFlags: Plant = (machine) => transitionLate(machine, false);

/** __klp_enable_patch(): func->transition behind the func_stack. */
export const transitionBehindStack: Plant = (machine) => transitionLate(machine, true);

function transitionLate({ inspect: { livepatch } }: Machine, beforeFlags: boolean): void {
  const { context, transition } = livepatch;
  const init = transition.init.bind(transition);
  let late: KlpPatch | undefined;
  transition.init = (patch, state) => {
    late = patch;
    init(
      new Proxy(patch, {
        get: (target, name) => {
          if (name === 'objects') return () => [];
          const value: unknown = Reflect.get(target, name, target);
          return typeof value === 'function' ? value.bind(target) : value;
        },
      }),
      state,
    );
  };
  const mark = (): void => {
    for (const func of funcsOf(late)) func.transition = true;
    late = undefined;
  };
  const start = transition.start.bind(transition);
  transition.start = function* () {
    if (beforeFlags) mark();
    yield* start();
    mark();
  };
  void context;
}

/** klp_update_patch_state() reads the target before it clears the flag. */
export const targetReadBeforeFlag: Plant = ({ inspect: { core } }) => {
  const at = core.symbols.require('klp_update_patch_state');
  const code = core.mem.readBytes(at, 0x60);
  const btr = [...code].findIndex((byte, i) => byte === 0xf0 && code[i + 2] === 0x0f && code[i + 3] === 0xba);
  const jnc = code.findIndex((byte, i) => i > btr && byte === 0x73);
  // lock btr; jnc; mov eax, [rip+target] becomes mov; lock btr; jnc.
  const mov = code.slice(jnc + 2, jnc + 8);
  if (mov[0] !== 0x8b || mov[1] !== 0x05) throw new Error('klp_update_patch_state is other code');
  const moved = new DataView(mov.buffer, mov.byteOffset);
  moved.setInt32(2, moved.getInt32(2, true) + (jnc + 2 - btr), true);
  const jump = Uint8Array.of(0x73, code[jnc + 1] - 6);
  core.mem.pokeText(at + BigInt(btr), Uint8Array.from([...mov, ...code.slice(btr, jnc), ...jump]));
};

// The gate of the bundle model

/** Who waits is woken before the gate is free, looks, and sleeps on. */
export const wokenTooEarly: Plant = ({ inspect: { core, bundles } }) => {
  const gate = bundles?.gate;
  if (!gate) return;
  const free = gate.unlockTransition.bind(gate);
  gate.unlockTransition = function* () {
    if (gate.waits.length > 0) yield { call: core.symbols.require('klp_gate_wake') };
    // What it does is without a wake-up.
    while (!free().next(0n).done);
  };
};

/** Of two loads that wait for each other none is refused. */
export const noneIsRefused: Plant = ({ inspect: { bundles } }) => {
  const gate = bundles?.gate;
  if (!gate) return;
  Object.defineProperty(gate, 'waits', { get: () => [] });
};

/** Nobody asks whether a load waits for the thread that waits for it. */
export const nobodyAsksWhoWaits: Plant = ({ inspect: { bundles } }) => {
  const awaits = bundles?.awaits;
  if (awaits) awaits.path = () => undefined;
};
