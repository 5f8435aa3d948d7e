import { afterEach, describe, expect, it } from 'vitest';
import { Session } from './session.ts';

let session: Session;
const sh = (line: string): Promise<string> => session.sh(line);
const PATCH = '/sys/kernel/livepatch/klpdemo_patch_target';

/** A machine on which the transition of klpdemo_patch_target is held open by a reader in klpdemo_show. */
async function stalled(options = {}): Promise<void> {
  session = await Session.boot(['klpdemo_target', 'klpdemo_patch_target'], options);
  await sh('modprobe klpdemo_target; sleep 1');
}

afterEach(() => session.machine.close());

describe('why', () => {
  it('has nothing to say where no transition is under way', async () => {
    await stalled();
    expect(await sh('why')).toBe('no transition is under way\n');
    expect(await sh('why --json')).toBe('null\n');
  });

  it('agrees with the livepatch core on who is blocked, and by what', async () => {
    await stalled({ debug: true });
    let asked = 0;
    for (let round = 0; round < 12 && asked < 3; round++) {
      await sh('dmesg -C; modprobe klpdemo_patch_target');
      const explanation = session.machine.why();
      if (explanation) {
        expect(explanation).toMatchObject({ patch: 'klpdemo_patch_target', direction: 'patching' });
        for (const task of explanation.blocked.filter((each) => each.reason === 'sleeping on function')) {
          asked++;
          expect(await sh('dmesg')).toContain(
            `${task.comm}:${task.pid} is sleeping on function ${task.function}`,
          );
          expect(task.stack[task.frame ?? -1]).toContain(`${task.function}+`);
          expect(task.release.join()).toContain(`its return from ${task.function}`);
        }
      }
      await sh(
        `sleep 20; echo 0 > ${PATCH}/enabled; sleep 20; rmmod klpdemo_patch_target; sleep 0.${round}7`,
      );
    }
    expect(asked).toBeGreaterThan(0);
  });

  it('says of a machine without reliable stack traces that tasks are not looked at', async () => {
    await stalled({ unwinder: 'none' });
    await sh('start sleep 1000000');
    await sh('modprobe klpdemo_patch_target; sleep 1');
    const text = await sh('why');
    expect(text).toMatch(
      /^klpdemo_patch_target: patching for 1\.\d s, \d attempts?; \d+ switched, \d+ not\n/,
    );
    expect(text).toMatch(
      /^sleep:\d+ \(user task, S \(sleeping\)\) cannot be looked at: this machine has no reliable stack traces\n/m,
    );
    const { blocked } = JSON.parse(await sh('why --json'));
    const sleeper = blocked.find((task: { comm: string }) => task.comm === 'sleep');
    expect(sleeper).toMatchObject({ kind: 'user task', reason: 'no reliable stack traces' });
    expect(sleeper.release[0]).toBe('its next return to user mode');
    expect(await sh(`echo 1 > ${PATCH}/force; sleep 2; why`)).toBe('no transition is under way\n');
  });
});
