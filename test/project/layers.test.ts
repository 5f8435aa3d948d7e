import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '../..');
const LAYERS = [
  ['isa', 'elf'],
  ['objtool'],
  ['guest'],
  ['kernel'],
  ['sched', 'module', 'ftrace', 'unwind', 'fs', 'mm'],
  ['livepatch'],
  ['bundle'],
  ['machine'],
  ['scenario', 'shell', 'check'],
  ['cli'],
];
const NATIVE = {
  koffi: 'guest',
  '@alexaltea/keystone-js': 'isa',
  '@alexaltea/capstone-js': 'isa',
  'iced-x86': 'isa',
};

interface Case {
  file: string;
  imports: string;
  allowed: boolean;
}

/** A project of the same lint rules, whose files each make one import. */
let project: string;
let refused: Set<string>;
const cases: Case[] = [...layerCases(), ...nativeCases()];

function layerCases(): Case[] {
  return LAYERS.flatMap((layer, level) =>
    layer.flatMap((from) =>
      LAYERS.flatMap((other, otherLevel) =>
        other.map((to) => ({
          file: `src/${from}/uses_${to}.ts`,
          imports: from === to ? './other.ts' : `../${to}/thing.ts`,
          allowed: from === to || otherLevel < level,
        })),
      ),
    ),
  );
}

function nativeCases(): Case[] {
  return Object.entries(NATIVE).flatMap(([library, owner], i) =>
    [...LAYERS.flat(), ''].map((from) => ({
      file: join('src', from, `native_${i}.ts`),
      imports: library,
      allowed: from === owner,
    })),
  );
}

beforeAll(() => {
  project = mkdtempSync(join(tmpdir(), 'klpemu-layers-'));
  writeFileSync(join(project, 'biome.json'), readFileSync(join(root, 'biome.json')));
  writeFileSync(join(project, '.gitignore'), 'node_modules\n');
  cases.push({ file: 'src/elf/deep/dynamic.ts', imports: '../../guest/memory.ts', allowed: false });
  for (const { file, imports } of cases) {
    mkdirSync(dirname(join(project, file)), { recursive: true });
    const dynamic = `export const load = () => import('${imports}');\n`;
    const text = file.includes('dynamic')
      ? dynamic
      : `import { x } from '${imports}';\n\nexport const y = x;\n`;
    writeFileSync(join(project, file), text);
  }
  const biome = join(root, 'node_modules/@biomejs/biome/bin/biome');
  const args = [
    biome,
    'lint',
    '--only=style/noRestrictedImports',
    '--max-diagnostics=none',
    '--reporter=json',
    '.',
  ];
  const { stdout } = spawnSync(process.execPath, args, {
    cwd: project,
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
  const { diagnostics } = JSON.parse(stdout) as {
    diagnostics: { location: { path: string } }[];
  };
  refused = new Set(diagnostics.map(({ location: { path } }) => path.replace(/^\.\//, '')));
});

afterAll(() => rmSync(project, { recursive: true, force: true }));

describe('the layer rule', () => {
  it('lets a folder import itself and what is below, and refuses everything else', () => {
    const wrong = cases.filter(({ file, allowed }) => refused.has(file) === allowed);
    expect(wrong).toEqual([]);
    expect(refused.size).toBeGreaterThan(50);
  });

  it('knows the engine only in src/guest and the instruction-set libraries only in src/isa', () => {
    expect(refused.has('src/livepatch/native_0.ts')).toBe(true);
    expect(refused.has('src/guest/native_0.ts')).toBe(false);
    expect(refused.has('src/guest/native_3.ts')).toBe(true);
  });

  it('sees lazy imports too', () => {
    expect(refused.has('src/elf/deep/dynamic.ts')).toBe(true);
  });
});
