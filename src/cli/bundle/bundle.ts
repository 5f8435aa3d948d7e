// klpemu bundle create, inspect, verify. Enabling is the machine's: a write to /sys/kernel/livepatch_bundle/enable.

import { basename } from 'node:path';
import { X86_64 } from '../../arch/x86_64/x86_64.ts';
import { takenFrom } from '../../bundle/contents.ts';
import { type BundleFile, type BundleMember, createBundle, readBundle } from '../../bundle/format.ts';
import { moduleName } from '../../elf/unpack.ts';
import { type FittedColumn, fittedTable } from '../fitted_table.ts';
import { counted } from '../numbers.ts';
import { print, printFolded, tableColumns, toTerminal } from '../terminal.ts';
import { writeNamed } from '../write_whole.ts';
import { bytesOf, checked } from './files.ts';
import { layoutOf } from './kernel.ts';

interface CreateOptions {
  readonly name: string;
  readonly bundleVersion: string;
  readonly replace?: boolean;
  readonly targets: readonly string[];
  readonly kernel?: string;
}

export function create(file: string, members: readonly string[], options: CreateOptions): void {
  const targets = options.targets.map((path) => [moduleName(path), bytesOf(path)] as const);
  const bytes = checked(file, () =>
    createBundle(
      {
        name: options.name,
        version: options.bundleVersion,
        replace: options.replace === true,
        files: members.map((path) => ({ file: unpackedName(path), bytes: bytesOf(path) })),
        targets: new Map(targets),
      },
      X86_64.elf,
      layoutOf(options.kernel),
    ),
  );
  writeNamed(file, bytes);
  printFolded(`${file}: ${counted(bytes.length, 'byte')}, ${counted(members.length, 'member')}\n`);
}

interface LookOptions {
  readonly json?: boolean;
  readonly kernel?: string;
}

export function inspect(file: string, options: LookOptions): void {
  const bundle = checked(file, () => readBundle(bytesOf(file), X86_64.elf, layoutOf(options.kernel)));
  const members = bundle.members.map(({ bytes, states, contents, ...member }) => ({
    ...member,
    ...contents,
    taken: Object.fromEntries(takenFrom({ file: member.file, contents }, bundle.members)),
    size: bytes.length,
    states: states.map(({ id, version }) => ({ id: Number(id), version })),
  }));
  if (options.json) print(`${JSON.stringify({ ...bundle, members })}\n`);
  else print(textOf(bundle));
}

export function verify(file: string, options: LookOptions): void {
  const { name, version, members } = checked(file, () =>
    readBundle(bytesOf(file), X86_64.elf, layoutOf(options.kernel)),
  );
  if (options.json) print(`${JSON.stringify({ file, ok: true, name, version })}\n`);
  else
    printFolded(`${file}: ${name} ${version}, ${counted(members.length, 'member')}, as the manifest says\n`);
}

const COLUMNS: readonly FittedColumn[] = [
  { head: 'object' },
  { head: 'member', text: 20 },
  { head: 'bytes' },
  { head: 'target', text: 16 },
  { head: 'sha256', text: 16 },
];

function textOf({ name, version, replace, members }: BundleFile): string {
  const rows = members.map((m) => [
    m.object,
    m.module,
    String(m.bytes.length),
    m.srcversion ?? m.vermagic ?? '',
    m.sha256.slice(0, 16),
  ]);
  const table = fittedTable(COLUMNS, rows, tableColumns());
  const states = new Map(members.flatMap((m) => m.states.map(({ id, version: of }) => [id, of])));
  const text = [...states].map(([id, of]) => `state ${id}, version ${of}\n`).join('');
  const details = members.map((member) => detailsOf(member, members)).join('');
  return `${name} ${version}${replace ? ', replaces all older' : ''}\n${table}\n${text}${details}`;
}

/** What kbuild gives each module; only --json lists it. */
const OF_EVERY_MODULE =
  /^(?:__UNIQUE_ID_\w+|____versions|_note_\d+|__this_module|init_module|cleanup_module)$/;

/** What a member has, exports, shares with others, and what of it would be relocated late in the classic model. */
function detailsOf(member: BundleMember, members: BundleFile['members']): string {
  const { object, contents } = member;
  const { functions, data, exports, relocations } = contents;
  const own = (names: readonly string[]): string[] => names.filter((name) => !OF_EVERY_MODULE.test(name));
  const elsewhere = new Set(
    members.filter((m) => m !== member).flatMap((m) => [...m.contents.functions, ...m.contents.data]),
  );
  const taken = [...takenFrom(member, members)].map(([name, owner]) => `${name} of ${owner}`);
  const lines = [
    ['functions', own(functions)],
    ['data', own(data)],
    ['in other members, too', own([...functions, ...data]).filter((name) => elsewhere.has(name))],
    ['exports', exports],
    ['takes', taken],
  ] as const;
  const { late, ordinary } = relocations;
  const relocated =
    late + ordinary > 0
      ? `  relocations against symbols of objects: ${ordinary} ordinary, ${late} in sections of livepatch's\n`
      : '';
  const text = lines
    .filter(([, names]) => names.length > 0)
    .map(([what, names]) => `  ${what}: ${names.join(', ')}\n`);
  return toTerminal([`${object}:`, ...`${text.join('')}${relocated}`.split('\n')]).join('\n');
}

const unpackedName = (path: string): string => basename(path).replace(/\.(xz|zst|gz)$/, '');
