// klpemu explore over several processes, with a real Redis server between.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createServer } from 'node:net';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cli } from './klpemu.ts';

const SMALLEST = 'fixtures/scenarios/smallest.yaml';
const BOUNDED = [SMALLEST, '--searcher', 'bounded', '--preemptions', '1', '--time', '10m', '--json'];
const hasRedis = spawnSync('redis-server', ['--version']).status === 0;

let cli: Cli;
beforeAll(() => {
  cli = new Cli();
});
afterAll(() => cli.remove());

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Until it has printed that. */
async function said(child: ChildProcess, text: string): Promise<void> {
  let all = '';
  for await (const chunk of child.stdout ?? []) {
    all += chunk;
    if (all.includes(text)) return;
  }
  throw new Error(`ended without '${text}': ${all}`);
}

describe.skipIf(!hasRedis)('klpemu explore --queue, with redis-server', () => {
  let redis: ChildProcess;
  let url: string;
  beforeAll(async () => {
    const port = await freePort();
    url = `redis://127.0.0.1:${port}`;
    redis = spawn('redis-server', [
      '--port',
      String(port),
      '--bind',
      '127.0.0.1',
      '--save',
      '',
      '--dir',
      cli.dir,
    ]);
    await said(redis, 'Ready to accept connections');
    redis.stdout?.resume();
  });
  afterAll(() => redis.kill());

  const worker = async (): Promise<ChildProcess> => {
    const child = spawn(
      process.execPath,
      ['dist/cli/main.js', 'explore', SMALLEST, '--queue', url, '--worker'],
      {
        env: cli.env,
      },
    );
    await said(child, "executes schedules of '");
    return child;
  };

  /** Stops a worker that has taken a plan, and not given it back. */
  async function stoppedInPlan(child: ChildProcess): Promise<void> {
    const client = new Redis(url);
    for (;;) {
      const [active] = await client.keys('bull:klpemu-explore-*:active');
      child.kill('SIGSTOP');
      if (active && (await client.llen(active)) === 1) break;
      child.kill('SIGCONT');
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    client.disconnect();
  }

  it('has other processes execute the schedules; one that is killed loses nothing', async () => {
    const inProcess = JSON.parse(cli.run(['explore', ...BOUNDED, '--threads', '1']).stdout);
    const doomed = await worker();
    const { ended } = cli.start(['explore', ...BOUNDED, '--queue', url, '--threads', '8']);
    await stoppedInPlan(doomed);
    const other = await worker();
    doomed.kill('SIGKILL');
    const { status, stdout } = await ended;
    expect(status).toBe(0);
    const report = JSON.parse(stdout);
    expect(report.complete).toBe(true);
    expect(report.schedules + report.leftOut).toBe(inProcess.schedules + inProcess.leftOut);
    expect(report.pointless).toBe(inProcess.pointless);
    other.kill('SIGTERM');
    expect(await new Promise((resolve) => other.on('close', resolve))).toBe(0);
  });
});

describe('klpemu explore --queue', () => {
  it('refuses a server that is not there, in one line', async () => {
    const url = `redis://127.0.0.1:${await freePort()}`;
    const { status, stderr } = cli.run(['explore', SMALLEST, '--queue', url]);
    expect(status).toBe(2);
    expect(stderr).toMatch(/^klpemu: redis:\/\/127\.0\.0\.1:\d+: connect ECONNREFUSED[^\n]*\n$/);
  });

  it.each([
    [['--worker'], '--worker goes with --queue'],
    [['--queue', 'http://localhost'], 'It must be redis://HOST'],
  ])('refuses %j', (args, why) => {
    expect(cli.run(['explore', SMALLEST, ...args])).toMatchObject({
      status: 2,
      stderr: expect.stringContaining(why),
    });
  });
});
