// A debugger at a scenario, in the same process.

import { Connection } from '../../src/gdb/connection.ts';
import { Session } from '../../src/gdb/session.ts';
import { Checkpoints } from '../../src/history/checkpoints.ts';
import { type DrivenOptions, scenarioProgram } from '../../src/history/driven_run.ts';
import { loadScenario } from '../../src/scenario/parse.ts';
import type { Scenario } from '../../src/scenario/scenario.ts';
import { PacketClient } from './packet_client.ts';

const scenario = (name: string): Scenario =>
  loadScenario(`fixtures/scenarios/${name}.yaml`, { allowFiles: false });

export class Client {
  readonly session: Session;
  readonly checkpoints: Checkpoints;
  readonly #connection: Connection;
  readonly #line = new PacketClient();

  static async start(name: string, options: DrivenOptions = {}): Promise<Client> {
    const checkpoints = new Checkpoints(scenarioProgram(scenario(name), options));
    return new Client(new Session(await checkpoints.boot(), checkpoints), checkpoints);
  }

  constructor(session: Session, checkpoints: Checkpoints) {
    this.session = session;
    this.checkpoints = checkpoints;
    this.#connection = new Connection(session, (bytes) => this.#line.hear(bytes));
    this.#line.connect((bytes) => this.#connection.take(bytes));
  }

  /** What the stub said to the person, and what it has sent. */
  get said(): string {
    return this.#line.said;
  }
  get sent(): string {
    return this.#line.sent;
  }
  set sent(text: string) {
    this.#line.sent = text;
  }

  /** Bytes as they are. */
  raw(bytes: string): void {
    this.#line.bytes(bytes);
  }
  get done() {
    return this.#connection.done;
  }
  lost(): void {
    this.#connection.lost();
  }
  ask(packet: string): Promise<string> {
    return this.#line.ask(packet);
  }
  monitor(line: string): Promise<string> {
    return this.#line.monitor(line);
  }

  address(symbol: string): bigint {
    return this.session.machine.inspect.core.symbols.require(symbol);
  }

  close(): void {
    this.session.close();
    this.checkpoints.close();
  }
}
