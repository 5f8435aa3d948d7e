// Command lines that a real 6.1 answered, with kmod 30 and procps: output, exit status and kernel log are the same here.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readObserved, withoutTime } from '../machine/observed.ts';
import { Session } from './session.ts';

const observed = readObserved('observed-edges-6.1.txt');
let session: Session;
const sh = (line: string): Promise<string> => session.sh(line);

beforeEach(async () => {
  session = await Session.boot([
    'klpbundle_core',
    'klpbundle_mid',
    'klpdemo_target',
    'klpdemo_bad_site',
    'klpdemo_patch_both',
    'klpdemo_patch_vmlinux',
  ]);
});
afterEach(() => session.machine.close());

interface Line {
  readonly command: string;
  readonly answer: string;
}

/** The commands of a step, and what came back of each. */
function commandsOf(step: string): Line[] {
  const lines: Line[] = [];
  for (const part of (observed.get(step)?.whole ?? '').split(/^\$ /m).slice(1)) {
    const [command, ...rest] = part.trimEnd().split('\n');
    const end = rest.findIndex((line) => /^rc \d+$/.test(line));
    const rc = Number(rest[end].slice(3));
    // Where the shell names itself, it is another one.
    const output = rest.slice(0, end).map((line) => `${line.replace(/^bash: /, 'klpemu: ')}\n`);
    lines.push({ command, answer: output.join('') + (rc === 0 ? '' : `[exit status ${rc}]\n`) });
  }
  return lines;
}

/** What the commands of a step answer here, in the form of commandsOf(). */
async function replay(step: string): Promise<Line[]> {
  const lines: Line[] = [];
  for (const { command } of commandsOf(step)) lines.push({ command, answer: await sh(command) });
  return lines;
}

const newLog = (from: number): string[] => session.machine.dmesg().slice(from).map(withoutTime);
const logLength = (): number => session.machine.dmesg().length;

describe('the numbers that sysctls take', () => {
  it('kernel.ftrace_enabled is an int, octal and hexadecimal too, and keeps what was written', async () => {
    expect(commandsOf('ftrace_enabled').length).toBeGreaterThan(60);
    expect(await replay('ftrace_enabled')).toEqual(commandsOf('ftrace_enabled'));
  });

  it('kernel.ftrace_enabled is 1 after a 0 that a livepatch did not allow, and any other number is taken', async () => {
    await sh('modprobe klpdemo_patch_vmlinux; sleep 3');
    expect(await replay('ftrace_enabled with a patch')).toEqual(commandsOf('ftrace_enabled with a patch'));
  });

  it('kernel.tainted takes bits, in any base', async () => {
    await sh('modprobe klpdemo_patch_vmlinux');
    expect(await replay('tainted')).toEqual(commandsOf('tainted'));
  });
});

describe('kernel.ftrace_enabled after an ftrace bug', () => {
  it('can be neither read nor written, and nothing can be patched', async () => {
    await sh('modprobe klpdemo_bad_site');
    expect(await replay('after the ftrace bug')).toEqual(commandsOf('after the ftrace bug'));
  });
});

describe("kmod's tools", () => {
  it('say what a file is that is no module, and what is missing', async () => {
    await sh('echo x > /tmp/x.ko; echo -n > /tmp/e.ko; mkdir /tmp/d.ko');
    await sh('mkdir /etc');
    expect(await replay('insmod of what is no module')).toEqual(commandsOf('insmod of what is no module'));
  });

  it('rmmod -f says twice what the kernel answered', async () => {
    await sh('modprobe klpbundle_mid');
    const step = 'rmmod -f of what is used by another';
    expect(await replay(step)).toEqual(commandsOf(step));
  });

  it('rmmod -f of a patch that is on taints, with R and a line on lock debugging, once', async () => {
    await sh('modprobe klpdemo_patch_vmlinux; sleep 3');
    const from = logLength();
    expect(await sh('rmmod -f klpdemo_patch_vmlinux')).toBe('');
    expect(newLog(from)).toEqual(observed.get('rmmod -f of a patch that is on')?.log);
    expect(session.machine.inspect.core.taints & 8).toBe(8);
  });

  it('rmmod -f of a module that nobody uses taints nothing', async () => {
    expect(await sh('modprobe klpdemo_target; rmmod -f klpdemo_target')).toBe('');
    expect(session.machine.inspect.core.taints & 8).toBe(0);
    expect(newLog(0).filter((line) => line.startsWith('Disabling'))).toEqual([]);
  });
});

describe('loads', () => {
  it('name an unknown parameter up to its first dot, as dynamic debug has cut it', async () => {
    await sh('modprobe klpbundle_core');
    const step = 'parameters with dots';
    const from = logLength();
    expect(await replay(step)).toEqual(commandsOf(step));
    expect(newLog(from)).toEqual(observed.get(step)?.log);
    expect(await sh('cat /sys/module/klpdemo_target/parameters/hold_ms')).toBe('60\n');
  });

  it('that a pre-patch callback ends with a positive number are no error to kmod, and no module', async () => {
    await sh('modprobe klpdemo_patch_both; sleep 3');
    await sh('echo 1 > /sys/module/klpdemo_patch_both/parameters/pre_patch_ret');
    const step = 'a positive pre_patch of a module that comes';
    for (const insert of [
      'modprobe klpdemo_target',
      'insmod /lib/modules/6.1.0-56-amd64/extra/klpdemo_target.ko',
    ]) {
      const from = logLength();
      expect(await sh(insert)).toBe(commandsOf(step)[0].answer);
      expect(newLog(from)).toEqual(observed.get(step)?.log);
      expect(await sh('cat /proc/modules | grep -c klpdemo_target; ls /sys/module/klpdemo_target')).toBe(
        "0\nls: cannot access '/sys/module/klpdemo_target': No such file or directory\n[exit status 2]\n",
      );
    }
    await sh('echo 0 > /sys/module/klpdemo_patch_both/parameters/pre_patch_ret');
    expect(await sh('modprobe klpdemo_target; grep -c klpdemo_target /proc/modules')).toBe('1\n');
  });
});
