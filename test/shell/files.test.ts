// Reading and writing the guest's files from the shell, against what bash and coreutils said on the real machine.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Session } from './session.ts';

let session: Session;
const PATCH = '/sys/kernel/livepatch/klpdemo_patch_vmlinux';
const sh = (line: string): Promise<string> => session.sh(line);

beforeAll(async () => {
  session = await Session.boot(['klpdemo_patch_vmlinux']);
  expect(await sh('modprobe klpdemo_patch_vmlinux; sleep 2')).toBe('');
});
afterAll(() => session.machine.close());

describe('the files of a patch that is on', () => {
  it.each([
    [`echo 1 > ${PATCH}/enabled`, 'klpemu: echo: write error: Invalid argument\n[exit status 1]\n'],
    [`echo 1 > ${PATCH}/force`, 'klpemu: echo: write error: Invalid argument\n[exit status 1]\n'],
    [`echo 0 > ${PATCH}/force`, ''],
    [`echo x > ${PATCH}/enabled`, 'klpemu: echo: write error: Invalid argument\n[exit status 1]\n'],
    [`cat ${PATCH}/force`, `cat: ${PATCH}/force: Permission denied\n[exit status 1]\n`],
    [`echo 1 > ${PATCH}/transition`, `klpemu: ${PATCH}/transition: Permission denied\n[exit status 1]\n`],
    [`cat ${PATCH}/enabled ${PATCH}/transition`, '1\n0\n'],
    [
      'sysctl kernel.ftrace_enabled=0',
      'sysctl: setting key "kernel.ftrace_enabled": Device or resource busy\n[exit status 1]\n',
    ],
    ['sysctl kernel.ftrace_enabled', 'kernel.ftrace_enabled = 1\n'],
    ['sysctl --values kernel.ftrace_enabled', '1\n'],
    [
      'sysctl kernel.nothing',
      'sysctl: cannot stat /proc/sys/kernel/nothing: No such file or directory\n[exit status 1]\n',
    ],
    ['cat /proc/cmdline', 'klpdemo: this command line was livepatched\n'],
  ])('%s', async (line, expected) => {
    expect(await sh(line)).toBe(expected);
  });

  it('have the modes, sizes and links of the real ones', async () => {
    const format = '%A %a %U:%G %F size=%s nlink=%h';
    const paths = ['', '/enabled', '/force', '/transition', '/vmlinux', '/vmlinux/patched'];
    expect(await sh(`stat -c "${format}" ${paths.map((path) => PATCH + path).join(' ')}`)).toBe(
      [
        'drwxr-xr-x 755 root:root directory size=0 nlink=3',
        '-rw-r--r-- 644 root:root regular file size=4096 nlink=1',
        '--w------- 200 root:root regular file size=4096 nlink=1',
        '-r--r--r-- 444 root:root regular file size=4096 nlink=1',
        'drwxr-xr-x 755 root:root directory size=0 nlink=3',
        '-r--r--r-- 444 root:root regular file size=4096 nlink=1',
        '',
      ].join('\n'),
    );
  });

  it('are listed as ls lists them', async () => {
    expect(await sh(`ls ${PATCH}`)).toBe('enabled\nforce\ntransition\nvmlinux\n');
    expect(await sh(`ls -la ${PATCH}/vmlinux`)).toMatch(
      /^total 0\ndrwxr-xr-x 3 root root {4}0 .* \.\ndrwxr-xr-x 3 root root {4}0 .* \.\.\n.* cmdline_proc_show,1\n-r--r--r-- 1 root root 4096 .* patched\n$/,
    );
    expect(await sh('ls /nowhere')).toBe(
      "ls: cannot access '/nowhere': No such file or directory\n[exit status 2]\n",
    );
  });

  it('show the function in tracefs with its trampoline', async () => {
    expect(await sh('cat /sys/kernel/debug/tracing/enabled_functions')).toMatch(
      /^cmdline_proc_show \(1\) {3}I {2}\ttramp: 0xffffffffc0\w+ \(klp_ftrace_handler\+0x0\/0x\w+\) ->klp_ftrace_handler\+0x0\/0x\w+\n$/,
    );
  });
});

