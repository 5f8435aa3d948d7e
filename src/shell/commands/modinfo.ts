// What a module's file says of itself. Mirrors kmod's modinfo, field by field and in its order.

import type { ElfObject } from '../../elf/elf_object.ts';
import { readModInfo } from '../../elf/modinfo.ts';
import type { Command, ShellContext } from '../command.ts';
import { parseOptions } from '../options.ts';
import { failed, Output, type Result } from '../result.ts';

/** Tags that modinfo folds into its `parm:` lines. */
const PARAM_TAGS = ['parm', 'parmtype'];
/** What -a, -d, -l and -n stand for. */
const SHORT_FIELDS: Readonly<Record<string, string>> = {
  a: 'author',
  d: 'description',
  l: 'license',
  n: 'filename',
};

export const modinfo: Command = {
  name: 'modinfo',
  usage: 'modinfo [-F FIELD | -a | -d | -l | -n | -p] MODULE|FILE...',
  summary: 'what a module says of itself',
  completes: 'modules',
  run: ({ args, shell }) => {
    const { operands, values, flags, unknown } = parseOptions(
      args,
      [...Object.keys(SHORT_FIELDS), 'p'],
      ['F', 'field'],
    );
    if (unknown) return failed(`modinfo: unrecognized option '${unknown}'`);
    if (operands.length === 0) return failed('modinfo: ERROR: missing module or filename.');
    const short = Object.keys(SHORT_FIELDS).find((letter) => flags.has(letter));
    const field =
      values.get('F') ?? values.get('field') ?? (flags.has('p') ? 'parm' : short && SHORT_FIELDS[short]);
    const output = new Output();
    for (const operand of operands) output.add(modinfoOf(shell, operand, field));
    return output.result();
  },
};

function modinfoOf(shell: ShellContext, operand: string, field: string | undefined): Result {
  const object = shell.modules.object(operand);
  if (!object) {
    const what = operand.includes('/') ? `Module file ${operand}` : `Module ${operand}`;
    return failed(`modinfo: ERROR: ${what} not found.`);
  }
  const rows = fieldsOf(object.path, object.elf);
  const output = new Output();
  if (field === undefined) for (const [tag, value] of rows) output.line(`${`${tag}:`.padEnd(16)}${value}`);
  else for (const [tag, value] of rows) if (tag === field) output.line(value);
  return output.result();
}

function fieldsOf(path: string, elf: ElfObject): [string, string][] {
  const info = readModInfo(elf);
  const rows: [string, string][] = [['filename', path]];
  for (const [tag, value] of info.entries) if (!PARAM_TAGS.includes(tag)) rows.push([tag, value]);
  const types = new Map(info.getAll('parmtype').map(splitColon));
  for (const parm of info.getAll('parm')) {
    const [name, description] = splitColon(parm);
    const type = types.get(name);
    types.delete(name);
    rows.push(['parm', `${name}:${description}${type === undefined ? '' : ` (${type})`}`]);
  }
  for (const [name, type] of types) rows.push(['parm', `${name}:${type}`]);
  return rows;
}

function splitColon(text: string): [string, string] {
  const at = text.indexOf(':');
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}
