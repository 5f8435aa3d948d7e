// Module tools, against what kmod 30 and the kernel said on the real machine.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Session } from './session.ts';

const DIR = '/lib/modules/6.1.0-56-amd64';
const CHAIN = ['klpbundle_core', 'klpbundle_mid', 'klpbundle_top'];
let session: Session;
const sh = (line: string): Promise<string> => session.sh(line);

beforeEach(async () => {
  session = await Session.boot([
    ...CHAIN,
    'klpdemo_target',
    'klpdemo_patch_vmlinux',
    'klpdemo_bad_import',
    'klpdemo_bad_init',
    'klpdemo_bad_null',
  ]);
});
afterEach(() => session.machine.close());

describe('modprobe', () => {
  it('loads what a module needs before it, by the modules.dep that depmod wrote', async () => {
    expect(await sh(`grep top ${DIR}/modules.dep`)).toBe(
      'extra/klpbundle_top.ko: extra/klpbundle_mid.ko extra/klpbundle_core.ko\n',
    );
    expect(await sh(`grep mid ${DIR}/modules.symbols`)).toBe(
      'alias symbol:klpbundle_mid_value klpbundle_mid\n',
    );
    expect(await sh('modprobe klpbundle-top; lsmod')).toBe(
      [
        'Module                  Size  Used by',
        'klpbundle_top          16384  0',
        'klpbundle_mid          16384  1 klpbundle_top',
        'klpbundle_core         16384  1 klpbundle_mid',
        '',
      ].join('\n'),
    );
  });

  it('only says what it would do with -n -v', async () => {
    expect(await sh('modprobe -n -v klpbundle_mid a=1; lsmod | wc -l')).toBe(
      `insmod ${DIR}/extra/klpbundle_core.ko \ninsmod ${DIR}/extra/klpbundle_mid.ko a=1\n1\n`,
    );
  });

  it('unloads a module and what nobody needs any more with -r', async () => {
    await sh('modprobe klpbundle_top');
    expect(await sh('modprobe -r klpbundle_mid')).toBe(
      'modprobe: FATAL: Module klpbundle_mid is in use.\n[exit status 1]\n',
    );
    expect(await sh('modprobe -r klpbundle_top; lsmod | wc -l')).toBe('2\n');
  });

  it('has nothing to do for a module that is loaded, unless it is to be the first', async () => {
    expect(await sh('modprobe klpdemo_target; modprobe klpdemo-target')).toBe('');
    expect(await sh('modprobe --first-time klpdemo_target')).toBe(
      "modprobe: ERROR: could not insert 'klpdemo_target': Module already in kernel\n[exit status 1]\n",
    );
  });

  it('does not know a module that depmod has not seen', async () => {
    expect(await sh('modprobe nowhere')).toBe(
      `modprobe: FATAL: Module nowhere not found in directory ${DIR}\n[exit status 1]\n`,
    );
    await sh(`cat ${DIR}/extra/klpdemo_target.ko > ${DIR}/extra/klpdemo_copy.ko`);
    expect(await sh('modprobe -n klpdemo_copy')).toMatch(/not found/);
    expect(await sh('depmod; modprobe -n klpdemo_copy')).toBe('');
  });

  it('does nothing more once it has said that something is fatal, which with -a is a warning, and with -q not said', async () => {
    const rest = async (line: string): Promise<string[]> => [
      await sh(line),
      await sh(`lsmod | grep -c klpbundle_core; modprobe klpbundle_core`),
    ];
    await sh('modprobe klpdemo_patch_vmlinux; sleep 2; modprobe klpbundle_core');
    const inUse = 'Module klpdemo_patch_vmlinux is in use.';
    const both = 'klpdemo_patch_vmlinux klpbundle_core';
    const failure = '[exit status 1]\n';
    expect(await rest(`modprobe -r ${both}`)).toEqual([`modprobe: FATAL: ${inUse}\n${failure}`, '1\n']);
    expect(await rest(`modprobe -r -a ${both}`)).toEqual([`modprobe: WARNING: ${inUse}\n${failure}`, '0\n']);
    expect(await rest(`modprobe -r -q ${both}`)).toEqual([failure, '0\n']);
    expect(await rest('modprobe -r klpdemo_absent klpbundle_core')).toEqual([
      `modprobe: FATAL: Module klpdemo_absent not found.\n${failure}`,
      '1\n',
    ]);
    expect(await rest('modprobe -r --first-time klpbundle_top klpbundle_core')).toEqual([
      `modprobe: FATAL: Module klpbundle_top is not in kernel.\n${failure}`,
      '1\n',
    ]);
    await sh('modprobe -r klpbundle_core');
    expect(await rest('modprobe -a klpdemo_absent klpbundle_core')).toEqual([
      `modprobe: WARNING: Module klpdemo_absent not found in directory ${DIR}\n${failure}`,
      '1\n',
    ]);
  });

  it('of which the module has killed it loads no more', async () => {
    await sh('modprobe -a klpdemo_bad_null klpbundle_core');
    expect(await sh('lsmod | grep klpbundle_core')).toBe('[exit status 1]\n');
  });

  it('passes parameters on, and says why the kernel would not have a module', async () => {
    expect(await sh('modprobe klpdemo_bad_import')).toBe(
      "modprobe: ERROR: could not insert 'klpdemo_bad_import': Unknown symbol in module, or unknown parameter (see dmesg)\n[exit status 1]\n",
    );
    expect(await sh('modprobe klpdemo_bad_init')).toMatch(
      /^modprobe: ERROR: could not insert 'klpdemo_bad_init': [A-Z][a-z ]+\n\[exit status 1\]\n$/,
    );
    expect(await sh('modprobe klpdemo_target nosuch=1; dmesg -t | grep nosuch')).toBe(
      "klpdemo_target: unknown parameter 'nosuch' ignored\n",
    );
  });

  it('refuses a livepatch that is to be immediate, and names force; to others the name means nothing', async () => {
    expect(await sh('dmesg -C; modprobe klpdemo_patch_vmlinux immediate=1')).toBe(
      "modprobe: ERROR: could not insert 'klpdemo_patch_vmlinux': Invalid argument\n[exit status 1]\n",
    );
    expect(await sh('dmesg -t | grep immediate')).toBe(
      "klpdemo_patch_vmlinux: livepatch has no 'immediate' since Linux 4.16: what ends a transition is 1 to /sys/kernel/livepatch/klpdemo_patch_vmlinux/force\n" +
        "klpdemo_patch_vmlinux: `1' invalid for parameter `immediate'\n",
    );
    expect(await sh('modprobe klpdemo_patch_vmlinux; lsmod | wc -l')).toBe('2\n');
    expect(await sh('modprobe klpdemo_target immediate=1; dmesg -t | tail -n 2 | head -n 1')).toBe(
      "klpdemo_target: unknown parameter 'immediate' ignored\n",
    );
  });

  it('is killed where the init of a module runs into an oops, and the shell goes on', async () => {
    expect(await sh('modprobe klpdemo_bad_null')).toBe('Killed\n[exit status 137]\n');
    expect(await sh('cat /proc/uptime | wc -l')).toBe('1\n');
  });
});

