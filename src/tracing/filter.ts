// What set_ftrace_filter and set_ftrace_notrace are told. Mirrors ftrace_process_regex() and match_records() of
// kernel/trace/ftrace.c: words of a name with `*`, `?` and `[...]`, `!` before what goes, `:mod:NAME` behind for a module's.

import { type FtraceRec, isValid } from '../ftrace/dyn_ftrace.ts';
import type { Ftrace } from '../ftrace/ftrace.ts';
import type { Addr } from '../guest/addr.ts';
import type { KernelCore } from '../kernel/core.ts';
import { UAPI } from '../kernel/uapi.ts';

const MODULE = ':mod:';

/** Words for the functions of a module that is not there yet, as they were written. */
interface AwaitedFilter {
  readonly pattern: string;
  readonly module: string;
}

export interface Filter {
  /** Sites; in place of one whose module has gone, 0: a filter that had something never means every function. */
  readonly sites: ReadonlySet<Addr>;
  /** Latest first. */
  readonly awaited: readonly AwaitedFilter[];
}

export const NO_FILTER: Filter = { sites: new Set(), awaited: [] };

interface Changed {
  readonly filter: Filter;
  /** 0, or -EINVAL for a word that no function has: those before it are done. */
  readonly status: number;
}

export function changeFilter(
  core: KernelCore,
  ftrace: Ftrace,
  old: Filter,
  text: string,
  isLoaded: (module: string) => boolean,
): Changed {
  let filter = old;
  for (const word of text.split(/[\s\0]+/).filter(Boolean)) {
    const changed = changedBy(core, ftrace, filter, word) ?? awaiting(filter, word, isLoaded);
    if (!changed) return { filter, status: -UAPI.EINVAL };
    filter = changed;
  }
  return { filter, status: 0 };
}

/** match_records() @returns undefined where no function has the word */
function changedBy(core: KernelCore, ftrace: Ftrace, filter: Filter, word: string): Filter | undefined {
  const removes = word.startsWith('!');
  const found = matching(core, ftrace, removes ? word.slice(1) : word);
  if (found.length === 0) return undefined;
  const sites = new Set(filter.sites);
  for (const { ip } of found) {
    if (removes) sites.delete(ip);
    else sites.add(ip);
  }
  return { ...filter, sites };
}

/** cache_mod(): kept for the module, or with `!` forgotten. @returns undefined for what is neither */
function awaiting(filter: Filter, word: string, isLoaded: (module: string) => boolean): Filter | undefined {
  if (!word.includes(MODULE)) return undefined;
  const [pattern, module] = word.split(MODULE);
  if (!pattern.startsWith('!'))
    return isLoaded(module) ? undefined : { ...filter, awaited: [{ pattern, module }, ...filter.awaited] };
  const gone = pattern.slice(1);
  const awaited = filter.awaited.filter(
    (one) => one.module !== module || (gone !== '*' && one.pattern !== gone),
  );
  return awaited.length === filter.awaited.length ? undefined : { ...filter, awaited };
}

/** process_cached_mods(): what waited for a module holds of its functions. */
export function cameFor(core: KernelCore, ftrace: Ftrace, filter: Filter, module: string): Filter {
  let changed: Filter = { ...filter, awaited: filter.awaited.filter((one) => one.module !== module) };
  for (const one of filter.awaited)
    if (one.module === module)
      changed = changedBy(core, ftrace, changed, `${one.pattern}${MODULE}${module}`) ?? changed;
  return changed;
}

/** Without those that ftrace never touches, as their functions were thrown away. */
function matching(core: KernelCore, ftrace: Ftrace, word: string): FtraceRec[] {
  const [pattern, module] = word.includes(MODULE) ? word.split(MODULE) : [word, undefined];
  const name = globRegex(pattern === '' ? '*' : pattern);
  const inModule = module === undefined ? undefined : globRegex(module);
  const found: FtraceRec[] = [];
  for (const rec of ftrace.records.all()) {
    if (inModule && !(rec.module !== undefined && inModule.test(rec.module))) continue;
    if (name.test(ftrace.records.nameOf(core, rec)) && isValid(core, rec)) found.push(rec);
  }
  return found;
}

/** glob_match() of lib/glob.c */
function globRegex(glob: string): RegExp {
  const source = glob.replace(/\*|\?|\[!?\]?[^\]]*\]|[\s\S]/g, (part) => {
    if (part === '*') return '[\\s\\S]*';
    if (part === '?') return '[\\s\\S]';
    if (part.length > 1)
      return `[${part
        .slice(1, -1)
        .replace(/^!/, '^')
        .replace(/[\\\]]/g, '\\$&')}]`;
    return part.replace(/[\\^$.|+()[\]{}]/g, '\\$&');
  });
  return new RegExp(`^${source}$`);
}

/** As t_show() lists it. @param none what stands there for an empty one */
export function filterText(
  core: KernelCore,
  ftrace: Ftrace,
  { sites, awaited }: Filter,
  none: string,
): string {
  let text = sites.size + awaited.length === 0 ? `#### ${none} ####\n` : '';
  if (sites.size > 0)
    for (const rec of ftrace.records.all()) {
      if (!sites.has(rec.ip)) continue;
      const name = ftrace.records.nameOf(core, rec);
      text += rec.module === undefined ? `${name}\n` : `${name} [${rec.module}]\n`;
    }
  for (const { pattern, module } of awaited) text += `${pattern}${MODULE}${module}\n`;
  return text;
}
