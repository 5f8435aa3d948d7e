// Every allocation and every step of enabling, disabling, replacing, loading and unloading is made to fail, one
// after the other: what is left is what was there before, and the next good operation works.

import { afterEach, describe, expect, it } from 'vitest';
import { FAULT_POINTS, type FaultAttr, type FaultPoint } from '../../src/kernel/fault_inject.ts';
import type { TaskStruct } from '../../src/kernel/task_struct.ts';
import { UAPI } from '../../src/kernel/uapi.ts';
import { checkInvariants, pictureOf } from '../properties/audit.ts';
import { Session } from '../properties/session.ts';

const SECOND = 1e9;
let session: Session | undefined;

afterEach(() => {
  session?.machine.close();
  session = undefined;
});

interface Operation {
  readonly name: string;
  /** Brings the machine to where the operation begins. */
  before(s: Session): void;
  /** Starts the task that does it. */
  start(s: Session): TaskStruct;
  /** How many there are in it: fewer, and some are no longer reached. */
  readonly allocations: number;
  /** Undoes one that succeeded, so that the next fault meets the same machine. */
  undo(s: Session): void;
}

const off = (s: Session, name: string): void => {
  expect(s.enabled(name, '0')).toBe(0);
  expect(s.settled()).toBe(true);
  expect(s.freed(name)).toBe(true);
  expect(s.rmmod(name)).toBe(0);
};
const on = (s: Session, name: string, args = ''): void => {
  expect(s.insmod(name, args)).toBe(0);
  expect(s.settled()).toBe(true);
};
/** Nothing of the target runs between two looks at the heap. */
const QUIET = 'period_ms=100000 work_ms=1 hold_ms=1 show_ms=1';

const OPERATIONS: readonly Operation[] = [
  {
    name: 'a load of the target',
    allocations: 14,
    before: () => {},
    start: (s) => s.startInsmod('target', QUIET),
    undo: (s) => expect(s.rmmod('target')).toBe(0),
  },
  {
    name: 'an enable of a patch of a module',
    allocations: 38,
    before: (s) => expect(s.insmod('target', QUIET)).toBe(0),
    start: (s) => s.startInsmod('patch_target'),
    undo: (s) => off(s, 'patch_target'),
  },
  {
    name: 'an enable of a patch of both, with callbacks',
    allocations: 46,
    before: (s) => expect(s.insmod('target', QUIET)).toBe(0),
    start: (s) => s.startInsmod('patch_both', 'pre_patch_ret=0'),
    undo: (s) => off(s, 'patch_both'),
  },
  {
    name: 'an enable on top of another patch',
    allocations: 20,
    before: (s) => {
      expect(s.insmod('target', QUIET)).toBe(0);
      on(s, 'patch_target');
    },
    start: (s) => s.startInsmod('patch_both'),
    undo: (s) => off(s, 'patch_both'),
  },
  {
    name: 'an atomic replace that needs nops and a new object',
    allocations: 52,
    before: (s) => {
      expect(s.insmod('target', QUIET)).toBe(0);
      on(s, 'patch_vmlinux');
      on(s, 'patch_sympos');
    },
    start: (s) => s.startInsmod('patch_both', 'replace=1'),
    undo: (s) => {
      off(s, 'patch_both');
      for (const name of ['patch_vmlinux', 'patch_sympos']) {
        expect(s.freed(name)).toBe(true);
        expect(s.rmmod(name)).toBe(0);
      }
      // In the order of `before`: positions on lists are part of the picture.
      on(s, 'patch_vmlinux');
      on(s, 'patch_sympos');
    },
  },
  {
    name: 'a load of the target under two enabled patches',
    allocations: 39,
    before: (s) => {
      on(s, 'patch_target');
      on(s, 'patch_both');
    },
    start: (s) => s.startInsmod('target', QUIET),
    undo: (s) => expect(s.rmmod('target')).toBe(0),
  },
  {
    name: 'a disable',
    allocations: 7,
    before: (s) => {
      expect(s.insmod('target', QUIET)).toBe(0);
      on(s, 'patch_both');
    },
    start: (s) => s.startEnabled('patch_both', '0'),
    undo: (s) => {
      s.settled();
      expect(s.freed('patch_both')).toBe(true);
      expect(s.rmmod('patch_both')).toBe(0);
      on(s, 'patch_both');
    },
  },
  {
    name: 'an unload of the target under an enabled patch',
    allocations: 0,
    before: (s) => {
      on(s, 'patch_both');
      expect(s.insmod('target', QUIET)).toBe(0);
    },
    start: (s) => s.startRmmod('target'),
    undo: (s) => expect(s.insmod('target', QUIET)).toBe(0),
  },
  {
    name: 'a fork by a task of a patched machine',
    allocations: 2,
    before: (s) => on(s, 'patch_vmlinux'),
    start: (s) => s.machine.spawn('forker', ['1', '1']),
    undo: () => {},
  },
  {
    name: 'a read of a patched file',
    allocations: 6,
    before: (s) => on(s, 'patch_vmlinux'),
    start: (s) => s.machine.spawn('cat', ['/proc/cmdline']),
    undo: () => {},
  },
];

