// The shell's bundle command, on the bundles that are checked in.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { complete } from '../../src/shell/complete.ts';
import { rest } from '../bundle/state.ts';
import { World } from '../bundle/world.ts';
import { Session } from './session.ts';

const BUNDLES = join(import.meta.dirname, '../../fixtures/bundles');
const TARGETS = ['klpbundle_core', 'klpbundle_mid', 'klpbundle_top', 'klpbundle_asker'];

let session: Session;
const sh = (line: string): Promise<string> => session.sh(line);

async function machine(...bundles: string[]): Promise<void> {
  session = await Session.boot(TARGETS, { model: 'bundle' });
  for (const name of bundles) {
    const bytes = new Uint8Array(readFileSync(join(BUNDLES, `${name}.klpb`)));
    session.machine.addFile(`/lib/modules/6.1.0-56-amd64/extra/${name}.klpb`, bytes);
  }
}

afterEach(() => session.machine.close());

describe('bundle', () => {
  it('enables, lists and disables', async () => {
    await machine('v1', 'v2');
    await sh('modprobe klpbundle_mid');
    const away = 'steps_v1 1: enabled; 3 of 4 members live, waiting for klpbundle_top\n';
    expect(await sh('bundle list')).toBe('');
    expect(await sh('bundle enable v1 --wait')).toBe(away);
    expect(await sh('bundle list')).toBe(away);
    expect(await sh('modprobe klpbundle_top; bundle list')).toBe(
      'steps_v1 1: enabled; 4 of 4 members live\n',
    );
    expect(
      JSON.parse(await sh('bundle enable /lib/modules/6.1.0-56-amd64/extra/v2.klpb --wait --json')),
    ).toEqual({
      bundle: {
        name: 'steps_v2',
        version: '2',
        state: 'enabled',
        replace: true,
        members: [
          { object: 'klpbundle_core', module: 'klpbundle_p2_core', live: true },
          { object: 'klpbundle_top', module: 'klpbundle_p2_top', live: true },
          { object: 'klpbundle_asker', module: 'klpbundle_p1_asker', live: false },
        ],
      },
    });
    expect(JSON.parse(await sh('bundle list --json'))).toMatchObject([{ name: 'steps_v2' }]);
    expect(await sh('bundle disable steps_v2 --wait')).toBe('steps_v2 2: disabled\n');
    expect(await sh('bundle list; cat /proc/klpbundle_core')).toMatch(/^\S+ 1\b/);
  });

  it('tells of a transition that goes on, and with --wait who holds it up', async () => {
    await machine('v2');
    await sh('modprobe klpbundle_asker');
    expect(await sh('bundle enable v2')).toMatch(/^steps_v2 2: patching; 1 of 3 members live/);
    const late = await sh('bundle disable steps_v2 --timeout 1ms');
    expect(late).toMatch(/^bundle: the transition of 'steps_v2' is not over\nsteps_v2: unpatching for /);
    expect(late).toMatch(/\[exit status 1\]\n$/);
    const json = JSON.parse((await sh('bundle disable steps_v2 --json')).split('\n')[0]);
    expect(json.error).toMatchObject({ code: 'EINVAL' });
  });

  it('shows what the kernel said when it refused', async () => {
    await machine('bad_hash');
    const path = '/lib/modules/6.1.0-56-amd64/extra/bad_hash.klpb';
    const reason = `livepatch: bundle ${path}: member klpbundle_p1_core.ko is not the file whose SHA-256 the manifest has`;
    expect(await sh('bundle enable bad_hash')).toBe(
      `bundle: ${path} is not enabled: Bad message\n  ${reason}\n[exit status 1]\n`,
    );
    expect(JSON.parse((await sh('bundle enable bad_hash --json')).split('\n')[0])).toEqual({
      error: { code: 'EBADMSG', message: `${path} is not enabled: Bad message`, log: [reason] },
    });
  });

  it.each(['bad_callback', 'bad_reloc', 'bad_target', 'bad_tar', 'bad_two_objects'])(
    'leaves the machine as it was when %s is refused',
    async (name) => {
      await machine('v1', name);
      const world = new World(session.machine);
      await sh('modprobe klpbundle_top; sleep 1; bundle enable v1 --wait; bundle disable steps_v1 --wait');
      const before = rest(world);
      expect(await sh(`bundle enable ${name} --wait`)).toMatch(
        /is not enabled: .*\n {2}livepatch: (.|\n)*\[exit status 1\]\n$/,
      );
      expect(rest(world)).toEqual(before);
      expect(await sh('bundle enable v1 --wait')).toBe('steps_v1 1: enabled; 4 of 4 members live\n');
    },
  );

  it('says what is wrong with its arguments, and that the classic model has no bundles', async () => {
    await machine();
    expect(await sh('bundle enable nosuch')).toMatch(
      /extra\/nosuch.klpb: No such file or directory\n\[.* 1\]/,
    );
    expect(await sh('bundle disable nosuch')).toBe(
      "bundle: no bundle 'nosuch' is enabled\n[exit status 1]\n",
    );
    expect(await sh('bundle')).toMatch(/^bundle: usage: .*\n\[exit status 2\]\n$/);
    expect(await sh('bundle list --loud')).toMatch(/unrecognized option '--loud'\n\[exit status 2\]\n$/);
    expect(await sh('bundle list --timeout soon')).toMatch(/invalid time interval 'soon'\n\[.* 2\]\n$/);
    session.machine.close();
    session = await Session.boot([]);
    expect(await sh('bundle list')).toBe(
      'bundle: this machine is of the classic model: --model bundle boots another\n[exit status 1]\n',
    );
  });

  it('is completed', async () => {
    await machine('v1');
    expect(complete(session.shell.context, 'bundle e')[0]).toEqual(['enable ']);
    expect(complete(session.shell.context, 'bundle enable v')[0]).toEqual(['v1 ']);
    await sh('bundle enable v1');
    expect(complete(session.shell.context, 'bundle disable s')[0]).toEqual(['steps_v1 ']);
  });
});
