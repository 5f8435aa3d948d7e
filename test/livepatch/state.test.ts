// klp_get_state() and klp_get_prev_state(), called by the callbacks of real modules (fixtures/modules/klpdemo_state.h),
// and what klp_is_patch_compatible() lets in.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { UAPI } from '../../src/kernel/uapi.ts';
import { checkInvariants } from '../properties/audit.ts';
import { Session } from '../properties/session.ts';

let session: Session;
let read = 0;

beforeEach(async () => {
  session = await Session.boot();
  read = 0;
});
afterEach(() => {
  expect(checkInvariants(session.machine)).toEqual([]);
  session.machine.close();
});

/** What the modules said since the last time: `a post_patch 1: 2 after 1`. */
function said(): string[] {
  const { records } = session.machine.inspect.core.printk;
  const lines = records.slice(read).map((record) => record.text);
  read = records.length;
  return lines.flatMap((line) => {
    const found = /^klpdemo_state_(\w): (?:(\w+): state (\d): (\d+), before (\d+)|(patch \d+) with)/.exec(
      line,
    );
    if (!found) return [];
    const [, name, when, id, mine, before, count] = found;
    return count ? [`${name} ${count}`] : [`${name} ${when} ${id}: ${mine} after ${before}`];
  });
}

function on(name: string, args: string): string[] {
  expect(session.insmod(`state_${name}`, args)).toBe(0);
  expect(session.settled()).toBe(true);
  return said();
}

function off(name: string): string[] {
  expect(session.enabled(`state_${name}`, '0')).toBe(0);
  expect(session.settled()).toBe(true);
  expect(session.freed(`state_${name}`)).toBe(true);
  expect(session.rmmod(`state_${name}`)).toBe(0);
  return said();
}

describe('the states of a patch', () => {
  it('are found by its callbacks, with none before them for the first patch', () => {
    expect(on('a', 'version1=3')).toEqual([
      'a pre_patch 1: 3 after 0',
      'a pre_patch 2: 0 after 0',
      'a post_patch 1: 3 after 0',
      'a post_patch 2: 0 after 0',
      'a patch 1',
    ]);
    expect(off('a')).toEqual([
      'a pre_unpatch 1: 3 after 0',
      'a pre_unpatch 2: 0 after 0',
      'a post_unpatch 1: 3 after 0',
      'a post_unpatch 2: 0 after 0',
    ]);
  });

  it('are those of the newest patch below that has them, for patches on top of each other', () => {
    on('a', 'version1=1 version2=5');
    expect(on('b', 'version1=2')).toContain('b pre_patch 1: 2 after 1');
    // b has no state 2: a's is the newest.
    const third = on('c', 'version1=2 version2=6');
    expect(third).toContain('c pre_patch 1: 2 after 2');
    expect(third).toContain('c pre_patch 2: 6 after 5');
    expect(third).toContain('c patch 3');
    // Only what is below the patch that goes.
    expect(off('c')).toContain('c post_unpatch 1: 2 after 2');
    expect(off('b')).toContain('b post_unpatch 1: 2 after 1');
    expect(off('a')).toContain('a post_unpatch 1: 1 after 0');
  });

  it('go from a replaced patch to the one that replaces it, data and all', () => {
    on('a', 'version1=1 version2=1');
    const replacing = on('b', 'version1=2 version2=1 replace=1');
    expect(replacing).toContain('b pre_patch 1: 2 after 1');
    expect(replacing).toContain('b post_patch 2: 1 after 1');
    // The count is what a made: b only took its pointer.
    expect(replacing).toContain('b patch 2');
    expect(session.freed('state_a')).toBe(true);
    expect(session.rmmod('state_a')).toBe(0);
    expect(off('b')).toContain('b post_unpatch 1: 2 after 0');
    expect(
      session.machine.inspect.core.slab.live().filter(({ owner }) => /klpdemo_state/.test(owner)),
    ).toEqual([]);
  });

  it('of the patches before are asked for in a transition only', () => {
    on('a', 'version1=1');
    on('b', 'version1=4');
    expect(session.echo('1', '/sys/module/klpdemo_state_b/parameters/ask')).toBe(0);
    expect(said()).toEqual(['b asked 1: 4 after 0', 'b asked 2: 0 after 0']);
    // WARN_ON_ONCE(), with a trace that says who asked.
    const log = session.machine.dmesg();
    const warned = log.filter((line) => line.includes('WARNING: '));
    expect(warned).toHaveLength(1);
    expect(warned[0]).toMatch(
      /WARNING: CPU: \d PID: \d+ at kernel\/livepatch\/state\.c:69 klp_get_prev_state\+0x\w+\/0x\w+$/,
    );
    expect(log.join(' ')).toMatch(/Call Trace:.* ask_set\+0x\w+\/0x\w+ \[klpdemo_state_b\]/);
  });
});

describe('a patch whose states do not go with those that are installed', () => {
  const refused = (args: string): void => {
    expect(session.insmod('state_b', args)).toBe(UAPI.EINVAL);
    expect(session.machine.dmesg().join('\n')).toContain(
      'livepatch: Livepatch patch (klpdemo_state_b) is not compatible with the already installed livepatches.',
    );
    expect(said()).toEqual([]);
    expect(session.machine.inspect.modules.find('klpdemo_state_b')).toBeUndefined();
    expect(session.cat('/proc/cmdline')).toBe('klpdemo_state_a\n');
  };

  it('is refused when it brings an older version, cumulative or not', () => {
    on('a', 'version1=2');
    refused('version1=1');
    refused('version1=1 replace=1');
  });

  it('is refused when it is cumulative and does not know one of them', () => {
    on('a', 'version1=2 version2=1');
    refused('version1=2 replace=1');
    refused('replace=1');
  });

  it('is taken when it knows nothing of them, and replaces nothing', () => {
    on('a', 'version1=2');
    expect(on('b', '')).toContain('b pre_patch 1: 0 after 2');
    expect(off('b')).toHaveLength(4);
  });

  it('is taken once the other is gone', () => {
    on('a', 'version1=2');
    refused('version1=1');
    off('a');
    expect(on('b', 'version1=1')).toContain('b pre_patch 1: 1 after 0');
  });
});
