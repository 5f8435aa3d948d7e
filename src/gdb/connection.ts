// One debugger: its packets one after the other, acknowledged until it wants that no more; a Ctrl-C is heard at any time.
//
// Invariant: a packet that came damaged is asked for again, an answer that came damaged is sent again; whatever comes, the
// machine is left as it is.

import { DebugError } from '../history/error.ts';
import { hexText } from './hex.ts';
import { Monitor } from './monitor.ts';
import { framed, PacketReader } from './packet.ts';
import type { Session } from './session.ts';
import { type Farewell, Stub } from './stub.ts';

/** Packets that wait while the machine executes; a debugger sends none then. */
const MOST_WAITING = 256;

export class Connection {
  readonly #session: Session;
  readonly #send: (bytes: string) => void;
  readonly #stub: Stub;
  readonly #reader = new PacketReader();
  #acks = true;
  #last = '';
  readonly #waiting: string[] = [];
  #serving = false;
  #gone = false;
  /** Told how it ended, once. */
  readonly done: Promise<Farewell | 'lost'>;
  #end: (how: Farewell | 'lost') => void = () => {};

  /** @param send bytes to the debugger, one character a byte @throws DebugError */
  constructor(session: Session, send: (bytes: string) => void) {
    this.#session = session;
    this.#send = send;
    this.#stub = new Stub(session, new Monitor(session), (text) => this.#say(text));
    this.done = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  /** What has come from the debugger, any part of anything. */
  take(bytes: string): void {
    for (const incoming of this.#reader.take(bytes)) {
      if ('interrupt' in incoming) this.#session.interrupt();
      else if ('ack' in incoming) {
        if (!incoming.ack && this.#acks && this.#last !== '') this.#send(this.#last);
      } else if ('damaged' in incoming) {
        if (this.#acks) this.#send('-');
      } else {
        if (this.#acks) this.#send('+');
        if (this.#waiting.length < MOST_WAITING) this.#waiting.push(incoming.packet);
      }
    }
    void this.#serve();
  }

  /** The debugger is gone, or was never more: the machine stops where it is. */
  lost(): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#waiting.length = 0;
    if (this.#serving) this.#session.interrupt();
    else this.#end('lost');
  }

  async #serve(): Promise<void> {
    if (this.#serving) return;
    this.#serving = true;
    for (let packet = this.#waiting.shift(); packet !== undefined; packet = this.#waiting.shift()) {
      const answer = await this.#answer(packet);
      if (this.#gone) break;
      if (answer !== undefined) this.#packet(answer);
      // It is acknowledged still; from the next on nothing is.
      if (packet === 'QStartNoAckMode') this.#acks = false;
      if (this.#stub.farewell) {
        this.#gone = true;
        this.#end(this.#stub.farewell);
        return;
      }
    }
    this.#serving = false;
    if (this.#gone) this.#end('lost');
  }

  async #answer(packet: string): Promise<string | undefined> {
    try {
      return await this.#stub.answer(packet);
    } catch (error) {
      if (error instanceof DebugError) return 'E01';
      this.#say(`klpemu: ${(error as Error).message}\n`);
      return 'E01';
    }
  }

  #say(text: string): void {
    if (!this.#gone) this.#packet(`O${hexText(text)}`);
  }

  #packet(text: string): void {
    this.#last = framed(text);
    this.#send(this.#last);
  }
}
