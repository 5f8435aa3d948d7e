// Probes at fentry sites, set by a module: who runs when, what a livepatch of the same function meets, what is left.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Session } from '../shell/session.ts';

const EXTRA = '/lib/modules/6.1.0-56-amd64/extra';
const KPROBE = `${EXTRA}/klpdemo_kprobe.ko`;
const PATCH = `${EXTRA}/klpdemo_patch_vmlinux.ko`;
const PARAMETERS = '/sys/module/klpdemo_kprobe/parameters';
const LIST = '/sys/kernel/debug/kprobes/list';
const ENABLED = '/sys/kernel/debug/kprobes/enabled';
const SITES = '/sys/kernel/tracing/enabled_functions';
const BUSY = 'Device or resource busy';

let session: Session;
const sh = (line: string): Promise<string> => session.sh(line);
const hits = async (): Promise<string[]> =>
  (await sh(`cat ${PARAMETERS}/hits ${PARAMETERS}/second_hits ${PARAMETERS}/post_hits`)).trim().split('\n');
const disable = async (): Promise<void> => {
  await sh(
    'echo 0 > /sys/kernel/livepatch/klpdemo_patch_vmlinux/enabled; sleep 3; rmmod klpdemo_patch_vmlinux',
  );
};

beforeEach(async () => {
  session = await Session.boot(['klpdemo_kprobe', 'klpdemo_patch_vmlinux', 'klpdemo_target']);
});
afterEach(() => session.machine.close());

