import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { complete } from '../../src/shell/complete.ts';
import { grepPattern } from '../../src/shell/regex.ts';
import { Session } from './session.ts';

let session: Session;
const sh = (line: string): Promise<string> => session.sh(line);

beforeAll(async () => {
  session = await Session.boot(['klpdemo_target', 'klpdemo_patch_target']);
});
afterAll(() => session.machine.close());

describe('lines', () => {
  it.each([
    ['true && echo yes || echo no', 'yes\n'],
    ['false && echo yes || echo no', 'no\n'],
    ['false; echo $?', '1\n'],
    ['nothing-like-this; echo $?', '127\nklpemu: nothing-like-this: command not found\n'],
    ['echo a | cat | wc -l', '1\n'],
    ['false | true', ''],
    ['true | false', '[exit status 1]\n'],
    ['/sbin/modprobe -n klpdemo_target', ''],
    ['echo a; exit 3; echo b', 'a\n[exit status 3]\n'],
    ['# nothing', ''],
  ])('%s', async (line, expected) => {
    expect(await sh(line)).toBe(expected);
    session.shell.exited = undefined;
    session.shell.status = 0;
  });

  it('of a script are named by errors, and end it with errexit', async () => {
    const seen: string[] = [];
    const onResult = ({ stdout, stderr }: { stdout: string; stderr: string }): void => {
      seen.push(stdout + stderr);
    };
    const text = 'echo one\nfalse || echo saved\nnope\necho never\n';
    const { status } = await session.shell.execute(text, { errexit: true, script: true, onResult });
    expect(seen).toEqual(['one\n', '', 'saved\n', 'klpemu: line 3: nope: command not found\n']);
    expect(status).toBe(127);
    expect(session.shell.exited).toBe(127);
    session.shell.exited = undefined;
  });
});

describe('cut', () => {
  beforeAll(async () => {
    await sh("echo -e 'root:x:0\\nnobody\\n:' > /tmp/fields");
  });

  // As GNU coreutils 9.1 was seen to do.
  it.each([
    ['cut -d: -f 3,1 /tmp/fields', 'root:0\nnobody\n\n'],
    ['cut -s -d : -f2 /tmp/fields', 'x\n\n'],
    ['echo abcdef | cut -c 1-2,5-', 'abef\n'],
    ['echo abcdef | cut -b -3', 'abc\n'],
    ["echo 'a b  c' | cut -d ' ' -f 2-3", 'b \n'],
    ['cut /tmp/fields', 'cut: you must specify a list of bytes, characters, or fields\n[exit status 1]\n'],
    ['cut -f 1 -c 1', 'cut: only one list may be specified\n[exit status 1]\n'],
    ['cut -f 0', 'cut: fields are numbered from 1\n[exit status 1]\n'],
    ['cut -f 1,,2', 'cut: fields are numbered from 1\n[exit status 1]\n'],
    ['cut -c x', "cut: invalid byte/character position 'x'\n[exit status 1]\n"],
    ['cut -f 3-1', 'cut: invalid decreasing range\n[exit status 1]\n'],
    ['cut -f -', 'cut: invalid range with no endpoint: -\n[exit status 1]\n'],
    ['cut -d ab -f 1', 'cut: the delimiter must be a single character\n[exit status 1]\n'],
    ['cut -f 1 /none', 'cut: /none: No such file or directory\n[exit status 1]\n'],
  ])('%s', async (line, expected) => {
    expect(await sh(line)).toBe(expected);
  });
});

