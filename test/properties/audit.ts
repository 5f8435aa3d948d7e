// What must hold of a machine whatever was done to it, and a picture of it that can be held against another.
//
// checkInvariants() says what is wrong at this moment; pictureOf() tells everything that an operation which
// failed, or was undone, must leave as it was.

import { createHash } from 'node:crypto';
import { callInsn, NOP5 } from '../../src/arch/x86_64/insn.ts';
import type { FtraceOps } from '../../src/ftrace/ops.ts';
import { type Addr, lo32, TEXT_HI } from '../../src/guest/addr.ts';
import { sameBytes } from '../../src/guest/bytes.ts';
import { BUILT_IN } from '../../src/kernel/description.ts';
import type { SysfsDir } from '../../src/kernel/sysfs.ts';
import type { TaskStruct } from '../../src/kernel/task_struct.ts';
import type { KlpFunc } from '../../src/livepatch/structs.ts';
import type { Machine } from '../../src/machine/machine.ts';
import type { Module } from '../../src/module/module.ts';

const C = BUILT_IN.constants;
const LAYOUT = BUILT_IN.structs;

/** ops on ftrace_ops_list. */
function registeredOps(machine: Machine): FtraceOps[] {
  const { core, ftrace } = machine.inspect;
  const end = core.symbols.require('ftrace_list_end');
  const list: FtraceOps[] = [];
  let addr = core.mem.readU64(core.symbols.require('ftrace_ops_list_head'));
  for (; addr !== end && addr !== 0n; addr = list[list.length - 1].next) list.push(ftrace.ops(addr));
  return list;
}

function locked(machine: Machine, mutex: string): boolean {
  return machine.inspect.core.mem.readU64(machine.inspect.core.symbols.require(mutex)) !== 0n;
}

function tasksOf(machine: Machine): TaskStruct[] {
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
  const { livepatch } = machine.inspect;
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
  for (const patch of machine.inspect.livepatch.patches()) {
    for (const object of patch.objects()) {
      const { name } = object;
      if (name === undefined) continue;
      const mod = machine.inspect.modules.find(name);
      const alive = mod !== undefined && machine.inspect.core.mem.readU8(mod.addr + KLP_ALIVE) !== 0;
      const expected = alive ? mod.addr : 0n;
      if (object.mod !== expected) wrong.push(`${patch.name}/${name}: mod is ${object.mod}, not ${expected}`);
      if (object.patched && !alive) wrong.push(`${patch.name}/${name} is patched, and not loaded`);
      if (alive && !object.patched && patch.enabled)
        wrong.push(`${patch.name}/${name} is loaded, and not patched`);
    }
    if (!machine.inspect.modules.loader.modules.byAddr(patch.mod)) wrong.push('a patch whose module is gone');
  }
  return wrong;
}

const KLP_ALIVE = BigInt(LAYOUT.module.fields.klp_alive);

/** Every fentry site is a nop or the call that its ops ask for. */
function text(machine: Machine): string[] {
  const { ftrace, core } = machine.inspect;
  const wrong: string[] = [];
  const opsAt = new Map<Addr, FtraceOps[]>();
  for (const ops of registeredOps(machine)) {
    for (const ip of ops.filterIps() ?? []) opsAt.set(ip, [...(opsAt.get(ip) ?? []), ops]);
  }
  const nop = NOP5 as Uint8Array;
  for (const rec of ftrace.records.all()) {
    const where = (): string => core.sym(rec.ip);
    if (!core.mem.isMapped(rec.ip, nop.length)) {
      wrong.push(`a record at ${rec.ip.toString(16)}, which is not mapped`);
      continue;
    }
    const ops = opsAt.get(rec.ip) ?? [];
    let wanted = nop;
    if (ops.length === 1 && ops[0].trampoline !== 0n) wanted = callInsn(rec.ip, ops[0].trampoline);
    else if (ops.length > 0) wanted = callInsn(rec.ip, ftrace.trampolines.caller.start);
    const bytes = core.mem.view(rec.ip, nop.length);
    if (!sameBytes(bytes, wanted)) wrong.push(`${where()} is ${hexOf(bytes)}, not ${hexOf(wanted)}`);
    const count = rec.flags & C.FTRACE_REF_MAX;
    if (count !== ops.length) wrong.push(`${where()} counts ${count} ops, not ${ops.length}`);
  }
  return wrong;
}

const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** No task has a frame, or executes, in code that is not there: not the image, a module, nor a trampoline. */
function stacks(machine: Machine): string[] {
  const wrong: string[] = [];
  const { shadow } = machine.inspect.traces;
  if (!shadow) return wrong;
  const { mem } = machine.inspect.core;
  const present = (addr: Addr): boolean =>
    mem.isMapped(addr, 1) &&
    (addr < C.MODULES_VADDR ||
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

/** Everything that operations change, as text that can be compared. */
export function pictureOf(machine: Machine): Record<string, unknown> {
  const { core, livepatch, modules, ftrace, sysfs } = machine.inspect;
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
    text: textHash(machine),
    proc: core.symbols.matches('klpdemo_round', undefined).length,
    mutexes: ['klp_mutex', 'ftrace_lock', 'text_mutex'].filter((name) => locked(machine, name)),
  };
}

const moduleText = (mod: Module): string => `${mod.name} ${mod.state} ${mod.refcount} ${mod.users.size}`;

/** Kworkers are made when work waits and stay; sysfs makes its root's node when the first file is opened. */
const KEPT = /^(worker|kernfs_node)$/;

/** How many live allocations there are of each owner and size. */
export function heapOf(machine: Machine): Record<string, number> {
  const kworkers = tasksOf(machine).filter((task) => task.comm.startsWith('kworker/')).length;
  const counts = new Map<string, number>([[`task_struct ${LAYOUT.task_struct.size}`, -kworkers]]);
  for (const { owner, size } of machine.inspect.core.slab.live()) {
    if (KEPT.test(owner)) continue;
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

/** The image's text and every module's, with the fentry sites as they are. */
function textHash(machine: Machine): Record<string, string> {
  const { core, modules } = machine.inspect;
  const hashes: Record<string, string> = {};
  const note = (name: string | undefined, base: Addr, size: number): void => {
    const copy = core.mem.readBytes(base, size);
    // Calls of trampolines depend on where those are.
    for (const rec of machine.inspect.ftrace.records.group(name)) {
      const at = lo32(rec.ip) - lo32(base);
      if (rec.target !== 0n && at >= 0 && at < size) copy.fill(0xe8, at, at + 5);
    }
    hashes[name ?? 'vmlinux'] = hash(copy);
  };
  const image = machine.inspect.ftrace.records.group(undefined);
  const start = image[0].ip;
  note(undefined, start, Number(image[image.length - 1].ip + 5n - start));
  for (const mod of modules.loader.modules.all) note(mod.name, mod.base('core'), mod.textSize('core'));
  return hashes;
}

const hash = (bytes: Uint8Array): string => createHash('sha1').update(bytes).digest('hex').slice(0, 12);
