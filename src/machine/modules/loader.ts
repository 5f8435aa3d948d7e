// The module loader wired to ftrace, livepatch, the unwinder and /sys/module.
// Mirrors who is called by load_module() and free_module() of kernel/module/main.c.

import type { Ftrace } from '../../ftrace/ftrace.ts';
import type { HostGenerator } from '../../guest/hostcall.ts';
import type { KernelCore } from '../../kernel/core.ts';
import type { Kobjects } from '../../kernel/kobject.ts';
import type { Sysfs } from '../../kernel/sysfs.ts';
import { UAPI } from '../../kernel/uapi.ts';
import type { Livepatch } from '../../livepatch/core.ts';
import type { BranchUpdates } from '../../module/branch_updates.ts';
import { LivepatchModules } from '../../module/livepatch.ts';
import { ModuleLoader } from '../../module/main.ts';
import type { ModuleArea } from '../../module/module_alloc.ts';
import type { ModuleList } from '../../module/modules.ts';
import type { ModuleHooks, ModulePerCpu } from '../../module/ports.ts';
import type { FunctionTracer } from '../../tracing/function_tracer.ts';
import type { KprobeEvents } from '../../tracing/kprobe_events.ts';
import type { Kprobes } from '../../tracing/kprobes.ts';
import type { ModuleHeap } from './module_heap.ts';
import { moduleKobject, putModuleKobject } from './module_kobject.ts';
import { makeModuleDirectory, removeModuleDirectory } from './module_sysfs.ts';
import type { ModuleText } from './module_text.ts';

/** Who is told of a module's steps. */
export function moduleHooks(
  core: KernelCore,
  ftrace: Ftrace,
  livepatch: Livepatch,
  text: ModuleText,
  sysfs: Sysfs,
  kobjects: Kobjects,
  heap: ModuleHeap,
  {
    kprobes,
    events,
    tracer,
  }: {
    readonly kprobes: Kprobes;
    readonly events: KprobeEvents;
    readonly tracer: FunctionTracer;
  },
): ModuleHooks {
  return {
    ftraceModuleInit: (mod) => ftrace.moduleInit(mod.name, mod.fentrySites),
    *ftraceModuleEnable(mod): HostGenerator<void> {
      ftrace.moduleEnable(mod.name);
      yield* tracer.moduleComes(mod.name);
    },
    ftraceReleaseMod: (mod) => tracer.forget(ftrace.releaseMod(mod.name)),
    ftraceFreeMem: (mod, start, end) => tracer.forget(ftrace.freeMem(mod.name, start, end)),
    klpModuleComing: (mod) => livepatch.model.moduleComing(mod, mod.held),
    klpModuleGoing: (mod) => livepatch.model.moduleGoing(mod),
    unwindModuleInit: (mod) => text.add(mod),
    unwindModuleFree: (mod) => text.remove(mod),
    *modSysfsSetup(mod): HostGenerator<number> {
      const failed = yield* moduleKobject(core, kobjects, sysfs, mod);
      if (failed === 0) makeModuleDirectory(core, sysfs, mod);
      return failed;
    },
    *modSysfsTeardown(mod): HostGenerator<void> {
      yield* removeModuleDirectory(core, sysfs, mod);
      yield* putModuleKobject(core, kobjects, mod);
    },
    *notify(mod, state): HostGenerator<void> {
      if (state === 'COMING') yield* events.moduleComes(mod.name);
      else yield* kprobes.moduleGoes(mod, state === 'LIVE');
      if (state === 'LIVE') {
        text.removeInit(mod);
        heap.live(mod);
      }
      if (state === 'GOING') heap.going(mod);
    },
  };
}

/** Modules as the livepatch core has them: by address, with the relocations that wait for their object. */
export function lateRelocations(core: KernelCore, modules: ModuleList, ftrace: Ftrace): LivepatchModules {
  return new LivepatchModules(core, modules, (addr, bytes) => ftrace.textPoke.early(addr, bytes));
}

/** Where modules, their text and their per-CPU variables are kept. */
interface ModulePlaces {
  readonly modules: ModuleList;
  readonly area: ModuleArea;
  readonly percpu: ModulePerCpu;
}

/** Who takes part in loading one. */
interface ModuleUsers {
  readonly hooks: ModuleHooks;
  readonly ftrace: Ftrace;
  readonly livepatch: Livepatch;
  readonly branches: BranchUpdates;
}

/** @param commandLine module_blacklist= and module.sig_enforce are taken from it. */
export function makeLoader(
  core: KernelCore,
  { modules, area, percpu }: ModulePlaces,
  { hooks, ftrace, livepatch, branches }: ModuleUsers,
  commandLine: string,
): ModuleLoader {
  const ports = {
    area,
    percpu,
    hooks,
    waitEvent: (condition: () => boolean, timeoutNs: number) =>
      outsideOfGate(core, livepatch, waitEvent(core, condition, timeoutNs)),
    pokeText: (addr: bigint, bytes: Uint8Array) => ftrace.textPoke.early(addr, bytes),
    blacklist: bootParam(commandLine, 'module_blacklist')?.split(',') ?? [],
    sigEnforce: /^(|1|y|on)$/i.test(bootParam(commandLine, 'module.sig_enforce') ?? 'no'),
    klpFindObjectSymbol: livepatch.findObjectSymbol.bind(livepatch),
    staticCallKey: (trampoline: bigint) => branches.keyOf(trampoline),
    get klp() {
      return livepatch.model;
    },
  };
  return new ModuleLoader(core, ports, modules);
}

/**
 * A load that waits for another one, of the same name or with a symbol that it needs, keeps nobody waiting: the other's init may be
 * about to begin a transition, which waits for loads under way. It has done nothing yet that a transition could meet: its module is
 * not formed, and who exports the symbol is referenced.
 */
function* outsideOfGate(
  core: KernelCore,
  livepatch: Livepatch,
  wait: HostGenerator<number>,
): HostGenerator<number> {
  const { model } = livepatch;
  yield* model.unlockModules(core.current(core.here()));
  const result = yield* wait;
  const locked = yield* model.lockModules('restart');
  return result === 0 ? -locked : result;
}

/** wait_event_interruptible_timeout(module_wq, ...): looks once a jiffy. */
function* waitEvent(core: KernelCore, condition: () => boolean, timeoutNs: number): HostGenerator<number> {
  const end = core.clock.now() + timeoutNs;
  const sleep = core.symbols.require('schedule_timeout_interruptible');
  while (!condition()) {
    const task = core.current(core.here());
    if (core.clock.now() >= end) return -UAPI.ETIME;
    if (task.testTif('TIF_SIGPENDING') || task.testTif('TIF_NOTIFY_SIGNAL')) return -UAPI.ERESTARTSYS;
    yield { call: sleep, args: [1], polls: true };
  }
  return 0;
}

/** The value of a parameter of the kernel: empty without `=`, undefined when it is not there. The last one counts. */
function bootParam(commandLine: string, name: string): string | undefined {
  const words = commandLine.split(/\s+/).filter((word) => word === name || word.startsWith(`${name}=`));
  return words.at(-1)?.slice(name.length + 1);
}
