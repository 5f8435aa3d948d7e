// What changes the kernel while it runs: ftrace, livepatch, and modules with their loader.
//
// Invariant: as in kernel_parts.ts, the order is that of guest memory.

import { Bundles } from '../../bundle/core.ts';
import { BundleModel } from '../../bundle/model.ts';
import type { FileSystem } from '../../fs/filesystem.ts';
import { Ftrace } from '../../ftrace/ftrace.ts';
import type { HostCall, HostGenerator } from '../../guest/hostcall.ts';
import type { KernelCore } from '../../kernel/core.ts';
import { Sysfs } from '../../kernel/sysfs.ts';
import type { TaskStruct } from '../../kernel/task_struct.ts';
import { Livepatch } from '../../livepatch/core.ts';
import { BranchUpdates } from '../../module/branch_updates.ts';
import { FIRST_MODULE, ModuleArena } from '../../module/module_alloc.ts';
import { ModuleList } from '../../module/modules.ts';
import { ReservedChunk } from '../../module/percpu.ts';
import { SubmodulesModel } from '../../submodules/model.ts';
import { FunctionTracer } from '../../tracing/function_tracer.ts';
import { KprobeEvents } from '../../tracing/kprobe_events.ts';
import { Kprobes } from '../../tracing/kprobes.ts';
import { TraceBuffer } from '../../tracing/trace_buffer.ts';
import type { OrcLookup } from '../../unwind/orc_lookup.ts';
import type { Smp } from '../cpu/smp.ts';
import { lateRelocations, makeLoader, moduleHooks } from '../modules/loader.ts';
import type { ModuleCalls } from '../modules/module_calls.ts';
import { ModuleHeap } from '../modules/module_heap.ts';
import { ModuleText } from '../modules/module_text.ts';
import { type HelperParts, UsermodeHelper } from '../modules/usermode_helper.ts';
import type { MachineOptions } from '../options.ts';
import type { Traces } from '../truth/traces.ts';
import { type KernelParts, kernelKobjects } from './kernel_parts.ts';

export type PatchingParts = ReturnType<typeof patchingParts>;

export function patchingParts(
  core: KernelCore,
  smp: Smp,
  { sched, rcu, mm, workqueue }: KernelParts,
  traces: Traces,
  lookup: OrcLookup,
  { cmdline, debug, moduleArea }: Required<MachineOptions>,
  isReal: boolean,
) {
  const moduleArena = new ModuleArena(core.mem, FIRST_MODULE, moduleArea, core);
  const ftrace = new Ftrace(core, { smp, memory: moduleArena, rcu, trampolines: lookup });
  const sysfs = new Sysfs();
  const kobjects = kernelKobjects(core, sysfs, isReal);
  const moduleList = new ModuleList(core);
  const kprobes = new Kprobes(core, ftrace, moduleList);
  const buffer = new TraceBuffer(core);
  const tracing = {
    kprobes,
    events: new KprobeEvents(core, kprobes, buffer),
    tracer: new FunctionTracer(core, ftrace, buffer, moduleList),
  };
  const klpPorts = { sched, workqueue, modules: lateRelocations(core, moduleList, ftrace), stack: traces };
  const klpOptions = { reliableStacktrace: traces.stackTrace.haveReliableStack, debug };
  const livepatch = new Livepatch(core, ftrace, kobjects, klpPorts, klpOptions);
  mm.callers = (call) => traces.callers(call);
  const heap = new ModuleHeap(mm, moduleList, livepatch);
  const hooks = moduleHooks(core, ftrace, livepatch, new ModuleText(lookup), sysfs, kobjects, heap, tracing);
  const modulePercpu = new ReservedChunk(core);
  const places = { modules: moduleList, area: moduleArena, percpu: modulePercpu };
  const branches = new BranchUpdates(core, moduleList, (changes) => ftrace.pokeLive(changes));
  const loader = makeLoader(core, places, { hooks, ftrace, livepatch, branches }, cmdline);
  return { moduleArena, ftrace, tracing, sysfs, kobjects, moduleList, livepatch, modulePercpu, loader };
}

/** Patches have a module an object, which a helper in user space loads: before the first of them. */
export function useSubmodules(
  core: KernelCore,
  { livepatch, loader }: PatchingParts,
  modules: ModuleCalls,
  parts: HelperParts,
): void {
  modules.helper = new UsermodeHelper(core, parts);
  const { modules: list } = loader;
  const model = new SubmodulesModel(livepatch, {
    modules: list,
    requestModule: (name) => modules.request(name),
    deleteModule: (mod) => modules.putAndDelete(mod),
  });
  livepatch.use(model);
}

/** Patches come in bundles, instead of one module each: before the first of them. */
export function useBundles(
  core: KernelCore,
  { livepatch, loader }: PatchingParts,
  { ramfs }: FileSystem,
  stack: Traces,
  { locking, workqueue, timers }: KernelParts,
): Bundles {
  const { awaited } = locking;
  const waits = {
    by: (task: TaskStruct) => awaited.by(task),
    completionOf: (task: TaskStruct) => awaited.completionOf(task),
    pendingFunctions: () => [...workqueue.pendingFunctions(), ...timers.pendingFunctions()],
    wakesByItself: (task: TaskStruct) => timers.wakes(task),
    onWait: (told: (call: HostCall) => HostGenerator<void>) => {
      awaited.onWait = told;
    },
  };
  const bundles = new Bundles(core, livepatch, loader, ramfs, stack, waits);
  livepatch.use(new BundleModel(core, bundles));
  return bundles;
}
