// Transitions of each kind, from their begin to their end, with tasks that are preempted at each instruction of the places where
// livepatch and its tasks meet: the trampoline and the handler, klp_update_patch_state(), entry and exit work, the breakpoint of text
// poking. The places are found by running, each is a schedule of one decision, and each schedule is a run of its own from boot.

import { describe, expect, it } from 'vitest';
import type { TaskStruct } from '../../src/kernel/task_struct.ts';
import { checkInvariants } from '../properties/audit.ts';
import { Complaints } from '../properties/complaints.ts';
import { Session, TARGET_PARAMETERS } from '../properties/session.ts';

const MS = 1e6;
const SECOND = 1e9;

const PLACES: Readonly<Record<string, RegExp>> = {
  trampoline: /^trampoline$/,
  handler: /^klp_ftrace_handler$/,
  'klp_update_patch_state()': /^klp_update_patch_state$/,
  'entry and exit work':
    /^(entry_SYSCALL_64\w*|do_syscall_64|syscall_exit_to_user_mode|exit_to_user_mode_\w+|irqentry_exit\w*|error_return|swapgs_restore\w*)$/,
  'text poking': /^(asm_exc_int3|exc_int3|do_int3\w*|poke_int3_handler)$/,
};

interface Kind {
  /** Of /proc/cmdline at once; one where nothing is said. */
  readonly readers?: number;
  /** Until the moment from which on the reader is looked at. */
  readonly before: (s: Session) => void;
  readonly transition: (s: Session) => TaskStruct[];
  /** What a reader of /proc/cmdline sees in the end. */
  readonly patched: boolean;
}

const BLOCKED = 'period_ms=20 hold_ms=1 block=1';
const write = (s: Session, name: string, file: 'enabled' | 'force', text: string): TaskStruct =>
  s.startWrite(`klpdemo_${name}`, file, text);

const settledWith =
  (...patches: string[]) =>
  (s: Session): void => {
    for (const patch of patches) {
      s.insmod(patch);
      s.settled();
    }
  };

/** A thread of the target is blocked in a function that patch_both replaces: its transition lasts for as long as that. */
function heldUp(s: Session): void {
  s.insmod('target', BLOCKED);
  s.machine.runFor(200 * MS);
  settledWith('patch_vmlinux')(s);
}

const KINDS: Readonly<Record<string, Kind>> = {
  'a patch is enabled': {
    before: () => {},
    transition: (s) => [s.startInsmod('patch_vmlinux')],
    patched: true,
  },
  // Of one alone 60 seeds have none where he is on his way to the site that is poked; of four at once each of twelve had.
  'a patch is disabled': {
    readers: 3,
    before: settledWith('patch_vmlinux'),
    transition: (s) => [write(s, 'patch_vmlinux', 'enabled', '0')],
    patched: false,
  },
  'a patch is replaced': {
    readers: 3,
    before: settledWith('target', 'patch_vmlinux'),
    transition: (s) => [s.startInsmod('patch_both', 'replace=1')],
    patched: false,
  },
  'a transition is turned round': {
    readers: 3,
    before: (s) => {
      heldUp(s);
      s.insmod('patch_both', 'replace=1');
    },
    transition: (s) => [write(s, 'patch_both', 'enabled', '0')],
    patched: true,
  },
  'a transition is forced': {
    before: (s) => {
      heldUp(s);
      s.insmod('patch_both', 'replace=1');
    },
    transition: (s) => [write(s, 'patch_both', 'force', '1')],
    patched: false,
  },
  'a transition is forced as soon as it has begun': {
    readers: 3,
    before: heldUp,
    transition: (s) => {
      const enable = s.startInsmod('patch_both', 'replace=1');
      const { livepatch } = s.machine.inspect;
      // The load may be the one that is preempted, which is for longer than a second.
      const hasBegun = (): boolean => livepatch.transitionPatch?.name === 'klpdemo_patch_both';
      if (!s.machine.runUntil(hasBegun, 20 * SECOND)) throw new Error('its transition does not begin');
      return [enable, write(s, 'patch_both', 'force', '1')];
    },
    patched: false,
  },
};

interface Life {
  readonly session: Session;
  readonly readers: readonly TaskStruct[];
}

async function live(
  kind: Kind,
  schedule: string,
  atBegin?: (s: Session) => void,
): Promise<Life & { doers: TaskStruct[] }> {
  const session = await Session.boot({ cpus: 2, instructionNs: 4000, schedule });
  kind.before(session);
  session.machine.runFor(10 * MS);
  const readers = Array.from({ length: kind.readers ?? 1 }, () =>
    session.machine.spawn('reader', ['/proc/cmdline', '0']),
  );
  session.machine.runFor(8 * MS);
  atBegin?.(session);
  const doers = kind.transition(session);
  return { session, readers, doers };
}

/** Seeds after which a place that no task came to is one that none comes to. */
const SEEDS = 12;

