// Which pr_debug() lines are printed, and the file that turns them on and off.
// Mirrors lib/dynamic_debug.c: /sys/kernel/debug/dynamic_debug/control.

import { UAPI } from './uapi.ts';

/** One pr_debug() of the kernel. */
export interface DebugSite {
  readonly file: string;
  readonly line: number;
  readonly module: string;
  readonly func: string;
  /** As in the source, newline escaped. */
  readonly format: string;
}

/** In the order in which the control file shows them. */
const FLAGS = 'pmflt';

export class DynamicDebug {
  readonly #sites = new Map<DebugSite, Set<string>>();

  /** @param on with flag p from the start. */
  add(sites: Iterable<DebugSite>, on: boolean): void {
    for (const site of sites) this.#sites.set(site, new Set(on ? 'p' : ''));
  }

  enabled(site: DebugSite): boolean {
    return this.#sites.get(site)?.has('p') ?? false;
  }

  /** The control file. */
  control(): string {
    let text = '# filename:lineno [module]function flags format\n';
    for (const [site, flags] of this.#sites) {
      const set = [...FLAGS].filter((flag) => flags.has(flag)).join('') || '_';
      text += `${site.file}:${site.line} [${site.module}]${site.func} =${set} "${site.format}"\n`;
    }
    return text;
  }

  /** A write to it: queries, split by newlines and semicolons. Bytes taken, or -EINVAL if one was bad. */
  write(text: string): number {
    let bad = false;
    for (const query of text.split(/[;\n]/)) {
      const words = tokenize(query);
      if (words.length > 0 && !this.#query(words)) bad = true;
    }
    return bad ? -UAPI.EINVAL : text.length;
  }

  /** ddebug_exec_query(). @returns false for one that cannot be read. */
  #query(words: readonly string[]): boolean {
    const change = /^([+=-])([_a-z]+)$/.exec(words.at(-1) ?? '');
    const matches = parseMatches(words.slice(0, -1));
    if (!change || !matches || !/^[_pmflt]+$/.test(change[2])) return false;
    const named = [...change[2]].filter((flag) => flag !== '_');
    for (const [site, flags] of this.#sites) {
      if (!matches.every((match) => match(site))) continue;
      if (change[1] === '=') flags.clear();
      for (const flag of named) {
        if (change[1] === '-') flags.delete(flag);
        else flags.add(flag);
      }
    }
    return true;
  }
}

type Match = (site: DebugSite) => boolean;

/** What a query's keywords ask for, each with its value. */
const KEYWORDS: Readonly<Record<string, (value: string) => Match | undefined>> = {
  func: (value) => (site) => wildcard(value, site.func),
  module: (value) => (site) => wildcard(value, site.module),
  file: (value) => {
    const [name, place] = value.split(':');
    const line = place === undefined ? undefined : matchLine(place);
    const inFile: Match = (site) =>
      wildcard(name, site.file) || wildcard(name, site.file.slice(site.file.lastIndexOf('/') + 1));
    if (place === undefined) return inFile;
    const func: Match = line ?? ((site) => wildcard(place, site.func));
    return (site) => inFile(site) && func(site);
  },
  format: (value) => (site) =>
    value.startsWith('^') ? site.format.startsWith(value.slice(1)) : site.format.includes(value),
  line: matchLine,
};

function parseMatches(words: readonly string[]): Match[] | undefined {
  if (words.length % 2 !== 0) return undefined;
  const matches: Match[] = [];
  for (let i = 0; i < words.length; i += 2) {
    const match = KEYWORDS[words[i]]?.(words[i + 1]);
    if (!match) return undefined;
    matches.push(match);
  }
  return matches;
}

/** `75`, `70-80`, `-80`, `70-` */
function matchLine(text: string): Match | undefined {
  const range = /^(\d*)(-?)(\d*)$/.exec(text);
  if (!range || text === '') return undefined;
  const first = Number(range[1] || 0);
  const last = range[2] === '' ? first : Number(range[3] || Number.POSITIVE_INFINITY);
  return first > last ? undefined : (site) => site.line >= first && site.line <= last;
}

/** match_wildcard(): * and ?. */
function wildcard(pattern: string, text: string): boolean {
  const source = pattern
    .replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.');
  return new RegExp(`^${source}$`).test(text);
}

/** ddebug_tokenize(): words, quotes keep spaces together, # ends the line. */
function tokenize(query: string): string[] {
  const words: string[] = [];
  for (const [, quote, quoted, word] of query.matchAll(/\s*(?:(["'])(.*?)\1|([^\s]+))/g)) {
    if (quote === undefined && word.startsWith('#')) break;
    words.push(quote === undefined ? word : quoted);
  }
  return words;
}
