// klpemu serve without a browser: who may speak to it, and what a machine does that is watched, stopped and gone back with.

import type { ChildProcess } from 'node:child_process';
import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HEADERS } from '../../src/cli/serve/guard.ts';
import { controlOf } from '../../src/cli/serve/words.ts';
import type { LiveHappened, LiveMessage, LiveSaid, LiveState } from '../../src/timeline/live_format.ts';
import { Cli } from './klpemu.ts';

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: string;
}

/** A request with whatever headers somebody may send. */
function ask(
  url: URL,
  path: string,
  { method = 'GET', headers = {}, body = '' }: { method?: string; headers?: object; body?: string } = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const made = request(
      { host: url.hostname, port: url.port, path, method, headers: { Host: url.host, ...headers } },
      (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
        });
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text }),
        );
      },
    );
    made.on('error', reject);
    made.end(body);
  });
}

type Event = { readonly t: number; readonly type: string } & Readonly<Record<string, unknown>>;

/** One that looks on, as the page does. */
class Watcher {
  /** Of the machine that is there. */
  events: Event[] = [];
  machines = 0;
  readonly said: LiveSaid[] = [];
  state: LiveState | undefined;
  readonly #url: URL;
  #waiting: (() => void)[] = [];

  constructor(url: URL) {
    this.#url = url;
    const made = request(
      { host: url.hostname, port: url.port, path: `${url.pathname}stream` },
      (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
          for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
            this.#hear(JSON.parse(text.slice('data: '.length, end)) as LiveMessage);
            text = text.slice(end + 2);
          }
        });
        response.on('error', () => {});
      },
    );
    made.on('error', () => {});
    made.end();
  }

  #hear(message: LiveMessage): void {
    if ('begin' in message) {
      this.events = [];
      this.state = undefined;
      this.machines++;
    } else if ('happened' in message)
      this.events.push(...((message.happened as LiveHappened).events as Event[]));
    else if ('said' in message) this.said.push(message.said);
    else this.state = message.state;
    for (const look of this.#waiting.splice(0)) look();
  }

  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  async asked(asked: object): Promise<void> {
    const body = JSON.stringify(asked);
    const headers = { Origin: this.#url.origin, 'Content-Type': 'application/json' };
    const { status } = await ask(this.#url, `${this.#url.pathname}ask`, { method: 'POST', headers, body });
    expect(status).toBe(200);
  }

  /** Types a command, and waits for what comes of it. */
  async typed(line: string): Promise<LiveSaid> {
    const before = this.said.length;
    const answer = (): LiveSaid | undefined => this.said.slice(before).find((each) => each.line === line);
    await this.asked({ line });
    await this.until(() => answer() !== undefined);
    return answer() as LiveSaid;
  }

  /** Lets time pass, and waits until it does: what is told later is of behind that. */
  async played(): Promise<void> {
    await this.asked({ do: 'play' });
    await this.until(() => this.state?.mode !== 'paused');
  }

  async paused(): Promise<LiveState> {
    await this.asked({ do: 'pause' });
    await this.until(() => this.state?.mode === 'paused');
    return this.state as LiveState;
  }

  /** Steps, and waits until it stands still elsewhere: where it stands may be told more than once. */
  async stepped(asked: object): Promise<LiveState> {
    const before = this.state?.instructions;
    await this.asked(asked);
    await this.until(() => this.state?.instructions !== before && this.state?.mode === 'paused');
    return this.state as LiveState;
  }
}

describe('klpemu serve', () => {
  let cli: Cli;
  let child: ChildProcess;
  let ended: Promise<{ status: number | null }>;
  let url: URL;
  let watcher: Watcher;

  beforeAll(async () => {
    cli = new Cli();
    const started = cli.start(['serve']);
    ({ child, ended } = started);
    url = new URL(await new Promise<string>((resolve) => child.stdout?.once('data', resolve)));
    watcher = new Watcher(url);
  });
  afterAll(async () => {
    child?.kill('SIGKILL');
    cli.remove();
  });

  describe('lets nobody in', () => {
    const good = () => ({ Origin: url.origin, 'Content-Type': 'application/json' });
    const post = (path: string, headers: object, body = '{"do":"pause"}') =>
      ask(url, path, { method: 'POST', headers, body });

    it('without the token, with a part of it, or with one more character', async () => {
      const token = url.pathname.slice(1, -1);
      expect(Buffer.from(token, 'base64url').length).toBe(32);
      for (const path of ['/', '/ask', '/stream', `/${token.slice(0, -1)}/`, `/${token}x/`, `/${token}`])
        expect((await ask(url, path)).status, path).toBe(404);
      expect((await ask(url, url.pathname)).status).toBe(200);
    });

    it('under the name of another host that leads here', async () => {
      for (const Host of ['evil.example', `evil.example:${url.port}`, '127.0.0.1', `127.0.0.1:${url.port}0`])
        expect((await ask(url, url.pathname, { headers: { Host } })).status, Host).toBe(403);
      const localhost = { Host: `localhost:${url.port}` };
      expect((await ask(url, url.pathname, { headers: localhost })).status).toBe(200);
    });

    it('from a page of another origin, or without one, though it knows the token', async () => {
      const path = `${url.pathname}ask`;
      for (const Origin of [
        'http://evil.example',
        'null',
        `https://${url.host}`,
        `http://localhost:${url.port}`,
      ])
        expect((await post(path, { ...good(), Origin })).status, Origin).toBe(403);
      expect((await post(path, { 'Content-Type': 'application/json' })).status).toBe(403);
      for (const site of ['cross-site', 'same-site'])
        expect((await ask(url, url.pathname, { headers: { 'Sec-Fetch-Site': site } })).status).toBe(403);
      expect(
        (await ask(url, `${url.pathname}stream`, { headers: { Origin: 'http://evil.example' } })).status,
      ).toBe(403);
    });

    it('with a form of another page, another method, or what is no question', async () => {
      const path = `${url.pathname}ask`;
      for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data'])
        expect((await post(path, { ...good(), 'Content-Type': type })).status, type).toBe(415);
      for (const method of ['PUT', 'DELETE', 'OPTIONS'])
        expect((await ask(url, path, { method, headers: good() })).status, method).toBe(405);
      for (const body of [
        '',
        '{',
        '[]',
        '{"do":"reboot"}',
        '{"do":"step","count":0}',
        '{"line":1}',
        '{"line":"ls","do":"play"}',
      ])
        expect((await post(path, good(), body)).status, body).toBe(400);
      expect((await post(path, good(), JSON.stringify({ line: 'x'.repeat(70_000) }))).status).toBe(413);
      expect((await post(`${url.pathname}other`, good())).status).toBe(404);
      for (const file of ['../package.json', 'live.js/..', 'constructor', '__proto__'])
        expect((await ask(url, url.pathname + file)).status, file).toBe(404);
    });

    it('and tells browsers to load nothing from elsewhere, and to show it in no frame', async () => {
      for (const path of [url.pathname, `${url.pathname}live.js`, `${url.pathname}live.css`, '/']) {
        const { headers, body } = await ask(url, path);
        for (const [name, value] of Object.entries(HEADERS)) expect(headers[name.toLowerCase()]).toBe(value);
        expect(body).not.toMatch(/\b(src|href)="?(https?:)?\/\//);
      }
      expect(HEADERS['Content-Security-Policy']).toContain("default-src 'none'");
    });

    it('but on the loopback interface', () => {
      expect(url.hostname).toBe('127.0.0.1');
    });
  });

  it('has tasks switch while somebody looks on, after a livepatch was loaded', async () => {
    await watcher.asked({ do: 'speed', speed: 20 });
    expect(await watcher.typed('modprobe klpdemo_target hold_ms=300 period_ms=100')).toMatchObject({
      status: 0,
    });
    expect(await watcher.typed('modprobe klpdemo_patch_target')).toMatchObject({ status: 0, stderr: '' });
    const switched = () => watcher.events.filter(({ type }) => type === 'patch_state');
    const isOver = () =>
      watcher.events.some(({ type, what }) => type === 'transition' && what === 'complete');
    await watcher.until(isOver);
    // Until something has happened behind it that nobody typed.
    const { length } = watcher.events;
    await watcher.until(() => watcher.events.length > length + 10);
    expect(switched().map(({ comm }) => comm)).toContain('klpdemo_worker');
    expect(await watcher.typed('grep -c mixed /proc/klpdemo; false')).toMatchObject({
      status: 1,
      stdout: '1\n',
    });
  });

  it('knows who wrote a byte, though time has passed by itself', async () => {
    await watcher.paused();
    const { stdout, status, stderr } = await watcher.typed('back write klpdemo_round');
    expect([status, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/^write to klpdemo_round: cc -> e8\nmodprobe:\d+ on CPU \d, in klp_enable_patch/);
    const [, there] = /there: back instruction (\d+)/.exec(stdout) ?? [];
    const poke = watcher.events.findLast(
      ({ type, where }) => type === 'poke' && String(where).startsWith('klpdemo_round'),
    );
    expect(poke).toMatchObject({ step: 'first byte' });
    expect(Number(there)).toBeGreaterThan(1000);
    await watcher.played();
  });

  it('stands still when it is told to, and goes on by as many instructions as it is told', async () => {
    const { instructions, now } = await watcher.paused();
    expect(await watcher.stepped({ do: 'step', count: 1 })).toMatchObject({ instructions: instructions + 1 });
    const third = await watcher.stepped({ do: 'step', count: 2 });
    expect(third).toMatchObject({ instructions: instructions + 3 });
    expect(third.now).toBeGreaterThanOrEqual(now);
    expect(third.cpus.filter(({ isNext }) => isNext)).toHaveLength(1);
    for (const { at, insn } of third.cpus) expect([at, insn]).not.toContain('');
  });

  it('goes back to where nothing is another than it was, and from there on is the same again', async () => {
    await watcher.paused();
    const before = [...watcher.events];
    const completion = before.findIndex(({ type, what }) => type === 'transition' && what === 'complete');
    const { t } = before[completion];
    const { machines } = watcher;
    await watcher.asked({ do: 'back', to: { now: t } });
    await watcher.until(() => watcher.machines > machines && watcher.state?.mode === 'paused');
    const { length } = watcher.events;
    expect(watcher.events).toEqual(before.slice(0, length));
    expect(watcher.events.at(-1)?.t).toBeLessThanOrEqual(t);
    expect(Math.abs(length - completion)).toBeLessThan(20);
    await watcher.played();
    await watcher.until(() => watcher.events.length > completion + 5);
    const again = watcher.events.slice(0, completion + 5);
    expect(again).toEqual(before.slice(0, again.length));
  });

  it('goes back to an instruction in the midst of a command, which goes on from there', async () => {
    const { instructions: first } = await watcher.paused();
    // Carried out by a machine that stands still before and behind it.
    const { stdout } = await watcher.typed('cat /proc/klpdemo /proc/modules');
    await watcher.until(() => watcher.state?.mode === 'paused' && watcher.state.instructions > first);
    const middle = Math.round((first + (watcher.state?.instructions ?? 0)) / 2);
    const { machines } = watcher;
    await watcher.asked({ do: 'back', to: { instructions: middle } });
    await watcher.until(() => watcher.machines > machines && watcher.state?.mode === 'paused');
    expect(watcher.state).toMatchObject({ instructions: middle });
    expect(await watcher.typed('uname -r')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("'cat /proc/klpdemo /proc/modules' is under way"),
    });
    const answers = watcher.said.length;
    await watcher.played();
    await watcher.until(() => watcher.said.slice(answers).some(({ line }) => line?.startsWith('cat')));
    expect(watcher.said.at(-1)).toMatchObject({ status: 0, stdout });
    expect(await watcher.typed('uname -r')).toMatchObject({ status: 0 });
  });

  it('ends a command that does not end when Ctrl-C is pressed, also while it stands still', async () => {
    const sleeping = watcher.typed('sleep 100000000');
    await watcher.until(() => watcher.state?.mode === 'command');
    await watcher.paused();
    await watcher.asked({ do: 'interrupt' });
    expect(await sleeping).toMatchObject({ status: 130 });
  });

  it('says what is wrong with what is typed', async () => {
    expect(await watcher.typed('step 0')).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('step: '),
    });
    expect(await watcher.typed('nonsense')).toMatchObject({ status: 127 });
    await watcher.asked({ do: 'back', to: { now: 1e17 } });
    await watcher.until(() => watcher.said.some(({ stderr }) => stderr.includes('no moment that is over')));
  });

  it('ends by a signal with 0, and its port is free then', async () => {
    child.kill('SIGINT');
    expect((await ended).status).toBe(0);
    await expect(ask(url, url.pathname)).rejects.toThrow(/ECONNREFUSED/);
  });

  it('says that the guest panicked, and ends by a signal with 3 then', async () => {
    const dying = cli.start(['serve']);
    const at = new URL(await new Promise<string>((resolve) => dying.child.stdout?.once('data', resolve)));
    const present = new Watcher(at);
    await present.asked({ line: 'kill -9 1; sleep 1' });
    await present.until(() => present.state?.failure !== undefined);
    expect(present.state?.failure).toContain('Attempted to kill init!');
    dying.child.kill('SIGINT');
    expect((await dying.ended).status).toBe(3);
  });

  it('has exit code 2 for a port that somebody has, or that is none', async () => {
    const first = cli.start(['serve']);
    const taken = new URL(await new Promise<string>((resolve) => first.child.stdout?.once('data', resolve)));
    const { status, stderr } = cli.run(['serve', '--port', taken.port]);
    expect(status).toBe(2);
    expect(stderr).toBe(
      `klpemu: port ${taken.port} of 127.0.0.1 cannot be used: address already in use 127.0.0.1:${taken.port}\n`,
    );
    expect(cli.run(['serve', '--port', '70000']).status).toBe(2);
    first.child.kill('SIGTERM');
    expect((await first.ended).status).toBe(0);
  });
});

describe('words about time', () => {
  it.each([
    ['play', { do: 'play' }],
    [' step ', { do: 'step', count: 1 }],
    ['step 40', { do: 'step', count: 40 }],
    ['speed 0.01', { do: 'speed', speed: 0.01 }],
    ['back', { do: 'back', to: undefined }],
    ['back 1.2s', { do: 'back', to: { now: 1.2e9 } }],
    ['back instruction 77', { do: 'back', to: { instructions: 77 } }],
  ])('%s', (line, control) => {
    expect(controlOf(line)).toEqual(control);
  });

  it.each(['step 0', 'step many', 'speed', 'speed -1', 'speed 1e9', 'back instruction x'])(
    '%s is told',
    (line) => {
      expect(controlOf(line)).toBeTypeOf('string');
    },
  );

  it.each(['modprobe x', 'ls', 'back --to write', 'pause now'])('%s is the shell’s', (line) => {
    expect(controlOf(line)).toBeUndefined();
  });
});