describe('what the kernel tells of its code', () => {
  it('has patched and patching functions, newest module first, and the trampoline between them', async () => {
    const text = await sh(
      "grep -E ' (cmdline_proc_show|klp_ftrace_handler|klpdemo_new_cmdline_proc_show|ftrace_trampoline)' /proc/kallsyms",
    );
    expect(text).toMatch(
      /^ffffffff81\w{6} t cmdline_proc_show\nffffffff81\w{6} t klp_ftrace_handler\nffffffffc0\w{6} t klpdemo_new_cmdline_proc_show\t\[klpdemo_patch_vmlinux\]\nffffffffc0\w{6} t ftrace_trampoline\t\[__builtin__ftrace\]\n$/,
    );
    const trampoline = /(\w+) t ftrace_trampoline/.exec(text)?.[1];
    expect(await sh('disas cmdline_proc_show | head -n 2')).toContain(`${trampoline}`);
    expect(await sh('cat /sys/kernel/debug/tracing/enabled_functions')).toContain(`tramp: 0x${trampoline} `);
  });

  it('is disassembled to the end of a function, also of the last one before the end of a page', async () => {
    const text = await sh('disas klpdemo_new_cmdline_proc_show');
    const lines = text.trimEnd().split('\n');
    expect(lines.length).toBeLessThan(20);
    expect(lines.at(-1)).toMatch(/ (int3|nop|ret)/);
    expect(text).not.toMatch(/ 00 00 +add /);
    const trampoline = await sh('disas ftrace_trampoline');
    expect(trampoline).toMatch(/^ffffffffc0\w{6} <ftrace_trampoline>:\n/);
    expect(trampoline).toMatch(/call +0x\w+ <klp_ftrace_handler\+0x0\/0x\w+>/);
  });

  it.each([
    ['/proc/modules', 'Input/output error'],
    ['/proc/kallsyms', 'Input/output error'],
    ['/proc/1/patch_state', 'Invalid argument'],
    ['/proc/1/stack', 'Invalid argument'],
    ['/sys/kernel/debug/tracing/enabled_functions', 'Invalid argument'],
    ['/proc/sys/kernel/ftrace_enabled', 'Invalid argument'],
    ['/proc/sys/kernel/tainted', 'Invalid argument'],
  ])('%s is not written to: %s', async (path, error) => {
    expect(await sh(`echo x > ${path}`)).toBe(`klpemu: echo: write error: ${error}\n[exit status 1]\n`);
  });

  it.each([
    `${PATCH}/vmlinux/patched`,
    `${PATCH}/transition`,
    '/sys/module/klpdemo_patch_vmlinux/refcnt',
    '/sys/module/klpdemo_patch_vmlinux/initstate',
    '/sys/module/klpdemo_patch_vmlinux/taint',
    '/sys/module/klpdemo_patch_vmlinux/sections/.text',
  ])('%s cannot be opened for writing, not even by root', async (path) => {
    expect(await sh(`echo x > ${path}`)).toBe(`klpemu: ${path}: Permission denied\n[exit status 1]\n`);
  });

  it.each(['2', 'x', '', ' 0', '-1'])('takes no %j for enabled or force', async (text) => {
    for (const file of ['enabled', 'force']) {
      expect(await sh(`echo '${text}' > ${PATCH}/${file}`)).toBe(
        'klpemu: echo: write error: Invalid argument\n[exit status 1]\n',
      );
    }
    expect(await sh(`cat ${PATCH}/enabled`)).toBe('1\n');
  });
});

describe('files of bytes', () => {
  it('are made, emptied and appended to', async () => {
    expect(await sh('echo one > /tmp/f; echo two >> /tmp/f; cat /tmp/f')).toBe('one\ntwo\n');
    expect(await sh('echo -n three > /tmp/f; wc -c /tmp/f; > /tmp/f; wc -c /tmp/f')).toBe(
      '5 /tmp/f\n0 /tmp/f\n',
    );
    expect(await sh('dmesg > /tmp/log; test -s /tmp/log && echo written')).toBe('written\n');
    expect(await sh('mkdir /tmp/d; echo x > /tmp/d/e; ls /tmp')).toBe('d\nf\nlog\n');
    expect(await sh('rm /tmp/d/e /tmp/log; ls /tmp/d')).toBe('');
  });

  it.each([
    ['echo x > /none/f', 'klpemu: /none/f: No such file or directory\n[exit status 1]\n'],
    ['echo x > /proc/none', 'klpemu: /proc/none: No such file or directory\n[exit status 1]\n'],
    ['echo x > /sys/none', 'klpemu: /sys/none: Permission denied\n[exit status 1]\n'],
    ['echo x > /sys', 'klpemu: /sys: Is a directory\n[exit status 1]\n'],
    ['cat /proc', 'cat: /proc: Is a directory\n[exit status 1]\n'],
    ['cat /proc/cmdline/x', 'cat: /proc/cmdline/x: Not a directory\n[exit status 1]\n'],
    ['cat /none', 'cat: /none: No such file or directory\n[exit status 1]\n'],
    ['rm /proc/version', "rm: cannot remove '/proc/version': Operation not permitted\n[exit status 1]\n"],
  ])('%s fails as it should', async (line, expected) => {
    expect(await sh(line)).toBe(expected);
  });

  it('longer than a page are written in more than one write', async () => {
    const text = 'x'.repeat(10_000);
    expect(await sh(`echo ${text} > /tmp/long; wc -c /tmp/long`)).toBe('10001 /tmp/long\n');
  });
});

describe('the kernel log', () => {
  it('takes a record of a user, with or without a level', async () => {
    expect(await sh("echo hello > /dev/kmsg; echo '<3>bad' > /dev/kmsg; dmesg -t | tail -n 2")).toBe(
      'hello\nbad\n',
    );
  });

  it('is cleared for who looks at it, and goes on', async () => {
    expect(await sh('dmesg -C; dmesg')).toBe('');
    expect(await sh('echo next > /dev/kmsg; dmesg')).toMatch(/^\[ +\d+\.\d{6}\] next\n$/);
  });

  it('says what dynamic debug is told to say', async () => {
    const control = '/sys/kernel/debug/dynamic_debug/control';
    expect(await sh(`grep -c '=_' ${control}`)).toBe('8\n');
    expect(await sh(`echo 'file kernel/livepatch/* +p; func klp_try_switch_task -p' > ${control}`)).toBe('');
    expect(await sh(`grep -c '=p' ${control}; grep klp_try_switch_task ${control} | grep -v -c '=_'`)).toBe(
      '4\n0\n[exit status 1]\n',
    );
    expect(await sh(`echo 'file kernel/livepatch/transition.c line 521 =_' > ${control}`)).toBe('');
    expect(await sh(`grep -c '=p' ${control}`)).toBe('3\n');
    expect(await sh(`echo 'nonsense +p' > ${control}`)).toBe(
      'klpemu: echo: write error: Invalid argument\n[exit status 1]\n',
    );
  });
});
