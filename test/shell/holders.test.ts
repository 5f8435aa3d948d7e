// /sys/module/NAME/holders: who uses a module's symbols, as add_usage_links() of kernel/module/sysfs.c shows it.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Session } from './session.ts';

let session: Session;
const sh = (line: string): Promise<string> => session.sh(line);
const HOLDERS = '/sys/module/klpbundle_core/holders';

beforeAll(async () => {
  session = await Session.boot(['klpbundle_core', 'klpbundle_mid', 'klpbundle_p1_core', 'klpbundle_x_core']);
  await sh('modprobe klpbundle_mid');
});
afterAll(() => session.machine.close());

describe('holders of a module', () => {
  it('are links to the directories of modules that use its symbols', async () => {
    expect(await sh(`ls -l ${HOLDERS}`)).toBe(
      'total 0\nlrwxrwxrwx 1 root root 0 Jan  1 00:00 klpbundle_mid -> ../../klpbundle_mid\n',
    );
    expect(await sh('ls /sys/module/klpbundle_mid/holders')).toBe('');
    expect(await sh(`readlink ${HOLDERS}/klpbundle_mid`)).toBe('../../klpbundle_mid\n');
    expect(await sh(`readlink ${HOLDERS}`)).toBe('[exit status 1]\n');
    expect(await sh(`stat -c '%A %a %F %s' ${HOLDERS}/klpbundle_mid`)).toBe(
      'lrwxrwxrwx 777 symbolic link 0\n',
    );
    expect(await sh(`stat -L -c '%F' ${HOLDERS}/klpbundle_mid`)).toBe('directory\n');
  });

  it('are ways to what they lead to, and .. is that of there', async () => {
    expect(await sh(`cat ${HOLDERS}/klpbundle_mid/initstate`)).toBe('live\n');
    expect(await sh(`cat ${HOLDERS}/klpbundle_mid/../klpbundle_core/initstate`)).toBe('live\n');
    expect(await sh(`ls ${HOLDERS}/klpbundle_mid/`)).toBe(await sh('ls /sys/module/klpbundle_mid'));
    expect(await sh(`ls -ld ${HOLDERS}/klpbundle_mid/`)).toMatch(/^drwxr-xr-x /);
    expect(await sh(`[ -L ${HOLDERS}/klpbundle_mid ] && [ -d ${HOLDERS}/klpbundle_mid ]`)).toBe('');
  });

  it('are not what livepatch patches: that holds nothing, but the symbols that a patch uses', async () => {
    await sh('modprobe klpbundle_p1_core; sleep 2');
    expect(await sh(`ls ${HOLDERS}`)).toBe('klpbundle_mid\n');
    await sh('modprobe klpbundle_x_core; sleep 2');
    expect(await sh(`ls ${HOLDERS}`)).toBe('klpbundle_mid\nklpbundle_x_core\n');
    expect(await sh('lsmod | grep ^klpbundle_core')).toMatch(
      / 2 klpbundle_x_core,klpbundle_mid\n|klpbundle_mid,klpbundle_x_core\n/,
    );
  });

  it('go with the modules that they stand for', async () => {
    await sh('rmmod klpbundle_mid');
    expect(await sh(`ls ${HOLDERS}`)).toBe('klpbundle_x_core\n');
  });
});
