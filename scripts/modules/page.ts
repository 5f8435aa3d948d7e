// The page of what became of a distribution's modules (docs/kernel-modules.md).

import { errnoName } from '../../src/kernel/errno.ts';
import type { Outcome } from './outcome.ts';
import type { TriedModule } from './try.ts';

export interface TriedKernel {
  readonly release: string;
  readonly modules: readonly TriedModule[];
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
    '',
    ...kernels.flatMap(sectionOf),
  ].join('\n');
}

function sectionOf({ release, modules }: TriedKernel): string[] {
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
    '| by | how | modules | such as |',
    '| --- | --- | --- | --- |',
    ...reasonRows(modules),
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

function reasonRows(modules: readonly TriedModule[]): string[] {
  const byName = new Map(modules.map((one) => [one.name, one]));
  const found = new Map<string, { reason: Reason; names: string[] }>();
  for (const { name, outcome } of modules) {
    let root = outcome;
    while (root.kind === 'needs') root = byName.get(root.module)?.outcome ?? { kind: 'runs' };
    const reason = reasonOf(root);
    if (!reason) continue;
    const key = `${reason.by} ${reason.how}`;
    const same = found.get(key);
    if (same) same.names.push(name);
    else found.set(key, { reason, names: [name] });
  }
  const rows = [...found.values()].sort((a, b) => b.names.length - a.names.length);
  const rest = rows.slice(MOST_REASONS);
  const more = rest.reduce((sum, { names }) => sum + names.length, 0);
  return [
    ...rows.slice(0, MOST_REASONS).map(
      ({ reason, names }) =>
        `| ${reason.by} | ${reason.how} | ${names.length} | ${names
          .slice(0, MOST_NAMES)
          .map((name) => `\`${name}\``)
          .join(', ')} |`,
    ),
    ...(more > 0 ? [`| ${rest.length} others | | ${more} | |`] : []),
  ];
}
