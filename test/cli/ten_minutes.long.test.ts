// docs/ten-minutes.md: its commands are run in an empty folder, one after the other, and print what the page says. Where the
// headers of Debian's kernel are not here, those of fixtures/ten-minutes stand for what make made.

import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cli, ROOT } from './klpemu.ts';
import { commandsIn, isShown, maskedLines, runShown, sessionOf } from './page_session.ts';

const HEADERS = '/lib/modules/6.1.0-56-amd64/build';
const BUILT = existsSync(HEADERS);
const KEPT = join(ROOT, 'fixtures/ten-minutes');
/** What make would make: the livepatch as it is at first, and when it is mended. */
const STAND_IN = `cp ${KEPT}/mymod.ko .
if grep -q mymod_work mypatch.c; then cp ${KEPT}/mypatch-first.ko mypatch.ko; else cp ${KEPT}/mypatch-second.ko mypatch.ko; fi`;

const session = sessionOf(readFileSync(join(ROOT, 'docs/ten-minutes.md'), 'utf8'));

describe(`docs/ten-minutes.md, with modules that are ${BUILT ? 'built' : 'kept'}`, () => {
  let cli: Cli;
  let folder: string;
  let bin: string;
  beforeAll(() => {
    cli = new Cli();
    folder = mkdtempSync(join(tmpdir(), 'klpemu-ten-'));
    const klpemu = `exec '${process.execPath}' '${join(ROOT, 'dist/cli/main.js')}' "$@"`;
    bin = commandsIn(join(folder, 'bin'), { klpemu, ...(BUILT ? {} : { make: STAND_IN }) });
    mkdirSync(join(folder, 'empty'));
  });
  afterAll(() => {
    cli.remove();
    rmSync(folder, { recursive: true, force: true });
  });

  it('has what it promises: a module, a livepatch that stalls, why, and one that does not', () => {
    const commands = session.map(({ command }) => command.split(' ').slice(0, 2).join(' '));
    for (const each of [
      'klpemu orc',
      'klpemu check',
      'klpemu vet',
      'klpemu new',
      'klpemu run',
      'klpemu shell',
      'klpemu back',
    ])
      expect(commands).toContain(each);
  });

  it.each(session.map((each, i) => ({ ...each, name: `${i + 1}. ${each.command.split('\n')[0]}` })))(
    '$name',
    ({ command, shown }) => {
      const { lines } = runShown(command, join(folder, 'empty'), bin);
      const [real, page] = [maskedLines(lines), maskedLines(shown)];
      if (!isShown(real, page)) expect(real).toEqual(page);
    },
  );

  it('leaves a picture of the run, and the scenario that was written', () => {
    for (const file of ['first.html', 'first.yaml'])
      expect(existsSync(join(folder, 'empty', file))).toBe(true);
  });
});