describe('a file as the standard input', () => {
  it.each([
    ['wc -l < /proc/version', '1\n'],
    ['echo no | cat < /proc/version | cut -d " " -f 1', 'Linux\n'],
    ['cut -c 1-5 < /proc/version > /tmp/cut; cat /tmp/cut', 'Linux\n'],
    // They are opened in their order; what cannot be opened keeps those behind it from being made.
    [
      'cat < /none > /tmp/behind; ls /tmp/behind',
      "klpemu: /none: No such file or directory\nls: cannot access '/tmp/behind': No such file or directory\n[exit status 2]\n",
    ],
    ['cat > /tmp/before < /none; ls /tmp/before', '/tmp/before\nklpemu: /none: No such file or directory\n'],
    ['cat > /no/where < /none', 'klpemu: /no/where: No such file or directory\n[exit status 1]\n'],
    ['echo text > /tmp/own; cat < /tmp/own > /tmp/own; wc -c /tmp/own', '0 /tmp/own\n'],
    ['head -n 1 /proc/meminfo | cut -c 1-8', 'MemTotal\n'],
    ['head -n 0 /proc/meminfo', ''],
    ['head /none', "head: cannot open '/none' for reading: No such file or directory\n[exit status 1]\n"],
    ['timeout 1 cat /proc/uptime | wc -l', '1\n'],
    ['timeout 0.25 sleep 5', '[exit status 124]\n'],
    [
      'timeout 2x true',
      "timeout: invalid time interval '2x'\nTry 'timeout --help' for more information.\n[exit status 125]\n",
    ],
    [
      'timeout 1',
      "timeout: missing operand\nTry 'timeout --help' for more information.\n[exit status 125]\n",
    ],
    [
      'timeout 1 nosuch',
      "timeout: failed to run command 'nosuch': No such file or directory\n[exit status 127]\n",
    ],
    ['wc -l < /none', 'klpemu: /none: No such file or directory\n[exit status 1]\n'],
  ])('%s', async (line, expected) => {
    expect(await sh(line)).toBe(expected);
  });
});

describe('grep, head, tail, wc', () => {
  beforeAll(async () => {
    await sh("echo -e 'one\\ntwo\\nthree\\n1+1' > /tmp/lines");
  });

  it('grep -w finds whole words', async () => {
    await sh("echo -e 'proc_show\\ncmdline_proc_show <-a' > /tmp/words");
    expect(await sh('grep -w proc_show /tmp/words')).toBe('proc_show\n');
    expect(await sh('grep -Fwq cmdline_proc_show /tmp/words && grep -wo cmdline_proc_show /tmp/words')).toBe(
      'cmdline_proc_show\n',
    );
    expect(await sh('grep -w cmdline /tmp/words')).toBe('[exit status 1]\n');
  });

  it.each([
    ['grep o /tmp/lines', 'one\ntwo\n'],
    ['grep -c o /tmp/lines', '2\n'],
    ['grep -v o /tmp/lines', 'three\n1+1\n'],
    ['grep -x t.o /tmp/lines', 'two\n'],
    ['grep -q three /tmp/lines', ''],
    ['grep four /tmp/lines', '[exit status 1]\n'],
    ["grep 'one\\|two' /tmp/lines", 'one\ntwo\n'],
    ["grep -E 'one|two' /tmp/lines", 'one\ntwo\n'],
    ["grep '1+1' /tmp/lines", '1+1\n'],
    ["grep -E '1\\+1' /tmp/lines", '1+1\n'],
    ["grep -n 't[[:alpha:]]\\{2\\}$' /tmp/lines", '2:two\n'],
    ['grep -e one -e two /tmp/lines', 'one\ntwo\n'],
    ['grep -n ^t /tmp/lines', '2:two\n3:three\n'],
    ['grep -n e$ /tmp/lines', '1:one\n3:three\n'],
    ['grep -n ^ /tmp/lines', '1:one\n2:two\n3:three\n4:1+1\n'],
    ['grep -nF + /tmp/lines', '4:1+1\n'],
    ['grep -nv t /tmp/lines', '1:one\n4:1+1\n'],
    ['grep -nx two /tmp/lines', '2:two\n'],
    ['grep -ni TWO /tmp/lines', '2:two\n'],
    ['grep -vq one /tmp/lines', ''],
    ['grep x /nowhere', 'grep: /nowhere: No such file or directory\n[exit status 2]\n'],
    ["grep '[' /tmp/lines", 'grep: Unmatched [, [^, [:, [., or [=\n[exit status 2]\n'],
    ['head -n 1 /tmp/lines', 'one\n'],
    ['tail -2 /tmp/lines', 'three\n1+1\n'],
    ['tail -n +3 /tmp/lines', 'three\n1+1\n'],
    ['wc -l /tmp/lines', '4 /tmp/lines\n'],
    ['cat /tmp/lines | wc', '      4       4      18\n'],
  ])('%s', async (line, expected) => {
    expect(await sh(line)).toBe(expected);
  });

  it('take a basic expression as POSIX does', () => {
    const matches = (pattern: string, text: string): boolean => grepPattern([pattern], {}).test(text);
    expect(matches('^\\[[ 0-9.]*\\] ', '[    1.000222] x')).toBe(true);
    expect(matches('a*', '')).toBe(true);
    expect(matches('*a', '*a')).toBe(true);
    expect(matches('\\(tainting\\|taints\\) kernel', 'x: tainting kernel')).toBe(true);
    expect(matches('(a)', 'a')).toBe(false);
    expect(matches('a{2}', 'aa')).toBe(false);
    expect(matches('x$y', 'x$y')).toBe(true);
    expect(matches('[]a]', ']')).toBe(true);
  });
});