describe('a probe of a function', () => {
  it('has its handler run at each call, the function after it, and is listed while it is there', async () => {
    const { symbols, mem } = session.machine.inspect.core;
    const site = symbols.require('cmdline_proc_show');
    const before = mem.readBytes(site, 16);
    const text = await sh('cat /proc/cmdline');
    expect(await sh(`insmod ${KPROBE}`)).toBe('');
    expect(await sh(`cat ${LIST}`)).toBe(`${site.toString(16)}  k  cmdline_proc_show+0x0    [FTRACE]\n`);
    expect(await sh(`cat ${SITES}`)).toMatch(
      /^cmdline_proc_show \(1\) R {4}\ttramp: 0x[0-9a-f]{16} \(kprobe_ftrace_handler\+0x0\/0x[0-9a-f]+\) ->kprobe_ftrace_handler\+0x0\/0x[0-9a-f]+\n$/,
    );
    expect(await sh('cat /proc/cmdline /proc/cmdline')).toBe(text + text);
    expect(await hits()).toEqual(['2', '0', '0']);
    expect(await sh('rmmod klpdemo_kprobe')).toBe('');
    expect(await sh(`cat ${LIST} ${SITES}`)).toBe('');
    expect(mem.readBytes(site, 16)).toEqual(before);
    expect(await sh('cat /proc/cmdline')).toBe(text);
  });

  it('has real frames: its handler stands on the stack of who called the function', async () => {
    await sh(`insmod ${KPROBE} show_stack=1; cat /proc/cmdline`);
    const log = await sh('dmesg -t');
    expect(log).toMatch(/^ip is cmdline_proc_show\+0x1\//m);
    const frames = [...log.matchAll(/^ (?!\?)(\w[\w.]*)(?:\+0x.*)?$/gm)].map(([, name]) => name);
    const shown = frames.slice(frames.indexOf('dump_stack_lvl') + 1);
    expect(shown.slice(0, 5)).toEqual([
      'first_handler.cold',
      'kprobe_ftrace_handler',
      // The trampoline.
      expect.stringMatching(/^0xffffffffc0/),
      'cmdline_proc_show',
      'seq_read_iter',
    ]);
  });

  it('is off and on by disable_kprobe() and enable_kprobe()', async () => {
    await sh(`insmod ${KPROBE}`);
    await sh(`echo 0 > ${PARAMETERS}/on; cat /proc/cmdline`);
    expect(await sh(`cat ${LIST}`)).toMatch(/ {4}\[DISABLED\]\[FTRACE\]\n$/);
    expect(await sh(`cat ${SITES}`)).toBe('');
    await sh(`echo 1 > ${PARAMETERS}/on; cat /proc/cmdline`);
    expect(await hits()).toEqual(['1', '0', '0']);
  });

  it('shares a place with another one: both run, and each goes for itself', async () => {
    await sh(`insmod ${KPROBE} twice=1; cat /proc/cmdline`);
    expect(await hits()).toEqual(['1', '1', '0']);
    expect((await sh(`cat ${LIST}`)).match(/\[FTRACE\]\n/g)).toHaveLength(2);
    await sh(`echo 0 > ${PARAMETERS}/on; cat /proc/cmdline`);
    expect(await hits()).toEqual(['1', '2', '0']);
    expect(await sh('rmmod klpdemo_kprobe')).toBe('');
    expect(await sh(`cat ${LIST} ${SITES}`)).toBe('');
  });

  it.each([
    ['nothing_like_this', 'Unknown symbol in module'],
    ['__fentry__', 'Operation not supported'],
    ['jiffies', 'Invalid parameters'],
  ])('of %s is refused', async (symbol, why) => {
    expect(await sh(`insmod ${KPROBE} symbol=${symbol}`)).toContain(why);
    expect(await sh(`cat ${LIST} ${SITES}`)).toBe('');
  });

  it('of a module is gone with that module, and says so', async () => {
    await sh(`insmod ${EXTRA}/klpdemo_target.ko; insmod ${KPROBE} symbol=klpdemo_proc_show`);
    expect(await sh(`cat ${LIST}`)).toMatch(/ k {2}klpdemo_proc_show\+0x0 {2}klpdemo_target \[FTRACE\]\n$/);
    await sh('rmmod klpdemo_target');
    expect(await sh(`cat ${LIST}`)).toMatch(/^([0-9a-f]{16}) {2}k {2}0x\1 \[GONE\]\[FTRACE\]\n$/);
    expect(await sh(`cat ${SITES}; rmmod klpdemo_kprobe; cat ${LIST}`)).toBe('');
  });
});

describe('a probe and a livepatch of one function', () => {
  it('go together where the probe has no post_handler: it runs, and the new function runs', async () => {
    await sh(`insmod ${KPROBE}`);
    expect(await sh(`insmod ${PATCH}; sleep 3; cat /proc/cmdline`)).toBe(
      'klpdemo: this command line was livepatched\n',
    );
    expect(await sh(`cat ${SITES}`)).toMatch(
      /^cmdline_proc_show \(2\) R I {3}->arch_ftrace_ops_list_func\+0x0\/0x[0-9a-f]+\n$/,
    );
    expect(await hits()).toEqual(['1', '0', '0']);
    await disable();
    expect(await sh('cat /proc/cmdline')).toBe(`${session.machine.options.cmdline}\n`);
    expect(await hits()).toEqual(['2', '0', '0']);
  });

  it('do not where it has one: the livepatch is refused', async () => {
    await sh(`insmod ${KPROBE} post=1; cat /proc/cmdline`);
    expect(await hits()).toEqual(['1', '0', '1']);
    expect(await sh(`cat ${SITES}`)).toMatch(/^cmdline_proc_show \(1\) R I {2}\ttramp: /);
    expect(await sh(`insmod ${PATCH}`)).toContain(`could not insert module ${PATCH}: ${BUSY}`);
    expect(await sh('dmesg -t')).toContain(
      "livepatch: failed to register ftrace handler for function 'cmdline_proc_show' (-16)",
    );
    await sh('rmmod klpdemo_kprobe');
    expect(await sh(`insmod ${PATCH}; sleep 3; cat /proc/cmdline`)).toContain('livepatched');
  });

  it('do not where the livepatch was first: the probe is refused, and leaves nothing', async () => {
    await sh(`insmod ${PATCH}; sleep 3`);
    const sites = await sh(`cat ${SITES}`);
    expect(await sh(`insmod ${KPROBE} post=1`)).toContain(`could not insert module ${KPROBE}: ${BUSY}`);
    expect(await sh(`cat ${LIST}`)).toBe('');
    expect(await sh(`cat ${SITES}`)).toBe(sites);
  });
});

describe('/sys/kernel/debug/kprobes/enabled', () => {
  it('turns all probes off and on, and says how it went', async () => {
    await sh(`insmod ${KPROBE}; echo 0 > ${ENABLED}; cat /proc/cmdline`);
    expect(await sh(`cat ${ENABLED} ${SITES}`)).toBe('0\n');
    expect(await hits()).toEqual(['0', '0', '0']);
    await sh(`echo 1 > ${ENABLED}; cat /proc/cmdline`);
    expect(await hits()).toEqual(['1', '0', '0']);
    const log = await sh('dmesg -t');
    expect(log).toContain('kprobes: Kprobes globally disabled\nkprobes: Kprobes globally enabled\n');
    expect(await sh(`echo x > ${ENABLED}`)).toContain('Invalid argument');
  });

  it('cannot turn on what a livepatch has taken meanwhile, and says how many', async () => {
    await sh(`echo 0 > ${ENABLED}; insmod ${KPROBE} post=1; insmod ${PATCH}; sleep 3`);
    expect(await sh(`echo 1 > ${ENABLED}`)).toContain(BUSY);
    expect(await sh(`cat ${ENABLED}`)).toBe('1\n');
    expect(await sh('dmesg -t')).toContain(
      'kprobes: Kprobes globally enabled, but failed to enable 1 out of 1 probes. Please check which kprobes are kept disabled via debugfs.\n',
    );
  });
});
