// A debugger's end of a line: packets out, answers back.

import { escaped, framed, PacketReader } from '../../src/gdb/packet.ts';

export class PacketClient {
  readonly #reader = new PacketReader();
  readonly #answers: string[] = [];
  #wake: () => void = () => {};
  #take: (bytes: string) => void = () => {};
  /** What the stub said to the person, and all that it has sent. */
  said = '';
  sent = '';

  /** @param take where what is said goes */
  connect(take: (bytes: string) => void): void {
    this.#take = take;
  }

  hear(bytes: string): void {
    this.sent += bytes;
    for (const incoming of this.#reader.take(bytes)) {
      if (!('packet' in incoming)) continue;
      const { packet } = incoming;
      if (/^O[0-9a-f]+$/.test(packet)) this.said += Buffer.from(packet.slice(1), 'hex').toString();
      else this.#answers.push(packet);
    }
    this.#wake();
  }

  /** Bytes as they are. */
  bytes(bytes: string): void {
    this.#take(bytes);
  }
  /** A packet whose answer nobody waits for. */
  raw(packet: string): void {
    this.bytes(framed(escaped(packet)));
  }

  async ask(packet: string): Promise<string> {
    this.#answers.length = 0;
    this.raw(packet);
    while (this.#answers.length === 0)
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    return this.#answers.shift() as string;
  }

  async monitor(line: string): Promise<string> {
    const answer = await this.ask(`qRcmd,${Buffer.from(line).toString('hex')}`);
    return answer === 'OK' ? '' : Buffer.from(answer, 'hex').toString();
  }
}
