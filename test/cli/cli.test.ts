import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildProgram } from '../built_program.ts';

const ROOT = join(import.meta.dirname, '../..');
const MODULES = join(ROOT, 'fixtures/modules');
const SMALLEST = 'fixtures/scenarios/smallest.yaml';
let dir: string;

beforeAll(() => {
  buildProgram();
  dir = mkdtempSync(join(tmpdir(), 'klpemu-cli-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function klpemu(...args: string[]) {
  // The scenarios are written to a temporary folder, and name modules of the fixtures.
  const files =
    ['run', 'stack', 'disas'].includes(args[0]) && args.some((arg) => arg.startsWith(dir))
      ? ['--allow-files']
      : [];
  const { status, stdout, stderr } = spawnSync(process.execPath, ['dist/cli/main.js', ...args, ...files], {
    cwd: ROOT,
    encoding: 'utf8',
  });
  return { status, stdout, stderr };
}

function scenario(name: string, text: string): string {
  const path = join(dir, `${name}.yaml`);
  writeFileSync(path, text);
  return path;
}

const VMLINUX = `
modules: [${MODULES}/klpdemo_patch_vmlinux.ko]
tasks: [{ program: reader, args: [/proc/cmdline, 3] }]
steps:
  - at: 20ms
    load: klpdemo_patch_vmlinux
  - until: { done: { patch: klpdemo_patch_vmlinux } }
  - read: /proc/cmdline
`;

describe('klpemu run', () => {
  it('tells of a livepatch as it takes effect, and ends with a table', () => {
    const { status, stdout, stderr } = klpemu('run', scenario('vmlinux', VMLINUX));
    expect(stderr).toBe('');
    expect(status).toBe(0);
    expect(stdout).toMatch(/^\[ +0\.\d{6}\] \$ insmod klpdemo_patch_vmlinux\.ko$/m);
    expect(stdout).toMatch(/^\[ +0\.\d{6}\] livepatch: enabling patch 'klpdemo_patch_vmlinux'$/m);
    expect(stdout).toMatch(/fentry site cmdline_proc_show\+0x0\/0x\w+ at ffffffff81\w+$/m);
    expect(stdout).toMatch(/before 0f 1f 44 00 00 {2}nopl/);
    expect(stdout).toMatch(
      /after {2}e8 (\w\w ){4} call 0xffffffffc0\w+ <ftrace_trampoline -> klp_ftrace_handler>$/m,
    );
    expect(stdout).toMatch(/switched by stack check init:1 \+0/);
    expect(stdout).toMatch(/^ +\| klpdemo: this command line was livepatched$/m);
    expect(stdout).toMatch(/^transition +tasks +stack +idle +born +blocked +half +last +ended$/m);
    expect(stdout).toMatch(/^klpdemo_patch_vmlinux patching +\d+ +\d+ /m);
    expect(stdout).toMatch(/^ok: 3 expectations held, /m);
    // No terminal: no colour, no progress bar.
    expect(stdout).not.toContain('\u001b');
  });

  it('leaves nothing of a trace out for a reader that is slow', async () => {
    const file = join(dir, 'whole.trace');
    klpemu('run', 'fixtures/scenarios/vmlinux.yaml', '--trace', file);
    const args = ['dist/cli/main.js', 'run', 'fixtures/scenarios/vmlinux.yaml', '--trace', '-'];
    const child = spawn(process.execPath, args, { cwd: ROOT });
    // More than a pipe holds is written before anyone reads.
    await new Promise((resolve) => setTimeout(resolve, 700));
    const pieces: Buffer[] = [];
    for await (const piece of child.stdout) pieces.push(piece as Buffer);
    expect(Buffer.concat(pieces).toString()).toBe(readFileSync(file, 'utf8'));
  });

  it('gives one object with --json, and a trace that is the same for the same seed', () => {
    const path = scenario('json', VMLINUX);
    const traces = ['a', 'b', 'c'].map((name, i) => {
      const file = join(dir, `${name}.jsonl`);
      const { stdout, status } = klpemu('run', path, '--json', '--seed', i < 2 ? '5' : '6', '--trace', file);
      expect(status).toBe(0);
      const report = JSON.parse(stdout);
      expect(report).toMatchObject({ ok: true, machine: { seed: i < 2 ? 5 : 6 } });
      expect(report.sites[0]).toMatchObject({ before: '0f 1f 44 00 00', handler: 'klp_ftrace_handler' });
      return readFileSync(file, 'utf8');
    });
    expect(traces[1]).toBe(traces[0]);
    expect(traces[2]).not.toBe(traces[0]);
    const events = traces[0]
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(events.some((event) => event.type === 'poke' && event.step === 'int3')).toBe(true);
  });

  it('prints stacks and code where the scenario asks for them', () => {
    const path = scenario(
      'snapshot',
      `steps:
  - load: ${MODULES}/klpdemo_target.ko
  - at: 10ms
    snapshot: { stack: klpdemo_worker, disassemble: ['klpdemo_target:klpdemo_round', nothing] }
`,
    );
    const { stdout } = klpemu('run', path);
    expect(stdout).toMatch(/^ +klpdemo_worker:\d+\n +\[<0>\] msleep\+0x/m);
    expect(stdout).toMatch(
      /^ +<klpdemo_round \[klpdemo_target\]>\n +ffffffffc0\w+: {2}0f 1f 44 00 00 +nopl/m,
    );
    expect(stdout).not.toContain('(bad)');
    expect(stdout).toMatch(/^ +nothing: no such symbol$/m);
  });

  it('prints the closing tables only with --quiet, each step of text poking with --verbose', () => {
    const path = scenario('loud', VMLINUX);
    expect(klpemu('run', path, '-q').stdout).toMatch(/^Old and new were never mixed/);
    const { stdout } = klpemu('run', path, '-v');
    expect(stdout).toMatch(/poke cmdline_proc_show\S+ int3: 0f 1f 44 00 00 -> cc 1f 44 00 00/);
    expect(stdout).toMatch(/exit insmod:\d+/);
  });

  it('exits with 1 when an expectation fails, and says what was seen instead', () => {
    const path = scenario('fails', 'steps: [{ wait: 1ms }]\nexpect:\n  dmesg: never printed\n');
    const { status, stdout } = klpemu('run', path);
    expect(status).toBe(1);
    expect(stdout).toContain(
      `FAILED ${path}:3:10: expect.dmesg\n  expected  kernel line 'never printed'\n  seen      the kernel log is empty\n`,
    );
  });

  it('exits with 2 for a bad scenario, each error printed once and in one line', () => {
    const path = scenario('bad', 'machine: { cpus: 0 }\nsteps: [{ immediate: 1 }]\n');
    const { status, stdout, stderr } = klpemu('run', path);
    expect(status).toBe(2);
    expect(stdout).toBe('');
    const lines = stderr.trim().split('\n');
    expect(lines).toHaveLength(2);
    expect(lines[0]).toBe(`${path}:1:18: machine.cpus: must be a whole number from 1 to 64`);
    expect(lines[1]).toContain('force');
    const json = JSON.parse(klpemu('run', '--json', path).stdout);
    expect(json.error).toMatchObject({
      code: 'ESCENARIO',
      file: path,
      line: 1,
      column: 18,
      path: 'machine.cpus',
    });
    expect(json.errors).toHaveLength(2);
  });

  it.each([
    [['run'], /missing required argument 'file'/],
    [['run', SMALLEST, '--seed', 'x'], /must be a whole number/],
    [['run', SMALLEST, '--what'], /unknown option '--what'/],
    [['frob'], /unknown command 'frob'/],
    [['run', 'no/such.yaml'], /^no\/such\.yaml:1:1: no such file\n$/],
    [['run', SMALLEST, '--trace', '/no/such/dir/file'], /no such file/],
    [['stack', SMALLEST, '--at', '5'], /must be a duration/],
    [['disas', SMALLEST, 'a b'], /'a b' is no place in guest text/],
    [['disas', SMALLEST, 'nothing'], /no symbol nothing at this moment/],
    [['stack', SMALLEST, '--task', 'nobody'], /no task nobody at this moment; there are init:1/],
  ])('exits with 2 for bad usage: %j', (args, message) => {
    const { status, stderr, stdout } = klpemu(...(args as string[]));
    expect(stderr).toMatch(message as RegExp);
    expect(stdout).toBe('');
    expect(status).toBe(2);
  });

  it('exits with 2 for a pose that nobody can stand in, though that shows in the middle of the run', () => {
    const path = scenario(
      'pose',
      'steps:\n  - wait: 1ms\n  - spawn: { pose: [cmdline_proc_show, schedule], for: 1s }\n',
    );
    const { status, stderr } = klpemu('run', path, '--quiet');
    const reason = 'cmdline_proc_show: no way of direct branches leads to a call of schedule';
    expect([status, stderr]).toEqual([2, `${path}:3:12: pose: ${reason}\n`]);
  });

  it('exits with 3 for an oops that was not expected', () => {
    const path = scenario('oops', `steps: [{ load: ${MODULES}/klpdemo_bad_null.ko, exit: killed }]`);
    const { status, stdout } = klpemu('run', path);
    expect(status).toBe(3);
    expect(stdout).toMatch(
      /FAILED after .*: kernel oops in insmod:\d+ at klpdemo_store\S+ \[klpdemo_bad_null\]: Oops: 0002/,
    );
  });

  const COLD = `machine: { cpus: 1, seed: 7 }
steps:
  - load: ${MODULES}/klpdemo_cold.ko
  - after: 50ms
    load: ${MODULES}/klpdemo_patch_cold.ko
  - until: { done: { patch: klpdemo_patch_cold } }
    within: 500ms
`;

  it('exits with 1, and claims nothing, when a transition passed over a task in a part of a function', () => {
    const { status, stdout } = klpemu('run', scenario('cold', COLD));
    expect(status).toBe(1);
    expect(stdout).toMatch(
      / hole klpdemo_cold:\d+ in klpdemo_step\.cold, a part of the original klpdemo_step: 'klpdemo_patch_cold' does not see it/,
    );
    expect(stdout).toContain('A transition passed over a task in a part of a replaced function');
    expect(stdout).not.toMatch(/never mixed|completed with no task/);
    expect(stdout).toMatch(/FAILED \S+cold\.yaml:\d+:\d+: steps\[1\]\n {2}expected {2}no task in code that/);
  });

  it('exits with 0 when the scenario expects that', () => {
    const hole =
      '{ task: klpdemo_cold, func: klpdemo_step, part: klpdemo_step.cold, patch: klpdemo_patch_cold }';
    const { status, stdout } = klpemu(
      'run',
      '--json',
      scenario('cold', `${COLD}  - check: { hole: ${hole} }\n`),
    );
    expect(status).toBe(0);
    expect(JSON.parse(stdout).holes).toMatchObject([{ comm: 'klpdemo_cold', part: 'klpdemo_step.cold' }]);
  });

  it('names who keeps a transition open that was waited for in vain, and with what it can be ended', () => {
    const text = `steps:
  - load: ${MODULES}/klpdemo_target.ko
    params: { block: 1 }
  - after: 200ms
    load: ${MODULES}/klpdemo_patch_target.ko
  - until: { done: { patch: klpdemo_patch_target } }
    within: 2s
`;
    const { status, stdout } = klpemu('run', '-q', scenario('stuck', text));
    expect(status).toBe(1);
    expect(stdout).toContain('A transition is not over; what was checked until now:');
    expect(stdout).toMatch(/FAILED \S+stuck\.yaml:6:\d+: steps\[2\]\.until\.done/);
    expect(stdout).toMatch(
      /klpdemo_worker:\d+ \(kernel thread, S \(sleeping\)\) is sleeping on function klpdemo_round/,
    );
    expect(stdout).toMatch(/released by: its return from klpdemo_round[\s\S]*or: echo 1 > force/);
  });

  it('exits with 3 when there is no engine of that name here, and says how to get one', () => {
    const { status, stderr } = spawnSync(
      process.execPath,
      ['dist/cli/main.js', 'run', SMALLEST, '--engine', 'unicorn'],
      {
        cwd: ROOT,
        encoding: 'utf8',
        env: { ...process.env, KLPEMU_UNICORN: '/no/such/library' },
      },
    );
    expect(status).toBe(3);
    expect(stderr).toBe('klpemu: KLPEMU_UNICORN=/no/such/library: no such file\n');
  });

  it('has help with an example for every command, and the exit codes', () => {
    for (const command of ['run', 'stack', 'disas']) {
      const { stdout, status } = klpemu(command, '--help');
      expect(status).toBe(0);
      expect(stdout).toMatch(new RegExp(`Example:\\n  klpemu ${command} `));
    }
    expect(klpemu('--help').stdout).toContain('3  guest panic');
    expect(klpemu('help')).toEqual(klpemu('--help'));
    expect(klpemu('help', 'run')).toEqual(klpemu('run', '--help'));
  });

  it('tells how to build a module that fits, and where more stands', () => {
    const { status, stdout, stderr } = klpemu('help', 'modules');
    expect([status, stderr]).toEqual([0, '']);
    const page = readFileSync(join(ROOT, 'docs/modules.md'), 'utf8');
    const commands = stdout.match(/^ {2}(?:echo|make|cp|chroot) .*$/gm) ?? [];
    expect(commands).toHaveLength(4);
    for (const command of commands) expect(page).toContain(command.trim());
    expect(klpemu('--help').stdout).toContain(commands.slice(0, 2).join('\n'));
    const [, more = ''] = /^More, .*: (\S+)$/m.exec(stdout) ?? [];
    expect(readFileSync(join(ROOT, more), 'utf8')).toBe(page);
  });

  it('has no help on what there is not', () => {
    const { status, stdout, stderr } = klpemu('help', 'nosuch');
    expect([status, stdout]).toEqual([2, '']);
    expect(stderr).toBe(
      "klpemu: help: 'nosuch' is no command, and help is there on: modules (klpemu --help)\n",
    );
  });

  it('has the version of the package', () => {
    const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
    expect(klpemu('--version').stdout).toBe(`${version}\n`);
  });
});

describe('klpemu stack', () => {
  const path = () =>
    scenario(
      'stack',
      `steps: [{ load: ${MODULES}/klpdemo_target.ko, params: block=1 }, { at: 200ms, load: ${MODULES}/klpdemo_patch_target.ko }]`,
    );

  it('prints what a task stands in at a moment, as /proc/PID/stack does', () => {
    const { status, stdout } = klpemu('stack', path(), '--at', '300ms', '--task', 'klpdemo_worker');
    expect(status).toBe(0);
    const [head, ...lines] = stdout.trim().split('\n');
    expect(head).toMatch(/^klpdemo_worker:\d+ sleeping, patch_state 0, TIF_PATCH_PENDING$/);
    expect(lines.map((line) => /^\[<0>\] (\w+)\+0x/.exec(line)?.[1])).toEqual([
      'klpdemo_wait',
      'klpdemo_descend',
      'klpdemo_descend',
      'klpdemo_descend',
      'klpdemo_stage_alloca',
      'klpdemo_stage_drap',
      'klpdemo_stage_aligned',
      'klpdemo_stage_locals',
      'klpdemo_stage_saved',
      'klpdemo_round',
      'klpdemo_main',
      'kthread',
      'ret_from_fork',
    ]);
  });

  it('has every task without --task, and an object with --json', () => {
    const { tasks, t } = JSON.parse(klpemu('stack', path(), '--at', '100ms', '--json').stdout);
    expect(t).toBeGreaterThanOrEqual(100e6);
    const comms = tasks.map((task: { comm: string }) => task.comm);
    expect(comms).toEqual(expect.arrayContaining(['init', 'kthreadd', 'klpdemo_worker', 'swapper/0']));
    expect(tasks.every((task: { patchState: number }) => task.patchState === -1)).toBe(true);
  });
});

describe('klpemu disas', () => {
  it('lists a function as it is at a moment: its site a nop before, a call of a trampoline after', () => {
    const path = scenario('disas', VMLINUX);
    const site = (at: string) =>
      klpemu('disas', path, 'cmdline_proc_show', '--bytes', '6', '--at', at).stdout.split('\n');
    const before = site('1ms');
    expect(before[0]).toMatch(/^ffffffff81\w{6} <cmdline_proc_show>:$/);
    expect(before[1]).toMatch(/^ {2}ffffffff81\w{6}: {2}0f 1f 44 00 00 +nopl 0x0\(%rax,%rax,1\)$/);
    const after = site('100ms');
    expect(after[1]).toMatch(/e8 .* call 0xffffffffc0\w+ <ftrace_trampoline -> klp_ftrace_handler>$/);
    expect(after.slice(2)).toEqual(before.slice(2));
  });

  it('takes functions of modules, offsets and addresses, to their end', () => {
    const path = scenario('target', `steps: [{ load: ${MODULES}/klpdemo_target.ko }]`);
    const places = ['klpdemo_target:klpdemo_check', 'vfs_read+0x5', '0xffffffff81000000'];
    const { listings } = JSON.parse(klpemu('disas', path, ...places, '--json').stdout);
    expect(listings.map((one: { name: string }) => one.name).slice(0, 2)).toEqual([
      'klpdemo_check [klpdemo_target]',
      'vfs_read+0x5',
    ]);
    expect(listings[0].insns.some((insn: { text: string }) => insn.text === 'ret')).toBe(true);
    expect(listings[2].addr).toBe('0xffffffff81000000');
  });
});
