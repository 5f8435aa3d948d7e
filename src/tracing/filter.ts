// What set_ftrace_filter and set_ftrace_notrace are told. Mirrors ftrace_process_regex() and match_records() of
// kernel/trace/ftrace.c: words of a name with `*`, `?` and `[...]`, `!` before what goes, `:mod:NAME` behind for a module's.

import type { FtraceRec } from '../ftrace/dyn_ftrace.ts';
import type { Ftrace } from '../ftrace/ftrace.ts';
import type { Addr } from '../guest/addr.ts';
import type { KernelCore } from '../kernel/core.ts';
import { UAPI } from '../kernel/uapi.ts';

const MODULE = ':mod:';

/** @returns 0, or -EINVAL for a word that no function has: those before it are done. */
export function changeFilter(core: KernelCore, ftrace: Ftrace, filter: Set<Addr>, text: string): number {
  for (const word of text.split(/[\s\0]+/).filter(Boolean)) {
    const removes = word.startsWith('!');
    const found = matching(core, ftrace, removes ? word.slice(1) : word);
    if (found.length === 0) return -UAPI.EINVAL;
    for (const { ip } of found) {
      if (removes) filter.delete(ip);
      else filter.add(ip);
    }
  }
  return 0;
}

function matching({ symbols }: KernelCore, ftrace: Ftrace, word: string): FtraceRec[] {
  const [pattern, module] = word.includes(MODULE) ? word.split(MODULE) : [word, undefined];
  const name = globRegex(pattern === '' ? '*' : pattern);
  const inModule = module === undefined ? undefined : globRegex(module);
  const found: FtraceRec[] = [];
  for (const rec of ftrace.records.all()) {
    if (inModule && !(rec.module !== undefined && inModule.test(rec.module))) continue;
    if (name.test(symbols.lookup(rec.ip)?.name ?? '')) found.push(rec);
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
  { symbols }: KernelCore,
  ftrace: Ftrace,
  filter: ReadonlySet<Addr>,
  none: string,
): string {
  if (filter.size === 0) return `#### ${none} ####\n`;
  let text = '';
  for (const rec of ftrace.records.all()) {
    if (!filter.has(rec.ip)) continue;
    const name = symbols.lookup(rec.ip)?.name ?? '';
    text += rec.module === undefined ? `${name}\n` : `${name} [${rec.module}]\n`;
  }
  return text;
}
