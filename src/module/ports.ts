// What the module loader needs from its siblings: ftrace, livepatch, the unwinder, whoever listens to modules.
// The machine plugs them in; none of them imports the loader.

import type { FeatureSet } from '../arch/module_text.ts';
import type { Addr } from '../guest/addr.ts';
import type { HostGenerator } from '../guest/hostcall.ts';
import type { Module } from './module.ts';
import type { ModuleArea } from './module_alloc.ts';

/** A plain value, or a generator when guest code has to run for it. */
export type MayCall<T> = T | HostGenerator<T>;

/** Called in the order of load_module(), do_init_module() and delete_module(). */
export interface ModuleHooks {
  /** UNFORMED, text writable: turn the fentry sites of `mod.fentrySites` into nops. */
  ftraceModuleInit?(mod: Module): MayCall<unknown>;
  /** COMING: sites may be patched from now on. */
  ftraceModuleEnable?(mod: Module): MayCall<void>;
  ftraceReleaseMod?(mod: Module): void;
  /** The init text goes: forget sites in [start, end). */
  ftraceFreeMem?(mod: Module, start: Addr, end: Addr): void;
  /** 0 or -errno. */
  klpModuleComing?(mod: Module): MayCall<number>;
  klpModuleGoing?(mod: Module): MayCall<void>;
  /** Init and core text are kernel text from now on; `mod.orc` is the table, undefined for a module without. */
  unwindModuleInit?(mod: Module): void;
  unwindModuleFree?(mod: Module): void;
  /** module_notify_list: COMING may be refused with -errno. */
  notify?(mod: Module, state: 'COMING' | 'LIVE' | 'GOING'): MayCall<number | void>;
  /** Directories in /sys/module; 0 or -errno. */
  modSysfsSetup?(mod: Module): MayCall<number | void>;
  modSysfsTeardown?(mod: Module): MayCall<void>;
}

/** Space for per-CPU variables of modules. */
export interface ModulePerCpu {
  /** Offset of the variables in each CPU's area; undefined when there is no room. */
  alloc(size: number, align: number, owner: string): Addr | undefined;
  free(offset: Addr): void;
  /** percpu_modcopy(): the initial values, into every CPU's copy. */
  copy(offset: Addr, bytes: Uint8Array): void;
}

/** klp_find_object_symbol(): the address of a symbol; undefined, with the reason in the log. */
export type FindObjectSymbol = (object: string | undefined, name: string, sympos: bigint) => Addr | undefined;

/** The part of src/livepatch/model.ts that the loader asks. */
interface KlpRules {
  readonly pausesComing: boolean;
  readonly resolvesAtLoad: boolean;
  readonly livepatchesKeepNone: boolean;
  breaksRecursion(module: string): boolean;
}

export interface ModuleLoaderPorts {
  readonly area: ModuleArea;
  /** Writes text that is executable already. */
  readonly pokeText: (addr: Addr, bytes: Uint8Array) => void;
  readonly hooks?: ModuleHooks;
  /** What the livepatch model says of modules; what is left out is as in the kernel. */
  readonly klp?: KlpRules;
  readonly percpu?: ModulePerCpu;
  readonly features?: FeatureSet;
  /** VERMAGIC_STRING of the running kernel. */
  readonly vermagic?: string;
  /** module_blacklist= of the command line. */
  readonly blacklist?: readonly string[];
  /** module.sig_enforce */
  readonly sigEnforce?: boolean;
  /**
   * Sleeps until the condition holds; without it the task spins with cpu_relax().
   * @returns 0; -ETIME after `timeout` ns; -ERESTARTSYS when a signal came first
   */
  readonly waitEvent?: (condition: () => boolean, timeoutNs: number) => HostGenerator<number>;
  readonly klpFindObjectSymbol?: FindObjectSymbol;
  /** tramp_key_lookup(): the key of a static call trampoline that is exported without its key. */
  readonly staticCallKey?: (trampoline: Addr) => Addr | undefined;
}

/** The hook's result, whether it had to run guest code or not. */
export function* settle<T>(result: MayCall<T>): HostGenerator<T> {
  return isGenerator(result) ? yield* result : result;
}

function isGenerator<T>(value: MayCall<T>): value is HostGenerator<T> {
  return typeof value === 'object' && value !== null && 'next' in value && Symbol.iterator in value;
}
