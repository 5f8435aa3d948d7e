// Faults on request: the n-th allocation fails, a function returns an error instead of running.
// Mirrors lib/fault-inject.c (attributes), mm/failslab.c, kernel/fail_function.c and /proc/PID/fail-nth.
//
// Invariant: without a fault armed nothing here changes how a machine runs; an armed one fires at the same
// place in every run with the same seed.

import type { TaskStruct } from './task_struct.ts';
import { UAPI } from './uapi.ts';

/** Functions of the host's part that can be made to fail, and what they return then unless told otherwise. */
const ERROR_INJECTION = {
  /** kmalloc() and its relatives: NULL. */
  kmalloc: UAPI.ENOMEM,
  /** module_alloc(): memory for a module's sections, or for a trampoline. */
  module_alloc: UAPI.ENOMEM,
  /** Reading of a module's or a bundle's file into the kernel. */
  kernel_read_file: UAPI.EIO,
  elf_validity_check: UAPI.ENOEXEC,
  check_modinfo: UAPI.ENOEXEC,
  add_unformed_module: UAPI.EEXIST,
  resolve_symbol: UAPI.ENOENT,
  module_finalize: UAPI.ENOEXEC,
  verify_exported_symbols: UAPI.ENOEXEC,
  kobject_add: UAPI.ENOMEM,
  sysfs_create_groups: UAPI.ENOMEM,
  mod_sysfs_setup: UAPI.ENOMEM,
  try_module_get: UAPI.ENODEV,
  klp_find_object_symbol: UAPI.EINVAL,
  klp_pre_patch_callback: UAPI.ENODEV,
  klp_patch_func: UAPI.EINVAL,
  ftrace_set_filter_ip: UAPI.EINVAL,
  register_ftrace_function: UAPI.EBUSY,
  /** A section of relocations, of any module. */
  apply_relocate_add: UAPI.ENOEXEC,
  /** A section of livepatch relocations. */
  klp_apply_section_relocs: UAPI.EINVAL,
  parse_args: UAPI.EINVAL,
  /** The COMING notifiers of a module. */
  notifier_call_chain: UAPI.EINVAL,
  /** A module's init. */
  do_one_initcall: UAPI.ENODEV,
  /** Of the bundle model: the gate, for a transition or a load; a signal that ends the task comes first. */
  klp_gate_lock: UAPI.EINTR,
  /** Manifest and hashes of a bundle. */
  klp_verify_bundle: UAPI.EBADMSG,
  /** Is a target the one that a member was built for? */
  klp_check_target: UAPI.EINVAL,
  /** A member's klp_enable_patch(), which hands its klp_patch to the bundle. */
  klp_register_member: UAPI.EINVAL,
} as const satisfies Record<string, number>;

export type FaultPoint = keyof typeof ERROR_INJECTION;
export const FAULT_POINTS = Object.keys(ERROR_INJECTION) as readonly FaultPoint[];

/** struct fault_attr: which calls fail. */
export interface FaultAttr {
  /** Any of them, where there are several. */
  readonly point: FaultPoint | readonly FaultPoint[];
  /** The first call that fails, from 1; calls are counted from the moment the fault is armed. */
  readonly nth?: number;
  /** How many calls fail, from that one on. */
  readonly times?: number;
  /** Only calls about this: the owner of an allocation, a module, an object, a symbol. Part of its name is enough. */
  readonly of?: string;
  /** task-filter: only calls made by such a task. */
  readonly by?: (task: TaskStruct) => boolean;
  /** Positive errno, instead of the function's usual one. */
  readonly errno?: number;
}

/** A fault that is armed: what it has seen, what it has done. */
export class Fault {
  readonly attr: FaultAttr;
  /** Calls that it could have made fail. */
  calls = 0;
  /** Those that it did, in words: `kmalloc of klp_ops`. */
  readonly injected: string[] = [];

  constructor(attr: FaultAttr) {
    this.attr = attr;
  }

  /** should_fail() */
  shouldFail(point: FaultPoint, what: string, task: TaskStruct | undefined): boolean {
    const { attr } = this;
    if (typeof attr.point === 'string' ? attr.point !== point : !attr.point.includes(point)) return false;
    if (attr.of !== undefined && !what.includes(attr.of)) return false;
    if (attr.by && (!task || !attr.by(task))) return false;
    const nth = attr.nth ?? 1;
    this.calls++;
    if (this.calls < nth || this.calls >= nth + (attr.times ?? 1)) return false;
    this.injected.push(`${point} of ${what}`);
    return true;
  }
}

export class FaultInject {
  readonly #faults = new Set<Fault>();
  readonly #current: () => TaskStruct | undefined;
  readonly #tell: (what: string, task: TaskStruct | undefined) => void;
  #suspended = 0;

  /**
   * @param current the task that executes now
   * @param tell called for each fault that fires
   */
  constructor(
    current: () => TaskStruct | undefined,
    tell: (what: string, task: TaskStruct | undefined) => void = () => {},
  ) {
    this.#current = current;
    this.#tell = tell;
  }

  /** Armed until it is disarmed; its counts tell what came of it. */
  arm(attr: FaultAttr): Fault {
    const fault = new Fault(attr);
    this.#faults.add(fault);
    return fault;
  }

  disarm(fault: Fault): void {
    this.#faults.delete(fault);
  }

  /** __GFP_NOFAIL: nothing fails in what `work` does, where the kernel allocates nothing, or nobody could hear of a failure. */
  without<T>(work: () => T): T {
    this.#suspended++;
    try {
      return work();
    } finally {
      this.#suspended--;
    }
  }

  /** @returns 0, or -errno: the caller behaves as the function `point` does when it fails. */
  check(point: FaultPoint, what: string): number {
    if (this.#faults.size === 0 || this.#suspended > 0) return 0;
    const task = this.#current();
    for (const fault of this.#faults) {
      if (!fault.shouldFail(point, what, task)) continue;
      this.#tell(`${point} of ${what} fails`, task);
      return -(fault.attr.errno ?? ERROR_INJECTION[point]);
    }
    return 0;
  }
}