describe('the running system', () => {
  it('lets virtual time pass in sleep, and only there by much', async () => {
    const before = session.machine.now();
    await sh('sleep 1.5; sleep 250ms');
    expect((session.machine.now() - before) / 1e9).toBeCloseTo(1.75, 5);
    expect(await sh('sleep x')).toBe("sleep: invalid time interval 'x'\n[exit status 1]\n");
  });

  it('ends a long sleep, and the line that it is in, when it is interrupted', async () => {
    const line = session.shell.execute('sleep 100h; echo never');
    session.shell.context.guest.interrupt.request();
    expect(await line).toEqual({ status: 130, stdout: '', stderr: '' });
    expect(await sh('sleep 1; echo again')).toBe('again\n');
  });

  it('shows tasks, sends them signals, and shows their stacks', async () => {
    const pid = (await sh('start sleep 1000000')).trim();
    expect(await sh('ps')).toMatch(new RegExp(`^ +${pid} S +-1 sleep$`, 'm'));
    expect(await sh(`stack ${pid}`)).toMatch(
      /^\[<0>\] hrtimer_nanosleep\+.*\n[\s\S]*entry_SYSCALL_64_after_hwframe/,
    );
    expect(await sh('stack sleep')).toBe(await sh(`stack ${pid}`));
    expect(await sh(`kill -9 ${pid}; sleep 1; ps | grep -c sleep`)).toBe('0\n[exit status 1]\n');
    expect(await sh(`kill ${pid}`)).toBe(`klpemu: kill: (${pid}) - No such process\n[exit status 1]\n`);
    expect(await sh('stack nobody')).toBe('stack: nobody: No such process\n[exit status 1]\n');
  });

  it('is what uname says', async () => {
    expect(await sh('uname -r')).toBe('6.1.0-56-amd64\n');
    expect(await sh('uname -a')).toMatch(/^Linux \(none\) 6\.1\.0-56-amd64 #1 SMP .* x86_64 GNU\/Linux\n$/);
  });

  it('can be disassembled, with what is patched as it is', async () => {
    expect(await sh('disas cmdline_proc_show 6')).toMatch(
      /^[0-9a-f]{16} <cmdline_proc_show\+0x0\/0x\w+>:\n {2}\w+: {2}0f 1f 44 00 00 +nopl .*\n {2}\w+: {2}53 +push %rbx\n$/,
    );
    expect(await sh('disas no_such_thing')).toBe('disas: no_such_thing: no such symbol\n[exit status 1]\n');
  });

  it('explains its commands', async () => {
    expect(await sh('help')).toMatch(/^modprobe +load a module/m);
    expect(await sh('help why')).toMatch(/^why \[--json\]\n/);
  });
});

describe('completion', () => {
  const offers = (line: string): string[] => complete(session.shell.context, line)[0];

  it('offers commands, modules, tasks and sysctls', async () => {
    expect(offers('modp')).toEqual(['modprobe ']);
    expect(offers('true && rmm')).toEqual(['rmmod ']);
    expect(offers('modprobe klpdemo_t')).toEqual(['klpdemo_target ']);
    expect(offers('rmmod ')).toEqual([]);
    await sh('modprobe klpdemo_target');
    expect(offers('rmmod ')).toEqual(['klpdemo_target ']);
    expect(offers('sysctl kernel.f')).toEqual(['kernel.ftrace_enabled']);
    expect(offers('stack ini')).toEqual(['init ']);
    expect(offers('disas cmdline_proc')).toContain('cmdline_proc_show');
  });

  it('offers paths of the guest, directories open at their end', () => {
    expect(offers('cat /sys/kern')).toEqual(['/sys/kernel/']);
    expect(offers('cat /proc/cmd')).toEqual(['/proc/cmdline ']);
    expect(offers('echo 0 > /sys/kernel/d')).toEqual(['/sys/kernel/debug/']);
    expect(offers('cat /nowhere/')).toEqual([]);
  });
});

describe('nproc', () => {
  it('says how many CPUs there are', async () => {
    expect(await sh('nproc')).toBe(`${session.machine.options.cpus}\n`);
  });
});
