// What a shell has done is executed again: `back` in the shell, and a debugger at a machine that commands have execute.

import { copyFileSync, mkdtempSync, rmSync, utimesSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { MachineDebugger } from '../../src/cli/session/machine_debugger.ts';
import { replyTo } from '../../src/cli/session/reply.ts';
import { bootShell, type KeptShell, type ShellMachineOptions } from '../../src/cli/shell/options.ts';
import { DrivenRun } from '../../src/history/driven_run.ts';
import { LiveMachine } from '../../src/history/live_machine.ts';
import { PacketClient } from '../gdb/packet_client.ts';

let kept: KeptShell;
let live: LiveMachine;
afterEach(() => kept.shell.context.guest.machine.close());

async function boot(
  options: ShellMachineOptions = {},
  interrupted: () => boolean = () => false,
): Promise<void> {
  kept = await bootShell(options, {
    interrupted,
    warn: () => {},
    drive: () => (condition, ns) => live.drive(condition, ns),
  });
  const { guest } = kept.shell.context;
  live = new LiveMachine(guest.machine, {
    get failure() {
      return guest.failure;
    },
    passes: (own) => kept.past.passes(own),
    changed: () => kept.past.changed(),
  });
}

/** A command line, as `klpemu exec` has it done. */
const run = (line: string) =>
  live.command(() => kept.past.perform(kept.shell, (on) => replyTo(on, { line })));
const position = (): number => kept.shell.context.guest.machine.inspect.executor.instructions;

const PATCH = 'modprobe klpdemo_patch_vmlinux; sleep 2';

describe('back in the shell', () => {
  it.each([
    ['write cmdline_proc_show', /^write to cmdline_proc_show: cc -> e8\nmodprobe:\d+ on CPU \d, in klp_/],
    ['write cmdline_proc_show+4/1', /^write to cmdline_proc_show\+4\/1: 00 -> /],
    ['change init.patch_state', /^change of init\.patch_state: 01 00 00 00 -> ff ff ff ff\nkworker/],
    ["change 'cmdline_proc_show->transition'", /^change of cmdline_proc_show->transition: 01 -> 00\nkworker/],
    ['call klp_ftrace_handler', /^call of klp_ftrace_handler\ncat:\d+ on CPU \d, in klp_ftrace_handler,/],
    ['dmesg enabling patch', /^line with 'enabling patch'\nmodprobe:/],
  ])('answers %s with stack, code and what came before', async (what, told) => {
    await boot();
    await run(PATCH);
    await run('cat /proc/cmdline');
    const before = [position(), kept.shell.context.guest.machine.now()];
    const { status, stdout, stderr } = await run(`back ${what}`);
    expect([status, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(told);
    expect(stdout).toMatch(
      /\n {2}\S+\+0x\S+\n[\s\S]*\ncode:\n[\s\S]*\nbefore it:\n(?: {2}.*\n){3}there: instruction \d+\n$/,
    );
    // The machine is where it was.
    expect([position(), kept.shell.context.guest.machine.now()]).toEqual(before);
  });

  it('looks back from a time, an instruction or a line of the log, in the same line of commands too', async () => {
    await boot();
    const { stdout } = await run(`${PATCH}; back write cmdline_proc_show`);
    const [, at = ''] = /there: instruction (\d+)/.exec(stdout) ?? [];
    const earlier = await run(`back --from 'instruction ${at}' write cmdline_proc_show`);
    expect(earlier.stdout).toMatch(/^write to cmdline_proc_show: 0f -> cc\n/);
    expect((await run(`back --from 'patching complete' write cmdline_proc_show`)).stdout).toBe(stdout);
    expect((await run('back --from 1ms write cmdline_proc_show')).status).toBe(1);
    const json = JSON.parse((await run('back --json write cmdline_proc_show')).stdout);
    expect(json).toMatchObject({
      what: 'write to cmdline_proc_show',
      found: { position: Number(at), after: 'e8' },
    });
  });

  it.each([
    ['back', /^back: to what\?/],
    ['back hop', /^back: 'hop' is nothing that can be looked for/],
    ['back write nosuch', /^back: no symbol nosuch at that moment/],
    ['back --from nowhere write jiffies_64', /^back: no line of the log has 'nowhere'/],
    ['back --until 3 write jiffies_64', /^back: unrecognized option '--until'/],
  ])('refuses `%s` with a reason', async (line, reason) => {
    await boot();
    const { status, stderr } = await run(line);
    expect(stderr).toMatch(reason);
    expect(status).toBe(2);
  });

  it('refuses to go back when a module has changed on the disk since', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'past-'));
    try {
      const file = join(dir, 'klpdemo_patch_vmlinux.ko');
      copyFileSync('fixtures/modules/klpdemo_patch_vmlinux.ko', file);
      await boot({ dir: [dir] });
      await run(PATCH);
      utimesSync(file, 1, 1);
      const { status, stderr } = await run('back write cmdline_proc_show');
      expect([status, stderr]).toEqual([
        2,
        `back: ${file} is another than it was: what was done cannot be executed again\n`,
      ]);
    } finally {
      rmSync(dir, { recursive: true });
    }
  });

  it('refuses to go back on a machine that has executed what was not kept', async () => {
    await boot();
    await kept.shell.execute(PATCH);
    const { status, stderr } = await run('back write cmdline_proc_show');
    expect([status, stderr]).toEqual([2, 'back: what was done with this machine was not kept\n']);
  });

  it('executes what was done as it was, a command that was given up too', async () => {
    let asked = false;
    await boot({}, () => asked);
    await run(PATCH);
    asked = true;
    expect((await run('sleep 100')).status).toBe(130);
    asked = false;
    await run('cat /proc/cmdline; lsmod; sysctl kernel.ostype');
    const again = await DrivenRun.boot(kept.past.program);
    try {
      await again.go(Number.POSITIVE_INFINITY);
      expect(again.over).toBe('that is all that was executed');
      expect(again.machine.inspect.executor.instructions).toBe(position());
      expect(again.machine.now()).toBe(kept.shell.context.guest.machine.now());
      expect(again.machine.dmesg()).toEqual(kept.shell.context.guest.machine.dmesg());
    } finally {
      again.close();
    }
  });
});

