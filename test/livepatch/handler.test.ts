// What klp_ftrace_handler() chooses where several patches have a version of a function, executed: a task that has not switched
// gets what was due before the transition, not the function as it was once.

import { afterEach, beforeEach, expect, it } from 'vitest';
import { Session, TARGET_PARAMETERS } from '../properties/session.ts';

const SECOND = 1e9;

let session: Session;
/** patch_state of the worker, and the version that it got of what it calls at the end of its round. */
let calls: string[];
afterEach(() => session.machine.close());
beforeEach(async () => {
  session = await Session.boot();
  calls = [];
  session.machine.events.subscribe(
    (event) => {
      if (
        event.type === 'call' &&
        event.comm === 'klpdemo_worker' &&
        event.func === 'klpdemo_check [klpdemo_target]'
      )
        calls.push(`${event.patchState}: ${event.version}`);
    },
    ['call'],
  );
  expect(session.insmod('target', 'hold_ms=1 period_ms=50')).toBe(0);
  expect(session.insmod('patch_target')).toBe(0);
  expect(session.settled()).toBe(true);
});

/** Has the worker stand in its round while that is done, and go on. */
function heldWhile(body: () => void): void {
  expect(session.echo('1', `${TARGET_PARAMETERS}/block`)).toBe(0);
  session.machine.runFor(SECOND / 4);
  body();
  calls = [];
  expect(session.echo('0', `${TARGET_PARAMETERS}/block`)).toBe(0);
  expect(session.settled()).toBe(true);
  // It may switch with the last of its calls in the transition: the next one is behind that, without a state.
  session.machine.runFor(SECOND / 4);
}

/** What it got, in order, each once: in the state of the transition's end, too, once that is over. */
const got = (end: 0 | 1): string[] => [...new Set(calls.map((call) => call.replace(/^-1/, `${end}`)))];

it("with a second patch on its way: the first one's function, and then the second one's", () => {
  heldWhile(() => expect(session.insmod('patch_both')).toBe(0));
  expect(got(1)).toEqual([
    '0: klpdemo_new_check [klpdemo_patch_target]',
    '1: klpdemo_new_check [klpdemo_patch_both]',
  ]);
});

it("with the second on its way back: the second one's, and then the first one's", () => {
  expect(session.insmod('patch_both')).toBe(0);
  expect(session.settled()).toBe(true);
  heldWhile(() => expect(session.wait(session.startWrite('klpdemo_patch_both', 'enabled', '0'))).toBe(0));
  expect(got(0)).toEqual([
    '1: klpdemo_new_check [klpdemo_patch_both]',
    '0: klpdemo_new_check [klpdemo_patch_target]',
  ]);
});
