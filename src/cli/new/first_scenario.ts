// The text of a first scenario: it is a person's to go on with, so each part says what it is for.

import { stringify } from 'yaml';
import { BUILT_IN } from '../../kernel/description.ts';

export interface GivenModule {
  /** As it was given. */
  readonly path: string;
  /** Relative to the scenario. */
  readonly given: string;
  readonly name: string;
  /** vermagic's first word. */
  readonly builtFor: string | undefined;
  readonly isLivepatch: boolean;
  /** What it replaces; undefined where that is not known, or it is no livepatch. */
  readonly objects:
    | readonly {
        readonly module: string | undefined;
        readonly functions: readonly { readonly name: string; readonly newName: string }[];
      }[]
    | undefined;
}

interface First {
  /** By which it is run. */
  readonly command: string;
  readonly modules: readonly GivenModule[];
  readonly patch: GivenModule;
}

/** A value in one line, quoted where YAML asks for it. */
const value = (text: string): string => stringify(text, { lineWidth: 0 }).trimEnd();
/** Text of a file, in a comment. */
const comment = (text: string): string => text.replace(/[^ -~]/g, '?');

export function firstScenario({ command, modules, patch }: First): string {
  const others = modules.filter((each) => each !== patch);
  const livepatch = value(patch.name);
  const lines = [
    `# ${comment(command)}`,
    '#',
    ...replaced(patch),
    '# Every key that there is: docs/scenario.md. Complete and checked in an editor: klpemu schema.',
    '',
    `name: ${value(`${patch.name}, from load to unload`)}`,
    '',
    'machine:',
    '  cpus: 2',
    '  seed: 1 # another one, another order of events: klpemu run --seed 2; klpemu explore looks through many',
    ...kernelOf(patch),
    '',
    'modules:',
    ...modules.map(({ given }) => `  - ${value(given)}`),
    '',
    '# Who is there while it is enabled. Better than these: tasks that execute what is replaced, such as readers of a file',
    '# in /proc, or a posed task, which stands in a chain of functions of your choice.',
    'tasks:',
    '  - { name: reader, program: reader, args: [/proc/version, 20] }',
    '  - { name: forker, program: forker, args: [30] }',
    '  - { name: sleeper, program: sleep, args: [1000] }',
    '',
    'steps:',
    ...others.map((each) => `  - load: ${value(each.name)}`),
    '  - at: 100ms',
    `    load: ${livepatch}`,
    '  # Until every task has switched. If one cannot, the report says which, and on what it sleeps.',
    '  - until:',
    `      done: { patch: ${livepatch} }`,
    '    within: 60s',
    '  # What should be different now? For example:',
    '  # - read: /proc/version',
    '  #   output: part of what it says, or /a regular expression/',
    '  - after: 500ms',
    `    disable: ${livepatch}`,
    '  - until:',
    `      done: { patch: ${livepatch}, to: unpatched }`,
    '    within: 60s',
    `  - unload: ${livepatch}`,
    ...[...others].reverse().map((each) => `  - unload: ${value(each.name)}`),
    '',
    'expect:',
    '  absent: [BUG, WARNING]',
    '  alive: [sleeper, forker]',
  ];
  return `${lines.join('\n')}\n`;
}

function replaced({ name, objects }: GivenModule): string[] {
  if (!objects) return [`# ${comment(name)} is enabled, disabled and unloaded while tasks execute.`];
  return [
    `# ${comment(name)} replaces:`,
    ...objects.flatMap(({ module, functions }) =>
      functions.map((each) => `#   ${comment(`${each.name} [${module ?? 'vmlinux'}] by ${each.newName}`)}`),
    ),
  ];
}

function kernelOf({ builtFor }: GivenModule): string[] {
  if (builtFor === undefined || builtFor === BUILT_IN.release) return [];
  return [`  kernel: ${value(builtFor)} # an installed release, or the path of a vmlinuz`];
}