/**
 * A schedule for each instruction that a task executes in such a place during the transition: the first time that it does. Of the first
 * seed with which one comes there.
 */
async function schedulesOf(kind: Kind, place: RegExp): Promise<string[]> {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const schedules = await schedulesOfSeed(kind, place, seed);
    if (schedules.length > 0) return schedules;
  }
  return [];
}

async function schedulesOfSeed(kind: Kind, place: RegExp, seed: number): Promise<string[]> {
  const points = new Map<string, string>();
  const trace = (s: Session): void => s.machine.inspect.executor.observer?.trace(['blocks']);
  const { session, doers } = await live(kind, `s${seed}`, trace);
  const { machine } = session;
  const { core, executor, ftrace, smp } = machine.inspect;
  const nameOf = (pc: bigint): string | undefined =>
    ftrace.trampolines.at(pc) ? 'trampoline' : core.symbols.nameOf(pc);
  const look = (): void => {
    const { events } = executor.observer?.takeTrace() ?? { events: [] };
    events.forEach((event, at) => {
      const next = events[at + 1];
      if (!next || !place.test(nameOf(event.pc) ?? '')) return;
      const cpu = smp.cpus.findIndex(({ context }) => context === event.context);
      for (let n = event.number; n < next.number; n++) {
        const where = `${event.pc}+${n - event.number}`;
        if (!points.has(where)) points.set(where, `s${seed},p${cpu}@${n}`);
      }
    });
  };
  toTheEnd(session, doers, () => {
    machine.runFor(1 * MS);
    look();
  });
  machine.close();
  return [...points.values()];
}

const over = (s: Session, doers: readonly TaskStruct[]): boolean =>
  doers.every((task) => s.machine.exitStatus(task) !== undefined);

/** Lets who is held up go on once all has been done that is to be done, and goes on to the end of the transition. */
function toTheEnd(s: Session, doers: readonly TaskStruct[], step: () => void): boolean {
  const { machine } = s;
  const steps = (until: () => boolean): boolean => {
    for (const end = machine.now() + 20 * SECOND; machine.now() < end; step()) if (until()) return true;
    return until();
  };
  if (!steps(() => over(s, doers))) return false;
  if (machine.inspect.modules.find('klpdemo_target')) {
    const release = s.startEcho('0', `${TARGET_PARAMETERS}/block`);
    if (!steps(() => machine.exitStatus(release) !== undefined)) return false;
  }
  return steps(() => machine.inspect.livepatch.transitionPatch === undefined);
}

/** What went wrong where the reader is preempted at that instruction. */
async function preemptedAt(kind: Kind, schedule: string): Promise<string[]> {
  const { session, readers, doers } = await live(kind, schedule);
  const { machine } = session;
  try {
    const complaints = new Complaints(machine);
    const wrong = toTheEnd(session, doers, () => machine.runFor(1 * MS))
      ? []
      : ['the transition does not end'];
    for (const doer of doers)
      if (machine.exitStatus(doer) !== 0) wrong.push(`${doer} ends with ${machine.exitStatus(doer)}`);
    machine.runFor(2 * SECOND);
    wrong.push(...complaints.all(), ...checkInvariants(machine));
    if (readers.some((reader) => machine.exitStatus(reader) !== undefined)) wrong.push('a reader has ended');
    const seen = session.cat('/proc/cmdline').includes('livepatched');
    if (seen !== kind.patched) wrong.push(`/proc/cmdline is ${seen ? '' : 'not '}patched`);
    return wrong;
  } finally {
    machine.close();
  }
}

/** Where no task comes to. Who was not switched by the first pass is held up, and is switched by force. */
const UNSEEN: ReadonlySet<string> = new Set(['a transition is forced: klp_update_patch_state()']);

/** Hundreds of instructions, which are the same ones for each kind: of each another share, and all of them where time is no matter. */
const MANY = 'entry and exit work';
const SHARES = process.env.KLPEMU_THOROUGH ? 1 : Object.keys(KINDS).length;

function shareOf(schedules: readonly string[], words: string): string[] {
  const mine = Object.keys(KINDS).indexOf(words) % SHARES;
  return schedules.filter((_, i) => i % SHARES === mine);
}

describe.each(Object.entries(KINDS))(
  'while %s, a task may be preempted at each instruction of',
  (words, kind) => {
    it.each(Object.entries(PLACES))('%s', async (name, place) => {
      const schedules = await schedulesOf(kind, place);
      expect(schedules.length > 0, `${schedules.length} schedules`).toBe(!UNSEEN.has(`${words}: ${name}`));
      const wrong: string[] = [];
      for (const schedule of name === MANY ? shareOf(schedules, words) : schedules)
        wrong.push(...(await preemptedAt(kind, schedule)).map((text) => `${schedule}: ${text}`));
      expect(wrong).toEqual([]);
    });
  },
);
