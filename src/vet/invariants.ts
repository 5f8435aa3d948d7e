// What must hold of a machine whatever was done to it: livepatch's lists, states of tasks, fentry sites, frames on stacks.

import type { Bundle } from '../bundle/bundle.ts';
import type { FtraceOps } from '../ftrace/ops.ts';
import { type Addr, lo32, TEXT_HI } from '../guest/addr.ts';
import { sameBytes } from '../guest/bytes.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import type { KlpFunc } from '../livepatch/structs.ts';
import type { Machine } from '../machine/machine.ts';
import { unusualSites } from './image_text.ts';

/** ops on ftrace_ops_list. */
export function registeredOps(machine: Machine): FtraceOps[] {
  const { core, ftrace } = machine.inspect;
  const end = core.symbols.require('ftrace_list_end');
  const list: FtraceOps[] = [];
  let addr = core.mem.readU64(core.symbols.require('ftrace_ops_list_head'));
  for (; addr !== end && addr !== 0n; addr = list[list.length - 1].next) list.push(ftrace.ops(addr));
  return list;
}

export function locked(machine: Machine, mutex: string): boolean {
  return machine.inspect.core.mem.readU64(machine.inspect.core.symbols.require(mutex)) !== 0n;
}

export function tasksOf(machine: Machine): TaskStruct[] {
  return [...machine.inspect.core.tasks.processes(), ...machine.inspect.core.tasks.idle];
}

/** Sentences that tell what is wrong; none when all is well. */
export function checkInvariants(machine: Machine): string[] {
  const wrong: string[] = [];
  if (!locked(machine, 'klp_mutex'))
    wrong.push(...funcStacks(machine), ...states(machine), ...objects(machine));
  if (!locked(machine, 'ftrace_lock') && !locked(machine, 'text_mutex')) wrong.push(...text(machine));
  wrong.push(...stacks(machine));
  return wrong;
}

/** ops are registered exactly while their func_stack has functions, each of them patched. */
function funcStacks(machine: Machine): string[] {
  const { livepatch, core } = machine.inspect;
  const wrong: string[] = [];
  const handler = core.symbols.require('klp_ftrace_handler');
  const registered = new Set(registeredOps(machine).map((ops) => ops.addr));
  const owned = new Set<Addr>();
  const onStack = new Set<Addr>();
  for (const ops of livepatch.patching.allOps()) {
    const fops = ops + BigInt(core.kernel.structs.klp_ops.fields.fops);
    const stack = livepatch.patching.funcStack(ops);
    owned.add(fops);
    if (stack.length === 0) wrong.push('a klp_ops has an empty func_stack');
    if (!registered.has(fops)) wrong.push(`the ops of ${stack[0]?.oldName} are not registered`);
    for (const func of stack) {
      if (onStack.has(func.addr)) wrong.push(`${func.oldName} is on two func_stacks`);
      onStack.add(func.addr);
      if (!func.patched) wrong.push(`${func.oldName} is on a func_stack and not patched`);
      if (func.oldFunc !== stack[0].oldFunc)
        wrong.push(`${func.oldName} is on another function's func_stack`);
    }
  }
  for (const ops of registeredOps(machine)) {
    if (ops.func === handler && !owned.has(ops.addr))
      wrong.push('registered ops of livepatch without a klp_ops');
  }
  for (const func of patchFuncs(machine)) {
    if (func.patched !== onStack.has(func.addr)) wrong.push(`${func.oldName}: patched is ${func.patched}`);
    onStack.delete(func.addr);
  }
  if (onStack.size > 0) wrong.push(`${onStack.size} functions on func_stacks belong to no patch`);
  return wrong;
}

function patchFuncs(machine: Machine): KlpFunc[] {
  return machine.inspect.livepatch
    .patches()
    .flatMap((patch) => patch.objects().flatMap((object) => object.funcs()));
}

/** Outside a transition nobody has a state, nor is asked for one. */
function states(machine: Machine): string[] {
  const { livepatch, core } = machine.inspect;
  const C = core.kernel.constants;
  const wrong: string[] = [];
  const target = livepatch.targetState;
  const running = livepatch.transitionPatch !== undefined;
  if (running !== (target !== C.KLP_UNDEFINED))
    wrong.push(`klp_target_state is ${target}, transition: ${running}`);
  for (const task of tasksOf(machine)) {
    const state = task.patchState;
    const pending = task.testTif('TIF_PATCH_PENDING');
    if (!running && state !== C.KLP_UNDEFINED) wrong.push(`${task} has patch_state ${state}`);
    if (!running && pending) wrong.push(`${task} has TIF_PATCH_PENDING`);
    if (!running) continue;
    if (state !== C.KLP_PATCHED && state !== C.KLP_UNPATCHED)
      wrong.push(`${task} has patch_state ${state} in a transition`);
    // A running task clears the flag first.
    if (state !== target && !pending && !task.onCpu) wrong.push(`${task} has to switch and is not asked to`);
    if (state === target && pending) wrong.push(`${task} has switched and is asked to`);
  }
  for (const func of patchFuncs(machine)) {
    if (func.transition && !running) wrong.push(`${func.oldName} is in transition`);
  }
  return wrong;
}

