// The function tracer and the probes of kprobe_events, as a person works with them. Lines, headers and errors are those
// that 6.1.0-56, 6.12.117 and 7.3.4 were seen to have.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Session } from '../shell/session.ts';

const T = '/sys/kernel/tracing';
const PATCH = '/lib/modules/6.1.0-56-amd64/extra/klpdemo_patch_vmlinux.ko';
const HEADER = (tracer: string, count: string): string => `# tracer: ${tracer}
#
# entries-in-buffer/entries-written: ${count}   #P:2
#
#                                _-----=> irqs-off/BH-disabled
#                               / _----=> need-resched
#                              | / _---=> hardirq/softirq
#                              || / _--=> preempt-depth
#                              ||| / _-=> migrate-disable
#                              |||| /     delay
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
#              | |         |   |||||     |         |
`;

let session: Session;
const sh = (line: string): Promise<string> => session.sh(line);
const lines = async (): Promise<string[]> =>
  (await sh(`grep -v ^# ${T}/trace`)).split('\n').filter((line) => /^ /.test(line));
const siteBytes = (): Uint8Array => {
  const { symbols, mem } = session.machine.inspect.core;
  return mem.readBytes(symbols.require('cmdline_proc_show'), 8);
};

beforeEach(async () => {
  session = await Session.boot(['klpdemo_patch_vmlinux', 'klpdemo_target']);
});
afterEach(() => session.machine.close());

