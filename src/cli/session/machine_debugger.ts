// A debugger at a machine that commands have execute: it holds the machine while it stands still, and lets it go on for
// good when it leaves, however it does.

import { Connection } from '../../gdb/connection.ts';
import { Session } from '../../gdb/session.ts';
import { Checkpoints } from '../../history/checkpoints.ts';
import type { LiveMachine } from '../../history/live_machine.ts';
import type { ShellPast } from '../shell/past.ts';

export class MachineDebugger {
  readonly #connection: Connection;
  /** It has left, and the machine goes on. */
  readonly left: Promise<void>;

  /** @throws DebugError for a machine that cannot be debugged, which goes on */
  static async at(
    live: LiveMachine,
    past: ShellPast,
    send: (bytes: string) => void,
  ): Promise<MachineDebugger> {
    await live.hold();
    try {
      return new MachineDebugger(live, past, send);
    } catch (error) {
      await live.leave();
      throw error;
    }
  }

  private constructor(live: LiveMachine, past: ShellPast, send: (bytes: string) => void) {
    const history = new Checkpoints(past.program);
    // What cannot be executed again has no way back.
    const session = new Session(live, past.broken === undefined ? history : undefined);
    this.#connection = new Connection(session, send);
    this.left = this.#connection.done.then(async () => {
      session.close();
      history.close();
      await live.leave();
    });
  }

  take(bytes: string): void {
    this.#connection.take(bytes);
  }

  /** It is gone, without a word. */
  lost(): void {
    this.#connection.lost();
  }
}
