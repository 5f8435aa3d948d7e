// The objects of fixtures/objects that gcc and objtool made are those that their sources give.

import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';

const OBJECTS = join(import.meta.dirname, '../../fixtures/objects');
/** What they were built with; another compiler gives other code. */
const GCC = 'gcc (Debian 12.2.0-14+deb12u1) 12.2.0';
const OBJTOOL = '/usr/lib/linux-kbuild-6.1/tools/objtool/objtool';
const versionOf = (program: string): string =>
  spawnSync(program, ['--version'], { encoding: 'utf8' }).stdout ?? '';
const hasTools = existsSync(OBJTOOL) && versionOf('gcc').startsWith(GCC) && versionOf('ld') !== '';

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'klpemu-objects-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

it.skipIf(!hasTools)('frames and vmlinux are built again byte for byte', () => {
  for (const name of ['frames', 'vmlinux']) {
    cpSync(join(OBJECTS, name), join(dir, name), { recursive: true });
    const built = readdirSync(join(dir, name)).filter((file) => /\.o$|^vmlinux$/.test(file));
    expect(built.length).toBeGreaterThan(0);
    for (const file of built) rmSync(join(dir, name, file));
    const { status, stderr } = spawnSync('sh', [join(dir, name, 'build.sh')], { encoding: 'utf8' });
    expect(status, stderr).toBe(0);
    for (const file of built) {
      expect(readFileSync(join(dir, name, file)).equals(readFileSync(join(OBJECTS, name, file))), file).toBe(
        true,
      );
    }
  }
});
