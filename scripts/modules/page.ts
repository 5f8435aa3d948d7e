// The page of what became of a distribution's modules (docs/kernel-modules.md).

import { errnoName } from '../../src/kernel/errno.ts';
import type { Outcome } from './outcome.ts';
import type { RealOutcome } from './real.ts';
import type { TriedModule } from './try.ts';

export interface TriedKernel {
  readonly release: string;
  readonly modules: readonly TriedModule[];
  /** What the real kernel does with those that do not load, by name, as far as it was asked. */
  readonly real: ReadonlyMap<string, RealOutcome>;
}

/** Reasons that are listed, of each kernel. */
const MOST_REASONS = 40;
/** Names of modules in a row. */
const MOST_NAMES = 4;

const KINDS: readonly (readonly [Outcome['kind'], string])[] = [
  ['runs', 'load'],
  ['refused', 'their init refuses'],
  ['oops', 'oops'],
  ['waits', 'do not come back'],
  ['ended', 'end the machine'],
  ['needs', 'need one of these'],
];

export function modulesPage(kernels: readonly TriedKernel[]): string {
  return [
    '# Modules of Debian on the machine',
    '',
    'Made by `npm run modules`: every module of the kernel was loaded, with those that it needs, on a machine with one CPU and that kernel under it',
    '(docs/your-kernel.md). *Load*: its init returned 0. A module that does not was tried on a machine where nothing had gone wrong before.',
    'The last four columns: the same modules, but for those that need one of them, on the real kernel in QEMU (`--real`: a `pc` with the CPU',
    '`qemu64`, without devices of its own), up to 50 on one machine: those that are refused there with the same error, those that are not loaded',
    'for another reason, those that load, and those that were not asked about.',
    '',
    ...kernels.flatMap(sectionOf),
  ].join('\n');
}

function sectionOf({ release, modules, real }: TriedKernel): string[] {
  const folders = [...new Set(modules.map(({ folder }) => folder))].sort();
  const count = (of: readonly TriedModule[], kind: Outcome['kind']): number =>
    of.filter(({ outcome }) => outcome.kind === kind).length;
  const row = (title: string, of: readonly TriedModule[]): string =>
    `| ${[title, of.length, ...KINDS.map(([kind]) => count(of, kind))].join(' | ')} |`;
  return [
    `## ${release}`,
    '',
    `| folder | modules | ${KINDS.map(([, title]) => title).join(' | ')} |`,
    `| --- | ${['', ...KINDS].map(() => '---').join(' | ')} |`,
    ...folders.map((folder) =>
      row(
        `\`${folder}\``,
        modules.filter((one) => one.folder === folder),
      ),
    ),
    row('all', modules),
    '',
    'What keeps the others out, those that need one of them counted with it:',
    '',
    '| by | how | modules | such as | same on the real kernel | other error there | loads there | not asked |',
    '| --- | --- | --- | --- | --- | --- | --- | --- |',
    ...reasonRows(modules, real),
    '',
  ];
}

interface Reason {
  readonly by: string;
  readonly how: string;
}

function reasonOf(outcome: Outcome): Reason | undefined {
  switch (outcome.kind) {
    case 'oops':
      return outcome.object === undefined
        ? { by: `\`${outcome.where}\``, how: 'oops in it' }
        : { by: `\`${outcome.object}\``, how: `never set up, \`${outcome.where}\` goes by it` };
    case 'refused':
      return { by: errnoName(outcome.errno) ?? `errno ${outcome.errno}`, how: 'of its init' };
    case 'waits':
      return { by: `\`${outcome.where}\``, how: 'stands there' };
    case 'ended':
      return { by: 'the machine', how: outcome.said.replaceAll('|', '/') };
    default:
      return undefined;
  }
}

/** Numbers of modules: refused by the real kernel with the same error, not loaded there otherwise, loaded there, not asked about. */
function onReal(modules: readonly TriedModule[], real: ReadonlyMap<string, RealOutcome>): number[] {
  const counts = [0, 0, 0, 0];
  for (const { name, outcome } of modules) {
    const there = real.get(name);
    if (!there) counts[3]++;
    else if (there.kind === 'runs') counts[2]++;
    else if (outcome.kind === 'refused' && there.kind === 'refused' && there.errno === outcome.errno)
      counts[0]++;
    else counts[1]++;
  }
  return counts;
}

function reasonRows(modules: readonly TriedModule[], real: ReadonlyMap<string, RealOutcome>): string[] {
  const byName = new Map(modules.map((one) => [one.name, one]));
  const found = new Map<string, { reason: Reason; names: string[]; own: TriedModule[] }>();
  for (const module of modules) {
    const { name, outcome } = module;
    let root = outcome;
    while (root.kind === 'needs') root = byName.get(root.module)?.outcome ?? { kind: 'runs' };
    const reason = reasonOf(root);
    if (!reason) continue;
    const key = `${reason.by} ${reason.how}`;
    const same = found.get(key);
    const row = same ?? { reason, names: [], own: [] };
    if (!same) found.set(key, row);
    row.names.push(name);
    if (outcome.kind !== 'needs') row.own.push(module);
  }
  const rows = [...found.values()].sort((a, b) => b.names.length - a.names.length);
  const rest = rows.slice(MOST_REASONS);
  const more = rest.reduce((sum, { names }) => sum + names.length, 0);
  return [
    ...rows.slice(0, MOST_REASONS).map(
      ({ reason, names, own }) =>
        `| ${reason.by} | ${reason.how} | ${names.length} | ${names
          .slice(0, MOST_NAMES)
          .map((name) => `\`${name}\``)
          .join(', ')} | ${onReal(own, real).join(' | ')} |`,
    ),
    ...(more > 0 ? [`| ${rest.length} others | | ${more} | | | | | |`] : []),
  ];
}
