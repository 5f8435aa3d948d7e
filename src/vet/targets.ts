// Modules that livepatches are for: those that can be loaded, and what is said of the others.

import type { Finding } from './finding.ts';
import type { ModuleLibrary } from './module_library.ts';
import type { Subject } from './subject.ts';

interface Targets {
  /** Each once, in the order in which they are named. */
  readonly names: readonly string[];
  readonly findings: readonly Finding[];
}

export function targetsOf(
  subjects: readonly Subject[],
  { modules, vmlinuxOnly }: { readonly modules: ModuleLibrary; readonly vmlinuxOnly: boolean },
): Targets {
  const counts = new Map<string, number>();
  for (const { module, functions } of subjects.flatMap(({ members }) =>
    members.flatMap((one) => one.objects),
  ))
    if (module !== undefined) counts.set(module, (counts.get(module) ?? 0) + functions.length);
  const finding = (weight: Finding['weight'], text: string): Finding => ({ part: 'loads', weight, text });
  if (vmlinuxOnly) {
    const findings = [...counts].map(([module, count]) =>
      finding('told', `${module} is left out, as was asked: ${count} functions`),
    );
    return { names: [], findings };
  }
  const names = [...counts.keys()].filter((module) => modules.order(module));
  const where = modules.folder === undefined ? 'no --modules says where' : `it is not in ${modules.folder}`;
  const findings = [...counts.keys()]
    .filter((module) => !names.includes(module))
    .map((module) => finding('not seen', `${module}, which it is for, is not looked at: ${where}`));
  return { names, findings };
}