describe('the function tracer', () => {
  it('records who called a function of the filter, as long as it is on', async () => {
    const before = siteBytes();
    expect(await sh(`cat ${T}/trace`)).toBe(HEADER('nop', '0/0'));
    await sh(`echo cmdline_proc_show > ${T}/set_ftrace_filter; echo function > ${T}/current_tracer`);
    await sh('cat /proc/cmdline; cat /proc/version');
    expect(await sh(`cat ${T}/trace`)).toMatch(
      /^# tracer: function\n#\n# entries-in-buffer\/entries-written: 1\/1 {3}#P:2\n/,
    );
    expect(await lines()).toEqual([
      expect.stringMatching(
        /^ {13}cat-\d+ +\[00[01]\] \.\.\.\.\. {5}\d\.\d{6}: cmdline_proc_show <-seq_read_iter$/,
      ),
    ]);
    await sh(`echo 0 > ${T}/tracing_on; cat /proc/cmdline`);
    expect(await lines()).toHaveLength(1);
    await sh(`echo 1 > ${T}/tracing_on; echo > ${T}/trace`);
    expect(await sh(`cat ${T}/trace`)).toBe(HEADER('function', '0/0'));
    await sh(`echo nop > ${T}/current_tracer`);
    expect(await sh(`cat ${T}/enabled_functions`)).toBe('');
    expect(siteBytes()).toEqual(before);
    // An ops of the image is not dynamic: what was made for it stays.
    expect(await sh('grep -c builtin__ftrace /proc/kallsyms')).toBe('1\n');
  });

  it('records every function without a filter, and gives all text back', async () => {
    const { symbols, mem } = session.machine.inspect.core;
    const [start, end] = ['_stext', '_etext'].map((name) => symbols.lookupName(name));
    const text = (): Uint8Array => (start && end ? mem.readBytes(start, Number(end - start)) : siteBytes());
    const before = text();
    await sh(`echo function > ${T}/current_tracer; cat /proc/cmdline; echo nop > /tmp/x`);
    const seen = (await lines()).map((line) => line.replace(/^.*: /, ''));
    expect(seen).toEqual(expect.arrayContaining(['vfs_read <-ksys_read', 'do_sys_open <-do_syscall_64']));
    expect(await sh(`echo nop > ${T}/current_tracer; cat ${T}/enabled_functions`)).toBe('');
    expect(text()).toEqual(before);
  });

  it('and a livepatch share a function, whichever was first, and both work', async () => {
    await sh(`echo cmdline_proc_show > ${T}/set_ftrace_filter; echo function > ${T}/current_tracer`);
    expect(await sh(`insmod ${PATCH}; sleep 3; cat /proc/cmdline`)).toContain('livepatched');
    expect(await sh(`cat ${T}/enabled_functions`)).toMatch(
      /^cmdline_proc_show \(2\) {3}I {3}->arch_ftrace_ops_list_func/,
    );
    // The shared site's own lock counts as one more.
    expect((await lines()).at(-1)).toMatch(/ \.\.\.1\. .*: cmdline_proc_show <-seq_read_iter$/);
    await sh(`echo klpdemo_new_cmdline_proc_show > ${T}/set_ftrace_filter; cat /proc/cmdline`);
    expect((await lines()).at(-1)).toMatch(/ \.\.\.\.\. .*: klpdemo_new_cmdline_proc_show <-seq_read_iter$/);
    expect(await sh(`cat ${T}/set_ftrace_filter`)).toBe(
      'klpdemo_new_cmdline_proc_show [klpdemo_patch_vmlinux]\n',
    );
    await sh(
      'echo 0 > /sys/kernel/livepatch/klpdemo_patch_vmlinux/enabled; sleep 3; rmmod klpdemo_patch_vmlinux',
    );
    // The filter had something: it never comes to mean every function.
    expect(await sh(`cat ${T}/set_ftrace_filter`)).toBe('');
    expect(await sh(`cat ${T}/enabled_functions`)).toBe('');
  });

  it('keeps a filter for a module that is not there yet, until it comes', async () => {
    const filter = `${T}/set_ftrace_filter`;
    await sh(`echo ':mod:klpdemo_target' > ${filter}; echo 'klpdemo_sh*:mod:klpdemo_target' >> ${filter}`);
    await sh(
      `echo '*:mod:klpdemo_none' >> ${filter}; echo function > ${T}/current_tracer; cat /proc/cmdline`,
    );
    expect(await sh(`cat ${filter} ${T}/enabled_functions`)).toBe(
      '*:mod:klpdemo_none\nklpdemo_sh*:mod:klpdemo_target\n:mod:klpdemo_target\n',
    );
    await sh('modprobe klpdemo_target');
    const found = (await sh(`cat ${filter}`)).trimEnd().split('\n');
    expect(found).toContain('klpdemo_proc_show [klpdemo_target]');
    expect(found.at(-1)).toBe('*:mod:klpdemo_none');
    expect(await sh(`grep -c klpdemo_target ${T}/enabled_functions`)).toBe(`${found.length - 1}\n`);
    await sh(`echo '!*:mod:klpdemo_none' >> ${filter}`);
    expect(await sh(`echo '!*:mod:klpdemo_none' >> ${filter}`)).toContain('Invalid argument');
    expect(await sh(`echo 'x:mod:klpdemo_target' >> ${filter}`)).toContain('Invalid argument');
    expect(await sh(`cat ${filter}`)).not.toContain(':mod:');
    await sh(`echo nop > ${T}/current_tracer; echo > ${filter}`);
    expect(await sh(`cat ${filter}`)).toBe('#### all functions enabled ####\n');
  });

  it('traces nothing where set_ftrace_notrace has all that the filter has', async () => {
    await sh(
      `echo cmdline_proc_show > ${T}/set_ftrace_filter; echo cmdline_proc_show > ${T}/set_ftrace_notrace`,
    );
    await sh(`echo function > ${T}/current_tracer; cat /proc/cmdline; cat /proc/version`);
    expect(await sh(`cat ${T}/enabled_functions`)).toBe('');
    expect(await lines()).toEqual([]);
  });

  it('has files that refuse what they refuse', async () => {
    expect(await sh(`cat ${T}/available_tracers ${T}/current_tracer ${T}/tracing_on`)).toBe(
      'function nop\nnop\n1\n',
    );
    for (const word of [
      'foo > current_tracer',
      'x > tracing_on',
      "'' > tracing_on",
      'nosuch > set_ftrace_filter',
    ])
      expect(await sh(`echo ${word.replace('> ', `> ${T}/`)}`)).toContain('Invalid argument');
    expect(await sh(`echo 99999999999999999999999 > ${T}/tracing_on`)).toContain('Numerical result');
    expect(await sh(`echo 2 > ${T}/tracing_on; cat ${T}/tracing_on`)).toBe('1\n');
  });

  it('has no list of functions and no filters once ftrace is off for good', async () => {
    const { ftrace } = session.machine.inspect;
    ftrace.disabled = true;
    for (const name of ['available_filter_functions', 'set_ftrace_filter', 'set_ftrace_notrace'])
      expect(await sh(`cat ${T}/${name}`), name).toContain('No such device');
    expect(await sh(`cat ${T}/enabled_functions`)).toBe('');
  });

  it('takes patterns, more of them, and takes some out', async () => {
    const filter = `${T}/set_ftrace_filter`;
    expect(await sh(`cat ${filter} ${T}/set_ftrace_notrace`)).toBe(
      '#### all functions enabled ####\n#### no functions disabled ####\n',
    );
    await sh(`echo cmdline_proc_show > ${filter}; echo version_proc_show >> ${filter}`);
    expect(await sh(`cat ${filter}`)).toBe('cmdline_proc_show\nversion_proc_show\n');
    await sh(`echo '!version_proc_show' >> ${filter}`);
    expect(await sh(`cat ${filter}`)).toBe('cmdline_proc_show\n');
    await sh(`echo 'meminfo_p*' '*_proc_sh[o]w' > ${filter}; echo '!c*' >> ${filter}`);
    const found = (await sh(`cat ${filter}`)).trim().split('\n');
    expect(found).toContain('meminfo_proc_show');
    expect(found.every((name) => name.endsWith('_proc_show') && !name.startsWith('c'))).toBe(true);
    // A word that nothing has: those before it hold, the file was emptied as it was opened.
    await sh(`echo nosuch > ${filter}`);
    expect(await sh(`cat ${filter}`)).toBe('#### all functions enabled ####\n');
    await sh(`echo cmdline_proc_show > ${T}/set_ftrace_notrace; echo '*_proc_show' > ${filter}`);
    await sh(`echo function > ${T}/current_tracer; cat /proc/cmdline; cat /proc/version`);
    expect((await lines()).map((line) => line.replace(/^.*: /, ''))).toEqual([
      'version_proc_show <-seq_read_iter',
    ]);
  });
});

