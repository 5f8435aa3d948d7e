// A DWARF expression in words, for reports.

import { type Expression, operationKind } from './expression.ts';

export function expressionText(
  { operations }: Expression,
  { names }: { readonly names: readonly string[] },
): string {
  return operations
    .map(({ code, operands }) => {
      const kind = operationKind(code);
      const register = /^breg(\d+)$/.exec(kind?.name ?? '')?.[1];
      if (register !== undefined) {
        const name = names[Number(register)] ?? `register ${register}`;
        return `${name}${operands[0] < 0n ? '' : '+'}${operands[0]}`;
      }
      return [kind?.name, ...operands].join(' ');
    })
    .join('; ');
}
