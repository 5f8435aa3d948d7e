// A machine of the model of per-object modules, with livepatches made of the fixtures of bundles.

import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { patchModule } from '../../src/bundle/format.ts';
import type { TaskStruct } from '../../src/kernel/task_struct.ts';
import { Machine, type MachineOptions } from '../../src/machine/machine.ts';
import { makeSubmodules } from '../../src/submodules/make.ts';
import { ko, World } from '../bundle/world.ts';

/** Files of a livepatch, from members by the ends of their names. */
export function submodulesOf(patch: string, members: readonly string[]) {
  const files = members.map((member) => {
    const file = `klpbundle_${member}.ko`;
    return { file, object: patchModule(file, ko(member), X86_64.elf).object, bytes: ko(member) };
  });
  return makeSubmodules(patch, files, X86_64.elf);
}

export class SubmoduleWorld extends World {
  static override async boot(options: MachineOptions = {}): Promise<SubmoduleWorld> {
    const fast = { model: 'per-object modules', instructionNs: 2000, heap: 16 << 20, maxTasks: 96 } as const;
    return new SubmoduleWorld(await Machine.boot({ ...fast, ...options }));
  }

  /** Puts the files where modprobe finds them. */
  install(patch: string, members: readonly string[]): void {
    for (const { file, bytes } of submodulesOf(patch, members))
      this.machine.addFile(`/lib/modules/${file}`, bytes);
  }

  startPatch(patch: string): TaskStruct {
    return this.machine.insmod(`/lib/modules/${patch}.ko`);
  }

  /** Installs and loads. */
  patch(patch: string, members: readonly string[]): number | undefined {
    this.install(patch, members);
    return this.wait(this.startPatch(patch));
  }

  /** The helper that runs. */
  helper(): TaskStruct | undefined {
    return [...this.machine.inspect.core.tasks.processes()].find(({ comm }) => comm === 'modprobe');
  }
}
