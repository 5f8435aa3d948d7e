// How reports say that execution told the format of a table.

import type { KnownFormat } from '../objtool/orc_format_of.ts';

/** `borne out by execution: of 39 answers 39 are right; as 6.1 0, as 7.2 3`; '' where something else told it. */
export function borneOutText({ format, borneOut }: KnownFormat): string {
  if (!borneOut) return '';
  const { asked, right } = borneOut;
  const others = Object.entries(right).filter(([name]) => name !== format);
  const rest = others.map(([name, n]) => `as ${name} ${n}`).join(', ');
  return `borne out by execution: of ${asked} answers ${right[format]} are right; ${rest}`;
}
