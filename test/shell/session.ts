// A machine with a shell and some of the fixture modules, for the tests of this folder.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Machine, type MachineOptions } from '../../src/machine/machine.ts';
import { Shell } from '../../src/shell/shell.ts';

const MODULES = join(import.meta.dirname, '../../fixtures/modules');

export class Session {
  readonly machine: Machine;
  readonly shell: Shell;

  static async boot(modules: readonly string[], options: MachineOptions = {}): Promise<Session> {
    return new Session(await Machine.boot(options), modules);
  }

  private constructor(machine: Machine, modules: readonly string[]) {
    this.machine = machine;
    this.shell = new Shell(machine, {
      modules: () =>
        modules.map((name) => ({ name: `${name}.ko`, bytes: readFileSync(join(MODULES, `${name}.ko`)) })),
    });
    this.shell.context.modules.depmod();
  }

  /** What a person would see of a line: its output and errors, and its exit status where that is not 0. */
  async sh(line: string): Promise<string> {
    const { stdout, stderr, status } = await this.shell.execute(line);
    return stdout + stderr + (status === 0 ? '' : `[exit status ${status}]\n`);
  }
}
