// Programs of user space that the kernel itself runs and waits for. Mirrors call_usermodehelper() of kernel/umh.c and
// call_modprobe() of kernel/module/kmod.c; the wait is guest code (asm/x86_64/umh.s).
//
// What modprobe is to load it is told by its arguments: modules.dep is read for it when it starts, and the program does
// with the files what kmod's does (asm/x86_64/user/modprobe.s).

import { parseElf } from '../../elf/elf_object.ts';
import { ElfError } from '../../elf/error.ts';
import { MODULE_FILE, moduleName, unpack } from '../../elf/unpack.ts';
import type { FileSystem } from '../../fs/filesystem.ts';
import type { HostGenerator } from '../../guest/hostcall.ts';
import type { KernelCore } from '../../kernel/core.ts';
import { KernelError } from '../../kernel/errno.ts';
import { initListHead } from '../../kernel/list.ts';
import { SlabError } from '../../kernel/slab.ts';
import type { TaskStruct } from '../../kernel/task_struct.ts';
import { UAPI } from '../../kernel/uapi.ts';
import {
  directDependencies,
  loadOrder,
  type ModuleFile,
  moduleFile,
  symbolOwners,
} from '../../module/dependencies.ts';
import type { Sched } from '../../sched/core.ts';
import type { Exit } from '../../sched/exit.ts';
import type { Locking } from '../../sched/locking.ts';
import type { UserTasks } from '../user/user_tasks.ts';

const MODULES_DIR = '/lib/modules';

export interface HelperParts {
  readonly fs: FileSystem;
  readonly users: UserTasks;
  readonly sched: Sched;
  readonly exit: Exit;
  readonly locking: Locking;
}

export class UsermodeHelper {
  readonly #core: KernelCore;
  readonly #parts: HelperParts;
  /** The completion that ends with a helper. */
  readonly #running = new Map<TaskStruct, { readonly done: bigint; code: number | undefined }>();
  readonly #read = new WeakMap<Uint8Array, ModuleFile>();

  constructor(core: KernelCore, parts: HelperParts) {
    this.#core = core;
    this.#parts = parts;
    parts.exit.onExit.push((task, code) => {
      const helper = this.#running.get(task);
      if (!helper) return undefined;
      helper.code = code;
      return parts.locking.completing(helper.done);
    });
  }

  /** modprobe -q -- NAME. @returns its wait status, or -errno where it could not be run */
  modprobe(name: string): HostGenerator<number> {
    return this.#run('modprobe', [name, ...this.#filesFor(name)]);
  }

  /** UMH_WAIT_PROC | UMH_KILLABLE */
  *#run(program: string, args: readonly string[]): HostGenerator<number> {
    const { symbols, slab, mem, kernel } = this.#core;
    const { size, fields } = kernel.structs.completion;
    const done = slab.tryAlloc(size, 'subprocess_info');
    if (done === 0n) return -UAPI.ENOMEM;
    mem.fill(done, size, 0);
    initListHead(this.#core, done + BigInt(fields.wait_task_list));
    const task = this.#start(program, args);
    if (typeof task === 'number') {
      slab.free(done);
      return task;
    }
    const helper = { done, code: undefined };
    this.#running.set(task, helper);
    const waited = yield { call: symbols.require('call_usermodehelper_exec'), args: [done] };
    const { code } = helper as { code: number | undefined };
    this.#running.delete(task);
    slab.free(done);
    return code ?? Number(BigInt.asIntN(32, waited));
  }

  #start(program: string, args: readonly string[]): TaskStruct | number {
    const { users, sched } = this.#parts;
    try {
      const task = users.create(program, args, program);
      sched.wakeUpNewTask(task);
      return task;
    } catch (error) {
      if (error instanceof SlabError && error.code === 'ENOMEM') return -UAPI.ENOMEM;
      if (error instanceof KernelError) return -error.errno;
      throw error;
    }
  }

  /** Of each module, what it needs first, where its state is and its file; none for one that is not found. */
  #filesFor(name: string): readonly string[] {
    const paths = this.#inModulesDep(moduleName(name)) ?? this.#inFolder(name);
    return paths.flatMap((path) => [`/sys/module/${moduleName(path)}/initstate`, path]);
  }

  /** As depmod has it, where it was run and knows the module. */
  #inModulesDep(name: string): readonly string[] | undefined {
    const dir = `${MODULES_DIR}/${this.#core.kernel.release}`;
    const bytes = this.#parts.fs.ramfs.lookup(`${dir}/modules.dep`)?.bytes;
    const lines = bytes ? Buffer.from(bytes).toString('latin1').split('\n') : [];
    for (const line of lines) {
      const [own = '', needs = ''] = line.split(':', 2);
      if (moduleName(own) !== name) continue;
      const paths = [own, ...needs.split(' ').filter(Boolean)];
      return paths.reverse().map((path) => (path.startsWith('/') ? path : `${dir}/${path}`));
    }
    return undefined;
  }

  #inFolder(name: string): readonly string[] {
    const files = this.#files();
    const wanted = files.find((file) => file.name === moduleName(name));
    if (!wanted) return [];
    const owners = symbolOwners(files);
    const needs = loadOrder(wanted, (file) => directDependencies(file, owners), []).reverse();
    return [...needs, wanted].map(({ path }) => path);
  }

  /** Module files of the guest's folder; those that are none depmod would only have warned of. */
  #files(): readonly ModuleFile[] {
    const { fs } = this.#parts;
    const names = (fs.list(MODULES_DIR) ?? []).filter((file) => MODULE_FILE.test(file));
    return names.flatMap((file) => {
      const path = `${MODULES_DIR}/${file}`;
      const bytes = fs.ramfs.lookup(path)?.bytes;
      return bytes ? (this.#moduleFile(path, bytes) ?? []) : [];
    });
  }

  #moduleFile(path: string, bytes: Uint8Array): ModuleFile | undefined {
    const known = this.#read.get(bytes);
    if (known?.path === path) return known;
    try {
      const file = moduleFile(path, parseElf(unpack(bytes, path), path, this.#core.arch.elf));
      this.#read.set(bytes, file);
      return file;
    } catch (error) {
      if (error instanceof ElfError) return undefined;
      throw error;
    }
  }
}