describe('a debugger at a machine that is up', () => {
  let client: PacketClient;
  let attached: MachineDebugger;
  const come = async (): Promise<void> => {
    client = new PacketClient();
    attached = await MachineDebugger.at(live, kept.past, (bytes) => client.hear(bytes));
    client.connect((bytes) => attached.take(bytes));
  };
  const address = (symbol: string): string =>
    kept.shell.context.guest.machine.inspect.core.symbols.require(symbol).toString(16);

  it('meets a breakpoint in a command of somebody else, which ends when it has gone on', async () => {
    await boot();
    await run(PATCH);
    await come();
    await client.ask(`Z0,${address('klp_ftrace_handler')},1`);
    const met = client.ask('vCont;c');
    let isOver = false;
    const command = run('cat /proc/cmdline').finally(() => {
      isOver = true;
    });
    expect(await met).toMatch(/^T05/);
    const { machine } = kept.shell.context.guest;
    expect(machine.inspect.core.sym(machine.inspect.smp.current?.pc ?? 0n)).toMatch(
      /^klp_ftrace_handler\+0x0/,
    );
    await new Promise(setImmediate);
    expect(isOver).toBe(false);
    await client.ask('D');
    expect((await command).stdout).toContain('livepatched');
    await attached.left;
  });

  it.each([
    ['detaches', () => client.ask('D')],
    ['is killed', async () => client.raw('k')],
    [
      'goes without a word, in the midst of a packet',
      async () => {
        client.bytes('$vCo');
        attached.lost();
      },
    ],
    [
      'goes while the machine executes',
      async () => {
        client.raw('vCont;c');
        attached.lost();
      },
    ],
  ])('has it go on as if nothing had been when it %s', async (_, leave) => {
    await boot();
    await run(PATCH);
    await come();
    await client.ask(`Z0,${address('klp_ftrace_handler')},1`);
    await client.ask('vCont;s:1');
    // A command waits for whoever holds the machine.
    let isOver = false;
    const waits = run('cat /proc/cmdline').finally(() => {
      isOver = true;
    });
    await new Promise(setImmediate);
    expect(isOver).toBe(false);
    await leave();
    expect((await waits).stdout).toContain('livepatched');
    await attached.left;
    expect((await run('cat /sys/kernel/livepatch/klpdemo_patch_vmlinux/enabled')).stdout).toBe('1\n');
    // What was stepped is part of what was done.
    expect((await run('back call klp_ftrace_handler')).stdout).toMatch(/^call of klp_ftrace_handler\ncat:/);
  });

  it('goes back into what was, and comes forth to the machine again', async () => {
    await boot();
    const reader = Number((await run('start reader /proc/cmdline 5')).stdout);
    await run(PATCH);
    const here = position();
    await come();
    const site = address('cmdline_proc_show');
    await client.ask(`Z2,${site},1`);
    expect(await client.ask('bc')).toContain(`watch:${site};`);
    expect(await client.ask(`m${site},1`)).toBe('cc');
    // The past is looked at, and not changed.
    expect(await client.ask(`M${site},1:90`)).toBe('E01');
    expect(client.said).toContain('the past of a machine that is up');
    expect(await client.ask('vCont;c')).toContain(`watch:${site};`);
    expect(await client.ask(`m${site},1`)).toBe('e8');
    await client.ask(`z2,${site},1`);
    await client.monitor(`goto instruction ${here}`);
    expect(await client.ask(`vCont;s:${reader.toString(16)}`)).toContain(`thread:${reader.toString(16)};`);
    expect(position()).toBeGreaterThan(here);
    await client.ask('D');
    await attached.left;
  });

  it('that has written to it leaves it without a way back, which is said', async () => {
    await boot();
    await run(PATCH);
    await come();
    expect(await client.ask(`M${address('jiffies_64')},1:ff`)).toBe('OK');
    await client.ask('D');
    await attached.left;
    const { status, stderr } = await run('back write cmdline_proc_show');
    expect(status).toBe(2);
    expect(stderr).toMatch(/^back: since instruction \d+ it is another history: a debugger has written/);
  });

  it('stops it in the midst of a command when it comes', async () => {
    await boot();
    const long = run('sleep 3000; echo done');
    await new Promise((resolve) => setTimeout(resolve, 1));
    await come();
    const at = position();
    await new Promise(setImmediate);
    expect(position()).toBe(at);
    await client.ask('D');
    expect((await long).stdout).toBe('done\n');
  });
});
