// A debugger's side of the protocol, in the same process: packets out, answers back.

import { Connection } from '../../src/gdb/connection.ts';
import { escaped, framed, PacketReader } from '../../src/gdb/packet.ts';
import { Session } from '../../src/gdb/session.ts';
import { Checkpoints } from '../../src/history/checkpoints.ts';
import { type DrivenOptions, scenarioProgram } from '../../src/history/driven_run.ts';
import { loadScenario } from '../../src/scenario/parse.ts';
import type { Scenario } from '../../src/scenario/scenario.ts';

const scenario = (name: string): Scenario =>
  loadScenario(`fixtures/scenarios/${name}.yaml`, { allowFiles: false });

export class Client {
  readonly session: Session;
  readonly checkpoints: Checkpoints;
  readonly #connection: Connection;
  readonly #reader = new PacketReader();
  /** What the stub said to the person, and what it has sent that nobody has read. */
  said = '';
  readonly #answers: string[] = [];
  #wake: () => void = () => {};
  sent = '';

  static async start(name: string, options: DrivenOptions = {}): Promise<Client> {
    const checkpoints = new Checkpoints(scenarioProgram(scenario(name), options));
    return new Client(new Session(await checkpoints.boot(), checkpoints), checkpoints);
  }

  constructor(session: Session, checkpoints: Checkpoints) {
    this.session = session;
    this.checkpoints = checkpoints;
    this.#connection = new Connection(session, (bytes) => this.#hear(bytes));
  }

  #hear(bytes: string): void {
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
  raw(bytes: string): void {
    this.#connection.take(bytes);
  }
  get done() {
    return this.#connection.done;
  }
  lost(): void {
    this.#connection.lost();
  }

  async ask(packet: string): Promise<string> {
    this.#answers.length = 0;
    this.raw(framed(escaped(packet)));
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

  address(symbol: string): bigint {
    return this.session.machine.inspect.core.symbols.require(symbol);
  }

  close(): void {
    this.session.close();
    this.checkpoints.close();
  }
}
