// The judges of sequences: what they take for wrong is told, and what is right is not.

import { afterEach, describe, expect, it } from 'vitest';
import { UAPI } from '../../src/kernel/uapi.ts';
import { Complaints } from './complaints.ts';
import { outcomes, type Situation, unloading } from './outcomes.ts';
import { Session } from './session.ts';
import type { Action } from './steps.ts';

const { EAGAIN, EBUSY, EEXIST, EINVAL, ENODEV, ENOENT } = UAPI;

describe('of what a machine says', () => {
  let session: Session;
  afterEach(() => session.machine.close());

  it('the life of a livepatch is no complaint; a warning, a bug, a taint, an oops each are', async () => {
    session = await Session.boot();
    const { core } = session.machine.inspect;
    const complaints = new Complaints(session.machine);
    session.insmod('target');
    session.insmod('patch_target');
    expect(session.settled()).toBe(true);
    expect(complaints.all()).toEqual([]);
    core.printk.warn('WARNING: CPU: 0 PID: 1 at kernel/livepatch/patch.c:61 klp_ftrace_handler+0x1/0x2');
    core.printk.err('refcount_t: underflow; use-after-free.');
    core.taints |= 1 << core.kernel.constants.TAINT_WARN;
    expect(complaints.all()).toHaveLength(3);
    expect(complaints.all().at(-1)).toBe('tainted: 0x200');
  });
});

const NOTHING: Situation = {
  patches: new Map(),
  transition: undefined,
  fading: false,
  modules: new Map([['klpdemo_target', 0]]),
  states: new Map(),
};
const load = (module: 'target' | 'patch_both' | 'state_a', args = ''): Action => ({
  do: 'load',
  module,
  args,
});
const write = (file: 'enabled' | 'force', text: string): Action => ({
  do: 'write',
  patch: 'patch_both',
  file,
  text,
});
const of = (action: Action, now: Partial<Situation>) => [
  ...(outcomes(action, { ...NOTHING, ...now }) ?? ['any']),
];

const ENABLED: Partial<Situation> = {
  patches: new Map([['klpdemo_patch_both', true]]),
  modules: new Map([
    ['klpdemo_target', 0],
    ['klpdemo_patch_both', 1],
  ]),
};
const PATCHING = { ...ENABLED, transition: { patch: 'klpdemo_patch_both', replaces: false } };
const UNPATCHING = { ...PATCHING, patches: new Map([['klpdemo_patch_both', false]]) };
const OTHER = { ...ENABLED, transition: { patch: 'klpdemo_patch_vmlinux', replaces: false } };
const WITH_STATES: Partial<Situation> = {
  patches: new Map([['klpdemo_state_b', true]]),
  states: new Map([['klpdemo_state_b', new Map([['version1', 2]])]]),
};

describe('of operations', () => {
  it.each<[string, (number | string)[], Action, Partial<Situation>]>([
    ['a load succeeds', [0], load('patch_both'), {}],
    ['not twice', [EEXIST], load('patch_both'), ENABLED],
    ['and fails as its callback does', [ENODEV], load('patch_both', 'pre_patch_ret=-19'), {}],
    [
      'that of a patch is busy during a transition, or comes behind it',
      [EBUSY, 0],
      load('patch_both'),
      { transition: { patch: 'klpdemo_patch_vmlinux', replaces: false } },
    ],
    ['that of another module never is', [EEXIST], load('target'), OTHER],
    ['states do not go back', [EINVAL], load('state_a', 'version1=1 replace=1'), WITH_STATES],
    ['nor are they lost by replacing', [EINVAL], load('state_a', 'replace=1'), WITH_STATES],
    ['they go on', [0], load('state_a', 'version1=2 replace=1'), WITH_STATES],
    ['or are not spoken of', [0], load('state_a', ''), WITH_STATES],
    ['a patch is disabled', [0], write('enabled', '0'), ENABLED],
    ['not enabled twice', [EINVAL], write('enabled', '1'), ENABLED],
    ['turned round', [0], write('enabled', '0'), PATCHING],
    ['turned back, or gone by then', [0, ENOENT], write('enabled', '1'), UNPATCHING],
    ["not disabled in another's transition, but behind it", [EBUSY, 0], write('enabled', '0'), OTHER],
    ['forced in its own transition alone', [0, EINVAL], write('force', '1'), PATCHING],
    ['not in that of another', [EINVAL], write('force', '1'), OTHER],
    ['not forced by 0, which is no error', [0], write('force', '0'), ENABLED],
    ['where it is not, its files are not', [ENOENT], write('enabled', '0'), {}],
    ['where it is about to go, who knows', ['any'], write('enabled', '0'), { fading: true }],
    [
      'a file of a module is there with it',
      [ENOENT],
      { do: 'read', path: '/proc/klpdemo' },
      { modules: new Map() },
    ],
  ])('%s: %j', (_words, exits, action, now) => {
    expect(of(action, now)).toEqual(exits);
  });

  it('a module is not unloaded while others refer to it', () => {
    expect(unloading('klpdemo_target', NOTHING)).toBe(0);
    expect(unloading('klpdemo_patch_both', { ...NOTHING, ...ENABLED })).toBe(EAGAIN);
  });
});
