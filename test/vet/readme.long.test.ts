// What README.md shows of Debian 13's kernel is what the commands print, to the letter but for times: the last lines of check,
// the verdict on a livepatch that kbuild makes of an altered fixture, and a session with the shell.

import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bootShell } from '../../src/cli/shell/options.ts';
import { Cli, ROOT } from '../cli/klpemu.ts';
import { blockWith, matches, stepsOf } from '../cli/readme_blocks.ts';
import { fixturesFor } from '../vmlinuz/debian_fixtures.ts';
import { vmlinuzOf } from '../vmlinuz/debian_kernels.ts';
import { type Built, builtFrom } from '../vmlinuz/observed_modules.ts';

const kernel = vmlinuzOf('6.12');
const FIXTURES = join(ROOT, 'fixtures/modules');
const PATCH = 'klpdemo_state_a';
/** What README.md says is other than in the fixture. */
const ALTERED: readonly (readonly [from: string, to: string])[] = [
  ['.old_name = "cmdline_proc_show"', '.old_name = "do_sys_poll"'],
  ['\tif (mine && !klp_get_prev_state(1))\n\t\tkfree(mine->data);\n', ''],
];

let cli: Cli;
let dir: string;
beforeAll(() => {
  cli = new Cli();
  dir = mkdtempSync(join(tmpdir(), 'klpemu-readme-'));
});
afterAll(() => {
  cli.remove();
  rmSync(dir, { recursive: true });
});

function alteredPatch(): Built {
  const header = 'klpdemo_state.h';
  let text = readFileSync(join(FIXTURES, header), 'utf8');
  for (const [from, to] of ALTERED) {
    expect(text.split(from).length).toBe(2);
    text = text.replace(from, to);
  }
  const source = mkdtempSync(join(dir, 'source-'));
  writeFileSync(join(source, header), text);
  cpSync(join(FIXTURES, `${PATCH}.c`), join(source, `${PATCH}.c`));
  writeFileSync(join(source, 'Kbuild'), `obj-m += ${PATCH}.o\n`);
  return builtFrom('6.12', source, 'readme');
}

/** The lines that are printed, where they are not those shown: what differs is seen. */
function expectShown(printed: string, shown: readonly string[]): void {
  const lines = printed.split('\n').map((line) => line.trimEnd());
  while (lines.at(-1) === '') lines.pop();
  if (!matches(lines, shown)) expect(lines).toEqual(shown);
}

describe.skipIf(!kernel)("what README.md shows of Debian 13's kernel", () => {
  it('klpemu check says of its image', () => {
    const [command, ...shown] = blockWith('$ klpemu check /boot/');
    expect(command).toMatch(/^\$ klpemu check \/boot\/vmlinuz-6\.12\.117\+deb13-amd64$/);
    const { stdout } = cli.run(['check', kernel as string]);
    const untimed = (text: string): string => text.replace(/ in [\d.]+ s, [\d,]+ a second/, ' in TIME');
    expectShown(untimed(stdout), shown.map(untimed));
  });

  it('klpemu vet says of a livepatch that sleeps and leaves something behind', (context) => {
    const made = alteredPatch();
    if ('why' in made) return context.skip(made.why);
    const [command, ...shown] = blockWith('$ klpemu vet mypatch.ko');
    const params = /^\$ klpemu vet mypatch\.ko --kernel \$\(uname -r\) (.*)$/.exec(command)?.[1];
    expect(params).toBeDefined();
    cpSync(join(made.folder, `${PATCH}.ko`), join(dir, 'mypatch.ko'));
    const path = join(dir, 'mypatch.ko');
    const { status, stdout } = cli.run([
      'vet',
      path,
      '--kernel',
      kernel as string,
      ...(params ?? '').split(' '),
    ]);
    expectShown(stdout.replaceAll(path, 'mypatch.ko'), shown);
    expect(status).toBe(1);
  });

  it('a shell on it prints', async (context) => {
    const built = fixturesFor('6.12');
    if ('why' in built) return context.skip(built.why);
    const [command, ...lines] = blockWith('$ klpemu shell --kernel');
    expect(command).toBe('$ klpemu shell --kernel $(uname -r) --dir built');
    const { shell } = await bootShell({ kernel: kernel as string, dir: [built.folder] });
    const steps = stepsOf(lines);
    expect(steps.length).toBe(5);
    for (const [line, ...shown] of steps) {
      const { stdout, stderr } = await shell.execute(line);
      expectShown(stdout + stderr, shown);
    }
    shell.context.guest.machine.close();
  });
});