/** The machine as it is when nothing of an operation goes on any more. */
function rest(s: Session): Record<string, unknown> {
  expect(s.settled()).toBe(true);
  // Frees that wait in a workqueue, tasks that end, the target's first round.
  s.machine.runFor(2 * SECOND);
  expect(checkInvariants(s.machine)).toEqual([]);
  return pictureOf(s.machine);
}

/** How many calls that could be made to fail there are in the operation. */
function count(s: Session, operation: Operation, attr: FaultAttr): number {
  let doer: TaskStruct | undefined;
  const fault = s.machine.inspect.core.faults.arm({ ...attr, nth: 1e9, by: (task) => task === doer });
  doer = operation.start(s);
  expect(s.wait(doer)).toBe(0);
  s.machine.inspect.core.faults.disarm(fault);
  rest(s);
  operation.undo(s);
  return fault.calls;
}

/** Makes the nth call fail for n = 1, 2, ... until there is no nth. @returns each that failed, in words. */
function walk(s: Session, operation: Operation, attr: FaultAttr, max = 400): string[] {
  const seen: string[] = [];
  for (let nth = 1; nth <= max; nth++) {
    const before = rest(s);
    let doer: TaskStruct | undefined;
    const fault = s.machine.inspect.core.faults.arm({ ...attr, nth, by: (task) => task === doer });
    doer = operation.start(s);
    const exit = s.wait(doer);
    s.machine.inspect.core.faults.disarm(fault);
    const [injected] = fault.injected;
    if (injected === undefined) {
      expect(exit).toBe(0);
      rest(s);
      operation.undo(s);
      return seen;
    }
    seen.push(injected);
    if (exit === 0) {
      rest(s);
      operation.undo(s);
    }
    expect([injected, rest(s)]).toEqual([injected, before]);
  }
  throw new Error(`${operation.name}: no end of calls`);
}

describe.each(OPERATIONS)('$name', (operation) => {
  it('leaves nothing behind, whichever allocation fails', async () => {
    session = await Session.boot();
    operation.before(session);
    const allocations: FaultAttr = { point: ['kmalloc', 'module_alloc'] };
    const counted = count(session, operation, allocations);
    const failed = walk(session, operation, allocations);
    expect([counted, failed.length]).toEqual([operation.allocations, operation.allocations]);
    expect(session.wait(operation.start(session))).toBe(0);
    rest(session);
  });

  it('leaves nothing behind, whichever step fails', async () => {
    session = await Session.boot();
    operation.before(session);
    const steps = FAULT_POINTS.filter((point) => point !== 'kmalloc' && point !== 'module_alloc');
    const counted = count(session, operation, { point: steps });
    const failed = walk(session, operation, { point: steps });
    expect(failed).toHaveLength(counted);
    expect(session.wait(operation.start(session))).toBe(0);
    rest(session);
  });
});

describe('a step that fails', () => {
  const enable = OPERATIONS[2];
  const errors: readonly [FaultPoint, number, string][] = [
    ['klp_pre_patch_callback', UAPI.ENODEV, "livepatch: pre-patch callback failed for object 'vmlinux'"],
    [
      'ftrace_set_filter_ip',
      UAPI.EINVAL,
      "livepatch: failed to set ftrace filter for function 'meminfo_proc_show' (-22)",
    ],
    [
      'register_ftrace_function',
      UAPI.EBUSY,
      "livepatch: failed to register ftrace handler for function 'meminfo_proc_show' (-16)",
    ],
    ['try_module_get', UAPI.ENODEV, ''],
    ['klp_find_object_symbol', UAPI.EINVAL, ''],
    ['kobject_add', UAPI.ENOMEM, ''],
  ];

  it.each(errors)("%s: insmod has its error, and the log the kernel's words", async (point, errno, line) => {
    session = await Session.boot();
    enable.before(session);
    session.machine.inspect.core.faults.arm({ point });
    expect(session.insmod('patch_both')).toBe(errno);
    if (line) expect(session.machine.dmesg().join('\n')).toContain(line);
  });

  it('without memory for a trampoline goes by the shared one, and works', async () => {
    session = await Session.boot();
    session.machine.inspect.core.faults.arm({ point: 'module_alloc', nth: 3 });
    expect(session.insmod('patch_vmlinux')).toBe(0);
    expect(session.settled()).toBe(true);
    expect(session.machine.inspect.ftrace.trampolines.list()).toEqual([]);
    expect(session.cat('/proc/cmdline')).toContain('livepatched');
    rest(session);
  });
});
