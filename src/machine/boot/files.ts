// The file system as it is before the first task: with what other parts show in it.

import { FileSystem } from '../../fs/filesystem.ts';
import type { KernelCore } from '../../kernel/core.ts';
import { makeControlFiles } from '../control_files.ts';
import type { Traces } from '../truth/traces.ts';
import type { KernelParts } from './kernel_parts.ts';
import type { PatchingParts } from './patching.ts';
import { procTexts } from './proc_texts.ts';

export function fileSystem(
  core: KernelCore,
  { format, workqueue, timers }: KernelParts,
  { sysfs, moduleList, ftrace, livepatch, tracing }: PatchingParts,
  traces: Traces,
  commandLine: string,
): FileSystem {
  const texts = procTexts(moduleList, traces, workqueue, ftrace);
  const fs = new FileSystem(core, format, { sysfs, commandLine, texts });
  makeControlFiles(core, fs, ftrace, livepatch, tracing, timers);
  return fs;
}
