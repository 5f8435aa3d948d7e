// klpemu bundle create, inspect, verify. Enabling is the machine's: a write to /sys/kernel/livepatch_bundle/enable.

import { basename } from 'node:path';
import { X86_64 } from '../../arch/x86_64/x86_64.ts';
import { type BundleFile, createBundle, readBundle } from '../../bundle/format.ts';
import { moduleName } from '../../elf/unpack.ts';
import { type FittedColumn, fittedTable } from '../fitted_table.ts';
import { counted } from '../numbers.ts';
import { print, printFolded, tableColumns } from '../terminal.ts';
import { writeNamed } from '../write_whole.ts';
import { bytesOf, checked } from './files.ts';

interface CreateOptions {
  readonly name: string;
  readonly bundleVersion: string;
  readonly replace?: boolean;
  readonly targets: readonly string[];
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
    ),
  );
  writeNamed(file, bytes);
  printFolded(`${file}: ${counted(bytes.length, 'byte')}, ${counted(members.length, 'member')}\n`);
}

export function inspect(file: string, options: { readonly json?: boolean }): void {
  const bundle = checked(file, () => readBundle(bytesOf(file), X86_64.elf));
  const members = bundle.members.map(({ bytes, states, ...member }) => ({
    ...member,
    size: bytes.length,
    states: states.map(({ id, version }) => ({ id: Number(id), version })),
  }));
  if (options.json) print(`${JSON.stringify({ ...bundle, members })}\n`);
  else print(textOf(bundle));
}

export function verify(file: string, options: { readonly json?: boolean }): void {
  const { name, version, members } = checked(file, () => readBundle(bytesOf(file), X86_64.elf));
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
  return `${name} ${version}${replace ? ', replaces all older' : ''}\n${table}\n${text}`;
}

const unpackedName = (path: string): string => basename(path).replace(/\.(xz|zst|gz)$/, '');
