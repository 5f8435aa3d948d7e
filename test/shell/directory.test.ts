// The working directory, against what bash says of the same on a real machine.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Session } from './session.ts';

let session: Session;
const sh = (line: string): Promise<string> => session.sh(line);

beforeAll(async () => {
  session = await Session.boot(['klpdemo_patch_vmlinux']);
});
afterAll(() => session.machine.close());

describe('cd', () => {
  it('is where paths without a slash in front are taken from, of commands and of redirections', async () => {
    expect(await sh('cd /sys/kernel/tracing; pwd')).toBe('/sys/kernel/tracing\n');
    expect(await sh('echo function > current_tracer; cat current_tracer')).toBe('function\n');
    expect(await sh('echo cmdline_proc_show > set_ftrace_filter; cat ./set_ftrace_filter')).toBe(
      'cmdline_proc_show\n',
    );
    expect(await sh('echo > set_ftrace_filter; echo nop > current_tracer; grep -c . /proc/cmdline')).toBe(
      '1\n',
    );
    expect(await sh('ls ../debug/tracing/trace; test -e tracing_on')).toBe('../debug/tracing/trace\n');
    expect(await sh('stat -c %n trace; ls | head -1')).toBe('trace\navailable_filter_functions\n');
  });

  it('goes up, back and to the root', async () => {
    expect(await sh('cd /sys/kernel/livepatch; cd ..; pwd; cd -; cd; pwd; cd -')).toBe(
      '/sys/kernel\n/sys/kernel/livepatch\n/\n/sys/kernel/livepatch\n',
    );
  });

  it('loads a module by a name in the directory', async () => {
    const { release } = session.machine.inspect.core.kernel;
    expect(await sh(`cd /lib/modules/${release}/extra; insmod klpdemo_patch_vmlinux.ko; sleep 2`)).toBe('');
    expect(
      await sh('cd /sys/kernel/livepatch/klpdemo_patch_vmlinux; cat enabled; echo 0 > enabled; sleep 2'),
    ).toBe('1\n');
  });

  it('is left with a directory that went away: nothing is found there', async () => {
    expect(await sh('cat enabled')).toBe('cat: enabled: No such file or directory\n[exit status 1]\n');
    expect(await sh('cd ..; ls; cd /')).toBe('');
    expect(await sh('rmmod klpdemo_patch_vmlinux')).toBe('');
  });

  it.each([
    ['cd /nothing', 'klpemu: cd: /nothing: No such file or directory\n[exit status 1]\n'],
    ['cd /proc/cmdline', 'klpemu: cd: /proc/cmdline: Not a directory\n[exit status 1]\n'],
    ['cd /sys /proc', 'klpemu: cd: too many arguments\n[exit status 1]\n'],
    ['cd "" && pwd', '/\n'],
  ])('%s', async (line, expected) => {
    expect(await sh(line)).toBe(expected);
  });

  it('has no directory to go back to before the first change, in a process of its own', async () => {
    const result = await session.shell.run(['cd', '-']);
    expect(result.stderr).toBe('klpemu: cd: OLDPWD not set\n');
    await session.shell.execute('cd /sys');
    await session.shell.run(['cd', '/proc']);
    expect(await sh('pwd; cd /')).toBe('/sys\n');
  });
});
