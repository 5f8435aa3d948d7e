// The demo on each of Debian's kernels that the machine boots, with modules that kbuild makes of the same sources with that
// kernel's headers and compiler (scripts/oracle/modules.ts).

import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadScenario } from '../../src/scenario/parse.ts';
import { runScenario } from '../../src/scenario/runner.ts';
import { fixturesFor } from '../vmlinuz/debian_fixtures.ts';
import { vmlinuzOf } from '../vmlinuz/debian_kernels.ts';

const ROOT = join(import.meta.dirname, '../..');
const MODULES = ['klpdemo_target', 'klpdemo_patch_both'];
const images = { '6.1': vmlinuzOf('6.1'), '6.12': vmlinuzOf('6.12'), '7.3': vmlinuzOf('7.3') };

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'klpemu-demo-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Kernels built with CONFIG_X86_KERNEL_IBT: their functions begin with endbr64, and the fentry site is behind it. */
const WITH_IBT: ReadonlySet<string> = new Set(['6.12', '7.3']);

/** The demo as a file of its own, with a kernel under its machine and the modules of that one beside it. */
function demoOn(series: string, kernel: string, modules: string): string {
  const site = WITH_IBT.has(series) ? 'at: meminfo_proc_show+0x4,' : 'at: meminfo_proc_show,';
  const text = readFileSync(join(ROOT, 'fixtures/scenarios/demo.yaml'), 'utf8').replace(
    'at: meminfo_proc_show,',
    site,
  );
  for (const place of ['scenarios', 'modules']) mkdirSync(join(folder, place), { recursive: true });
  for (const name of MODULES) cpSync(join(modules, `${name}.ko`), join(folder, `modules/${name}.ko`));
  const file = join(folder, 'scenarios/demo.yaml');
  writeFileSync(file, text.replace('\nmachine:\n', `\nmachine:\n  kernel: ${JSON.stringify(kernel)}\n`));
  return file;
}

describe.each(['6.1', '6.12', '7.3'] as const)('the demo on Debian %s', (series) => {
  it('sees all that it expects', async (context) => {
    const image = images[series];
    if (!image) return context.skip(`the image of Debian's ${series} is not here and could not be fetched`);
    const modules = fixturesFor(series);
    if ('why' in modules) return context.skip(modules.why);
    const report = await runScenario(
      loadScenario(demoOn(series, image, modules.folder), { allowFiles: true }),
    );
    expect(report.expectations.filter((one) => !one.ok)).toEqual([]);
    expect([report.failure, report.ok, report.expectations.length]).toEqual([undefined, true, 33]);
    expect(report.counters?.mixed).toBe(0);
  });
});