describe('rmmod', () => {
  it('says why it does not', async () => {
    await sh('modprobe klpbundle_mid; modprobe klpdemo_patch_vmlinux; sleep 2');
    expect(await sh('rmmod')).toBe('rmmod: ERROR: missing module name.\n[exit status 1]\n');
    expect(await sh('rmmod nowhere')).toBe(
      'rmmod: ERROR: Module nowhere is not currently loaded\n[exit status 1]\n',
    );
    expect(await sh('rmmod klpbundle_core')).toBe(
      'rmmod: ERROR: Module klpbundle_core is in use by: klpbundle_mid\n[exit status 1]\n',
    );
    expect(await sh('rmmod klpdemo_patch_vmlinux')).toBe(
      'rmmod: ERROR: Module klpdemo_patch_vmlinux is in use\n[exit status 1]\n',
    );
  });

  it('unloads a patch that was disabled', async () => {
    const off = 'echo 0 > /sys/kernel/livepatch/klpdemo_patch_vmlinux/enabled';
    expect(await sh(`modprobe klpdemo_patch_vmlinux; sleep 2; ${off}; sleep 2`)).toBe('');
    expect(await sh('rmmod klpdemo-patch-vmlinux; test -e /sys/module/klpdemo_patch_vmlinux')).toBe(
      '[exit status 1]\n',
    );
  });
});

describe('insmod', () => {
  it('loads a file, and says why it does not', async () => {
    const file = `${DIR}/extra/klpdemo_target.ko`;
    expect(await sh(`insmod ${file}`)).toBe('');
    expect(await sh(`insmod ${file}`)).toBe(
      `insmod: ERROR: could not insert module ${file}: File exists\n[exit status 1]\n`,
    );
    expect(await sh('insmod /none.ko')).toBe(
      'insmod: ERROR: could not load module /none.ko: No such file or directory\n[exit status 1]\n',
    );
    expect(await sh('echo text of some length > /tmp/x.ko; insmod /tmp/x.ko')).toBe(
      'insmod: ERROR: could not insert module /tmp/x.ko: Invalid module format\n' +
        'klpemu: the file is a text file\n[exit status 1]\n',
    );
  });
});

describe('modinfo', () => {
  it('shows the fields of a module by name or file, and one of them', async () => {
    const text = await sh('modinfo klpdemo_patch_vmlinux');
    expect(text).toMatch(new RegExp(`^filename: {7}${DIR}/extra/klpdemo_patch_vmlinux.ko\n`));
    expect(text).toMatch(/^license: {8}GPL\n/m);
    expect(text).toMatch(/^livepatch: {6}Y\n/m);
    expect(text).toMatch(/^vermagic: {7}6\.1\.0-56-amd64 SMP preempt mod_unload modversions \n/m);
    expect(await sh(`modinfo -F livepatch ${DIR}/extra/klpdemo_patch_vmlinux.ko`)).toBe('Y\n');
    expect(await sh('modinfo nowhere')).toBe('modinfo: ERROR: Module nowhere not found.\n[exit status 1]\n');
  });
});

describe('/sys/module', () => {
  it('has the files of a real one, with their modes and sizes', async () => {
    await sh('modprobe klpdemo_patch_vmlinux');
    const dir = '/sys/module/klpdemo_patch_vmlinux';
    expect(await sh(`ls ${dir}`)).toBe(
      'coresize\nholders\ninitsize\ninitstate\nnotes\nrefcnt\nsections\ntaint\nuevent\n',
    );
    const format = '%A %s';
    expect(await sh(`stat -c '${format}' ${dir}/refcnt ${dir}/uevent ${dir}/sections/.text`)).toBe(
      '-r--r--r-- 4096\n--w------- 4096\n-r-------- 19\n',
    );
    expect(await sh(`cat ${dir}/sections/.text`)).toMatch(/^0xffffffffc0[0-9a-f]{6}\n$/);
    expect(await sh(`cat ${dir}/taint ${dir}/initstate`)).toBe('OEK\nlive\n');
    expect(await sh(`wc -c ${dir}/notes/.note.gnu.build-id`)).toMatch(/^36 /);
  });
});
