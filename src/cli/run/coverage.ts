// `klpemu run --coverage`: which functions and blocks of guest text a run has executed.

import type { Coverage, FunctionCoverage } from '../../machine/coverage.ts';
import { type FittedColumn, fittedTable } from '../fitted_table.ts';
import { percent, whole } from '../numbers.ts';
import { tableColumns } from '../terminal.ts';

const OBJECTS: readonly FittedColumn[] = [
  { head: 'text of' },
  { head: 'functions' },
  { head: 'executed' },
  { head: 'blocks' },
  { head: 'executed' },
  { head: '%' },
];
const FUNCTIONS: readonly FittedColumn[] = [
  { head: 'function' },
  { head: 'blocks' },
  { head: 'executed' },
  { head: 'not executed', text: 20 },
];

const executed = ({ blocks }: FunctionCoverage): number => blocks.filter(({ count }) => count > 0).length;
const sum = (functions: readonly FunctionCoverage[], of: (one: FunctionCoverage) => number): number =>
  functions.reduce((total, one) => total + of(one), 0);

/** @param wanted text that the names of functions contain, to have their blocks too; true for none */
export function coverageText(
  { functions, instructions, elsewhere, complete }: Coverage,
  wanted: string | true,
): string {
  const objects = new Map<string, FunctionCoverage[]>();
  for (const one of functions) {
    const name = one.module ?? 'the kernel';
    objects.set(name, [...(objects.get(name) ?? []), one]);
  }
  const rows = [...objects].map(([name, own]) => {
    const [all, done] = [sum(own, ({ blocks }) => blocks.length), sum(own, executed)];
    const begun = own.filter((one) => executed(one) > 0).length;
    return [name, whole(own.length), whole(begun), whole(all), whole(done), percent(done, all)];
  });
  const lines = ['coverage', fittedTable(OBJECTS, rows, tableColumns())];
  lines.push(
    `${whole(instructions)} instructions of kernel text were executed, ${whole(elsewhere)} of them in none of these: trampolines, modules that are gone`,
  );
  if (!complete) lines.push('not all is counted: there was no room for more instructions');
  if (wanted !== true) {
    const found = functions.filter(({ name }) => name.includes(wanted));
    lines.push('', found.length > 0 ? functionTable(found) : `no function has '${wanted}' in its name`);
  }
  return lines.join('\n');
}

function functionTable(functions: readonly FunctionCoverage[]): string {
  const rows = functions.map((one) => {
    const left = one.blocks
      .filter(({ count }) => count === 0)
      .map(({ offset }) => `+0x${offset.toString(16)}`);
    const name = one.module === undefined ? one.name : `${one.name} [${one.module}]`;
    return [name, whole(one.blocks.length), whole(executed(one)), left.join(' ')];
  });
  return fittedTable(FUNCTIONS, rows, tableColumns());
}
