// What the livepatch core needs from the subsystems beside it; src/machine wires them.

import type { Addr } from '../guest/addr.ts';
import type { HostCall, HostGenerator } from '../guest/hostcall.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';

interface SchedPort {
  /** task_curr(): does some CPU execute the task now? */
  taskCurr(task: TaskStruct): boolean;
  wakeUpState(task: TaskStruct, stateMask: number): boolean;
  /** set_notify_signal(): the fake signal. */
  setNotifySignal(task: TaskStruct): void;
  wakeUpIfIdle(cpu: number): void;
}

interface WorkqueuePort {
  /** schedule_work(): a work_struct in guest memory. */
  queueWork(work: Addr): boolean;
  /** schedule_delayed_work() of a delayed_work in guest memory; delay in jiffies. */
  queueDelayedWork(work: Addr, delay: number): boolean;
  /** schedule_on_each_cpu(): returns when a worker of every CPU has run the function. */
  scheduleOnEachCpu(fn: Addr): HostGenerator<void>;
}

/** Modules, by address of their struct module; its fields are read from guest memory. */
interface ModulePort {
  /** find_module(): by name, any state but UNFORMED. */
  findModule(name: string): Addr | undefined;
  /** Values of a module's symbols of a name, in symbol table order: the order by which sympos counts. */
  symbolsNamed(mod: Addr, name: string): readonly Addr[];
  /** A section that was loaded; undefined where there is none of the name. */
  sectionOf(mod: Addr, name: string): { readonly addr: Addr; readonly size: number } | undefined;
  tryModuleGet(mod: Addr): boolean;
  modulePut(mod: Addr): void;
  /**
   * klp_apply_section_relocs() for every .klp.rela.OBJECT. section of a patch module.
   * @param find klp_find_object_symbol(): the address of a symbol; undefined, with the reason in the log.
   * @returns 0, or -errno with the reason in the log.
   */
  applyObjectRelocs(
    patchModule: Addr,
    objectName: string,
    find: (object: string | undefined, name: string, sympos: bigint) => Addr | undefined,
  ): number;
  /** klp_clear_object_relocs(): undoes that. */
  clearObjectRelocs(patchModule: Addr, objectName: string): void;
}

export interface StackPort {
  /**
   * stack_trace_save_tsk_reliable(): low halves of the return addresses, innermost first.
   * For the task that makes `call` it starts at the call.
   * @returns their number, or -errno when the stack cannot be relied upon.
   */
  saveReliable(task: TaskStruct, entries: Uint32Array, call: HostCall): number;
  /** The stack as /proc/PID/stack prints it, a line a frame. */
  format(task: TaskStruct): string[];
}

export interface LivepatchPorts {
  readonly sched: SchedPort;
  readonly workqueue: WorkqueuePort;
  readonly modules: ModulePort;
  readonly stack: StackPort;
}

export interface LivepatchOptions {
  /** CONFIG_HAVE_RELIABLE_STACKTRACE: false leaves switching to the kernel exit, the idle loop and force. */
  readonly reliableStacktrace: boolean;
  /** pr_debug() of kernel/livepatch/*: dynamic debug is on for it from the start. */
  readonly debug: boolean;
  /** Tasks checked between two moments at which other CPUs run on. */
  readonly tasksPerRelax?: number;
}
