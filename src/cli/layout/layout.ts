// `klpemu layout`: structures, fields and enumerators of a kernel, by its BTF.

import type { Btf } from '../../btf/btf.ts';
import { KIND } from '../../btf/kinds.ts';
import { type BtfField, type BtfLayout, enumeratorOf, fieldOf, layoutOf } from '../../btf/layout.ts';
import { EXIT } from '../exit.ts';
import { fittedTable } from '../fitted_table.ts';
import { openBtf, readable } from '../kernel_input.ts';
import { counted } from '../numbers.ts';
import { colorsFor, print, printError, tableColumns, toTerminal } from '../terminal.ts';

interface LayoutOptions {
  readonly base?: string;
  readonly json?: boolean;
}

interface Enumeration {
  readonly name: string;
  readonly size: number;
  readonly values: readonly { readonly name: string; readonly value: string }[];
}

/** What a name is of. */
type Found =
  | { readonly wanted: string; readonly layout: BtfLayout }
  | { readonly wanted: string; readonly field: BtfField }
  | { readonly wanted: string; readonly enumeration: Enumeration }
  | { readonly wanted: string; readonly value: string };

export function layout(args: readonly string[], options: LayoutOptions): void {
  const file = args[args.length - 1];
  const names = args.slice(0, -1);
  const { base } = options;
  const btf = readable(() => openBtf(file, base === undefined ? undefined : openBtf(base)));
  if (names.length === 0) {
    readable(() => list(btf, file, options.json ?? false));
    return;
  }
  const found = readable(() => names.map((wanted) => find(btf, wanted)));
  const missing = names.filter((_, i) => found[i] === undefined);
  const known = found.filter((one) => one !== undefined);
  if (options.json) print(`${JSON.stringify({ file, found: known.map(toJson), missing })}\n`);
  else {
    print(known.map(textOf).join('\n'));
    for (const name of missing) printError(`klpemu: ${file}: no structure, field or enumerator ${name}\n`);
  }
  if (missing.length > 0) process.exitCode = EXIT.failed;
}

/** As C has it, or without what kind it is. */
function find(btf: Btf, wanted: string): Found | undefined {
  const name = wanted.replace(/^(struct|union|enum)\s+/, '');
  const [structure, ...path] = name.split('.');
  if (path.length > 0) {
    const field = fieldOf(btf, structure, path.join('.'));
    return field && { wanted, field };
  }
  const record = wanted.startsWith('enum ') ? undefined : layoutOf(btf, name);
  if (record) return { wanted, layout: record };
  const enumeration = enumerationOf(btf, name);
  if (enumeration) return { wanted, enumeration };
  const value = enumeratorOf(btf, name);
  return value === undefined ? undefined : { wanted, value: String(value) };
}

function enumerationOf(btf: Btf, name: string): Enumeration | undefined {
  const [type] = btf.named(name, KIND.enum, KIND.enum64);
  if (type === undefined) return undefined;
  const values = btf.enumerators(type).map((one) => ({ name: one.name, value: String(one.value) }));
  return { name, size: btf.size(type), values };
}

function toJson(found: Found): object {
  if ('layout' in found) {
    const { kind, name, size, fields } = found.layout;
    return { wanted: found.wanted, kind, name, size, fields: fields.map(plain) };
  }
  return 'field' in found ? { wanted: found.wanted, ...plain(found.field) } : found;
}

/** Without the number of its type, which is this file's own. */
function plain({ name, offset, size, declaration, bits }: BtfField): object {
  return { name, offset, size, declaration, ...bits };
}

function textOf(found: Found): string {
  if ('layout' in found) return layoutText(found.layout);
  if ('enumeration' in found) return enumerationText(found.enumeration);
  if ('value' in found) return `${found.wanted} = ${found.value}\n`;
  const { offset, size, bits, declaration } = found.field;
  const place = bits
    ? `bit ${bits.bit}, ${counted(bits.width, 'bit')}`
    : `offset ${offset}, ${counted(size, 'byte')}`;
  return `${toTerminal([`${found.wanted}: ${place}: ${declaration}`]).join('\n')}\n`;
}

/** The first column folds, the others are numbers. */
const COLUMNS = [{ head: 'field' }, { head: 'offset' }, { head: 'size' }, { head: 'bits' }] as const;

function layoutText({ kind, name, size, fields }: BtfLayout): string {
  const hasBits = fields.some(({ bits }) => bits);
  const rows = fields.map((field) => [
    field.declaration,
    String(field.offset),
    String(field.size),
    ...(hasBits
      ? [field.bits ? `${field.bits.bit % 8}..${(field.bits.bit % 8) + field.bits.width - 1}` : '']
      : []),
  ]);
  const columns = hasBits ? COLUMNS : COLUMNS.slice(0, -1);
  const { dim } = colorsFor(process.stdout);
  const table = rows.length === 0 ? '' : `${fittedTable(columns, rows, tableColumns(), dim)}\n`;
  return `${kind} ${name}: ${counted(size, 'byte')}\n${table}`;
}

function enumerationText({ name, size, values }: Enumeration): string {
  const width = Math.max(0, ...values.map((one) => one.name.length));
  const lines = values.map((one) => `  ${one.name.padEnd(width)} = ${one.value}`);
  return `${toTerminal([`enum ${name}: ${counted(size, 'byte')}`, ...lines]).join('\n')}\n`;
}

const TAGS: Readonly<Record<number, string>> = {
  [KIND.struct]: 'struct',
  [KIND.union]: 'union',
  [KIND.enum]: 'enum',
  [KIND.enum64]: 'enum',
};

/** Those that have a name, by it. */
function list(btf: Btf, file: string, json: boolean): void {
  const kinds = Object.keys(TAGS).map(Number);
  const all = btf
    .ofKinds(...kinds)
    .map((type) => ({ kind: TAGS[btf.kind(type)], name: btf.name(type), size: btf.size(type) }))
    .filter(({ name }) => name !== '')
    .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  if (json) print(`${JSON.stringify({ file, types: all })}\n`);
  else
    print(
      `${toTerminal(all.map(({ kind, name, size }) => `${String(size).padStart(7)} ${kind} ${name}`)).join('\n')}\n`,
    );
}