/** object->mod is set exactly while the module is in. */
function objects(machine: Machine): string[] {
  const wrong: string[] = [];
  const klpAlive = BigInt(machine.inspect.core.kernel.structs.module.fields.klp_alive);
  const bundles = machine.inspect.bundles?.list() ?? [];
  for (const patch of machine.inspect.livepatch.patches()) {
    for (const object of patch.objects()) {
      const { name } = object;
      if (name === undefined) continue;
      const mod = machine.inspect.modules.find(name);
      const alive = mod !== undefined && machine.inspect.core.mem.readU8(mod.addr + klpAlive) !== 0;
      const expected = alive ? mod.addr : 0n;
      if (object.mod !== expected) wrong.push(`${patch.name}/${name}: mod is ${object.mod}, not ${expected}`);
      if (object.patched && !alive) wrong.push(`${patch.name}/${name} is patched, and not loaded`);
      if (alive && !object.patched && patch.enabled)
        wrong.push(`${patch.name}/${name} is loaded, and not patched`);
    }
    // A bundle's patch has a struct module of its own, which is on no list; what is live of it are its members.
    const bundle = bundles.find((one) => one.patch.addr === patch.addr);
    const modules = bundle ? liveMembers(bundle) : [patch.mod];
    if (modules.some((mod) => !machine.inspect.modules.loader.modules.byAddr(mod)))
      wrong.push('a patch whose module is gone');
  }
  return wrong;
}

const liveMembers = ({ members }: Bundle): Addr[] => members.flatMap(({ module }) => module?.addr ?? []);

/** Every fentry site is a nop or the call that its ops ask for. */
function text(machine: Machine): string[] {
  const { ftrace, core } = machine.inspect;
  const wrong: string[] = [];
  const opsAt = new Map<Addr, FtraceOps[]>();
  for (const ops of registeredOps(machine)) {
    for (const ip of ops.filterIps() ?? []) opsAt.set(ip, [...(opsAt.get(ip) ?? []), ops]);
  }
  const { nop, call } = core.arch.fentry;
  const { FTRACE_REF_MAX } = core.kernel.constants;
  const listened = [...opsAt.keys()].flatMap((ip) => ftrace.records.at(ip) ?? []);
  for (const rec of new Set([...unusualSites(machine), ...listened, ...ftrace.records.ofModules()])) {
    const where = (): string => core.sym(rec.ip);
    if (!core.mem.isMapped(rec.ip, nop.length)) {
      wrong.push(`a record at ${rec.ip.toString(16)}, which is not mapped`);
      continue;
    }
    const ops = opsAt.get(rec.ip) ?? [];
    let wanted: Readonly<Uint8Array> = nop;
    if (ops.length === 1 && ops[0].trampoline !== 0n) wanted = call(rec.ip, ops[0].trampoline);
    else if (ops.length > 0) wanted = call(rec.ip, ftrace.trampolines.caller.start);
    const bytes = core.mem.view(rec.ip, nop.length);
    if (!sameBytes(bytes, wanted)) wrong.push(`${where()} is ${hexOf(bytes)}, not ${hexOf(wanted)}`);
    const count = rec.flags & FTRACE_REF_MAX;
    if (count !== ops.length) wrong.push(`${where()} counts ${count} ops, not ${ops.length}`);
  }
  return wrong;
}

const hexOf = (bytes: Readonly<Uint8Array>): string => Buffer.from(bytes).toString('hex');

/** No task has a frame, or executes, in code that is not there: not the image, a module, nor a trampoline. */
function stacks(machine: Machine): string[] {
  const wrong: string[] = [];
  const { shadow } = machine.inspect.traces;
  if (!shadow) return wrong;
  const { mem, kernel } = machine.inspect.core;
  const present = (addr: Addr): boolean =>
    mem.isMapped(addr, 1) &&
    (addr < kernel.constants.MODULES_VADDR ||
      machine.inspect.modules.loader.modules.all.some((mod) => mod.containsText(addr)) ||
      machine.inspect.ftrace.trampolines.at(addr) !== undefined);
  for (const task of tasksOf(machine)) {
    if (task.stackSlot < 0) continue;
    const places = shadow.frames(task.stackSlot, task.onCpu ? 0 : task.spLo).map(({ address }) => address);
    const cpu = machine.inspect.smp.cpus.find(({ id }) => machine.inspect.core.current(id) === task);
    if (cpu && !cpu.context.userMode) places.unshift(lo32(cpu.pc));
    for (const place of places) {
      const addr = (BigInt(TEXT_HI) << 32n) | BigInt(place);
      if (!present(addr)) wrong.push(`${task} has a frame at ${addr.toString(16)}, where no code is`);
    }
  }
  return wrong;
}