describe('kprobe_events', () => {
  const EVENTS = `${T}/kprobe_events`;

  it('takes a probe of a module that is not there, which is one when the module comes, and again when it comes back', async () => {
    await sh(
      `echo 'p:mine klpdemo_target:klpdemo_proc_show' > ${EVENTS}; echo 1 > ${T}/events/kprobes/mine/enable`,
    );
    expect(await sh('dmesg -t')).toContain(
      'trace_kprobe: This probe might be able to register after target module is loaded. Continue.\n',
    );
    expect(await sh('cat /sys/kernel/debug/kprobes/list')).toBe('');
    for (const hits of [1, 2]) {
      await sh('modprobe klpdemo_target; cat /proc/klpdemo');
      expect(await sh(`cat ${T}/kprobe_profile`)).toMatch(new RegExp(`^  mine +${hits} +0\\n$`));
      await sh('rmmod klpdemo_target');
    }
    expect(await sh(`echo 2 > ${T}/events/kprobes/mine/enable`)).toContain('Invalid argument');
    expect(await sh(`echo Y > ${T}/events/kprobes/enable`)).toContain('Invalid argument');
    await sh(`echo 0 > ${T}/events/kprobes/mine/enable; echo > ${EVENTS}`);
    expect(await sh(`cat ${EVENTS} /sys/kernel/debug/kprobes/list`)).toBe('');
  });

  it('makes probes that record, and count', async () => {
    expect(await sh(`echo 'p:mine cmdline_proc_show' > ${EVENTS}; cat ${EVENTS}`)).toBe(
      'p:kprobes/mine cmdline_proc_show\n',
    );
    expect(await sh('cat /sys/kernel/debug/kprobes/list')).toMatch(/\[DISABLED\]\[FTRACE\]\n$/);
    expect(await sh(`cat ${T}/events/kprobes/mine/enable ${T}/events/kprobes/enable`)).toBe('0\n0\n');
    await sh(`echo 1 > ${T}/events/kprobes/mine/enable; cat /proc/cmdline`);
    expect(await lines()).toEqual([
      expect.stringMatching(
        /^ {13}cat-\d+ +\[00[01]\] \.\.\.\.\. {5}\d\.\d{6}: mine: \(cmdline_proc_show\+0x0\/0x[0-9a-f]+\)$/,
      ),
    ]);
    expect(await sh(`cat ${T}/kprobe_profile`)).toBe(
      '  mine                                                       1               0\n',
    );
    // The latest of one place runs first.
    await sh(
      `echo 'p:other cmdline_proc_show' >> ${EVENTS}; echo 1 > ${T}/events/kprobes/enable; cat /proc/cmdline`,
    );
    expect((await lines()).slice(1).map((line) => /: (\w+): \(/.exec(line)?.[1])).toEqual(['other', 'mine']);
  });

  it('keeps what is enabled, and lets go what is not', async () => {
    await sh(`echo 'p:mine cmdline_proc_show' > ${EVENTS}; echo 1 > ${T}/events/kprobes/mine/enable`);
    expect(await sh(`echo > ${EVENTS}`)).toContain('Device or resource busy');
    expect(await sh(`echo -:mine >> ${EVENTS}`)).toContain('Device or resource busy');
    expect(await sh(`echo 0 > ${T}/events/kprobes/enable; echo -:mine >> ${EVENTS}; cat ${EVENTS}`)).toBe('');
    expect(await sh(`echo -:mine >> ${EVENTS}`)).toContain('No such file or directory');
    expect(await sh(`cat /sys/kernel/debug/kprobes/list; ls ${T}/events`)).not.toContain('mine');
  });

  it('of an event that is enabled lets go all probes but the last, and refuses then', async () => {
    await sh(`echo 'p:mine cmdline_proc_show' > ${EVENTS}; echo 'p:mine version_proc_show' >> ${EVENTS}`);
    await sh(`echo 'p:mine uptime_proc_show' >> ${EVENTS}; echo 1 > ${T}/events/kprobes/mine/enable`);
    expect(await sh(`echo -:mine >> ${EVENTS}`)).toContain('Device or resource busy');
    expect(await sh(`cat ${EVENTS}`)).toBe('p:kprobes/mine uptime_proc_show\n');
    expect(await sh('grep -c . /sys/kernel/debug/kprobes/list')).toBe('1\n');
    expect(await sh(`echo 0 > ${T}/events/kprobes/enable; echo -:mine >> ${EVENTS}; cat ${EVENTS}`)).toBe('');
  });

  it('empties the trace with the last probe of an event that recorded once, and with no other', async () => {
    const marks = async (): Promise<number> => {
      await sh(`echo mark > ${T}/trace_marker`);
      return (await lines()).length;
    };
    await sh(`echo 'p:mine cmdline_proc_show' > ${EVENTS}; echo 'p:mine version_proc_show' >> ${EVENTS}`);
    await sh(`echo 'p:idle uptime_proc_show' >> ${EVENTS}`);
    expect(await marks()).toBe(1);
    await sh(`echo 1 > ${T}/events/kprobes/mine/enable; echo -:mine >> ${EVENTS}`);
    expect(await sh(`cat ${EVENTS}`)).toContain('p:kprobes/mine version_proc_show\n');
    await sh(`echo 0 > ${T}/events/kprobes/mine/enable; echo -:idle >> ${EVENTS}`);
    expect(await marks()).toBe(2);
    await sh(`echo -:mine >> ${EVENTS}`);
    expect(await marks()).toBe(1);
    await sh(`echo 'p:mine cmdline_proc_show' >> ${EVENTS}; echo > ${EVENTS}`);
    expect(await marks()).toBe(2);
    await sh(`echo 'p:mine cmdline_proc_show' >> ${EVENTS}; echo 1 > ${T}/events/kprobes/mine/enable`);
    await sh(`echo 0 > ${T}/events/kprobes/mine/enable; echo > ${EVENTS}`);
    expect(await marks()).toBe(1);
  });

  it('names probes by their place, and has several in one event', async () => {
    await sh(
      `echo 'p cmdline_proc_show' > ${EVENTS}; echo 'p:p_cmdline_proc_show_0 version_proc_show' >> ${EVENTS}`,
    );
    expect(await sh(`echo 'p:p_cmdline_proc_show_0 cmdline_proc_show' >> ${EVENTS}`)).toContain(
      'File exists',
    );
    expect(await sh(`cat ${EVENTS}`)).toBe(
      'p:kprobes/p_cmdline_proc_show_0 cmdline_proc_show\np:kprobes/p_cmdline_proc_show_0 version_proc_show\n',
    );
    await sh(
      `echo 1 > ${T}/events/kprobes/p_cmdline_proc_show_0/enable; cat /proc/cmdline; cat /proc/version`,
    );
    expect(await lines()).toHaveLength(2);
    expect(await sh(`echo 0 > ${T}/events/kprobes/enable; echo > ${EVENTS}; cat ${EVENTS}`)).toBe('');
  });

  it.each([
    ['x', 'Invalid argument'],
    ['p', 'Invalid argument'],
    ['p:1bad cmdline_proc_show', 'Invalid argument'],
    ['p nosuch', 'No such file or directory'],
    ['p __fentry__', 'Invalid argument'],
    ['p klp_ftrace_handler', 'Invalid argument'],
    ['r:ret cmdline_proc_show', 'Operation not supported'],
    ['p cmdline_proc_show m=%di', 'Operation not supported'],
  ])('refuses %s', async (command, why) => {
    expect(await sh(`echo '${command}' > ${EVENTS}`)).toContain(why);
    expect(await sh(`cat ${EVENTS} /sys/kernel/debug/kprobes/list`)).toBe('');
  });

  it.each([
    ['r:ret cmdline_proc_show', 'kprobe_events: r:ret cmdline_proc_show: return probes are not there'],
    ['p cmdline_proc_show m=%di', 'arguments of a probe are not there'],
    [
      'p:in cmdline_proc_show+9',
      'cmdline_proc_show+0x9/0x30: probes are at fentry sites only, and this is none',
    ],
  ])('says of %s what this machine does not have', async (command, why) => {
    const said = await sh(`echo '${command}' > ${EVENTS}`);
    expect(said).toContain('write error: Operation not supported');
    expect(said).toContain(why);
    expect(await sh(`cat ${EVENTS} /sys/kernel/debug/kprobes/list`)).toBe('');
  });

  it('probes a function that a livepatch has replaced, and the new one', async () => {
    await sh(`insmod ${PATCH}; sleep 3`);
    await sh(`echo 'p:old cmdline_proc_show' > ${EVENTS}`);
    await sh(`echo 'p:new klpdemo_patch_vmlinux:klpdemo_new_cmdline_proc_show' >> ${EVENTS}`);
    await sh(`echo 1 > ${T}/events/kprobes/enable`);
    expect(await sh('cat /proc/cmdline')).toContain('livepatched');
    expect(
      (await lines()).map((line) => line.replace(/^.*?: (\w+: \([\w.]+)\+.*?(?: (\[\w+\]))?\)$/, '$1 $2')),
    ).toEqual(['old: (cmdline_proc_show ', 'new: (klpdemo_new_cmdline_proc_show [klpdemo_patch_vmlinux]']);
  });
});
