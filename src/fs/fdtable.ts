// Which files a task has open. Mirrors fs/file.c: dup_fd, exit_files.
//
// The table is struct files_struct in guest memory, where asm/x86_64/fs/file.s reads and writes it; only making,
// copying and giving back is done here. It has room for 64 descriptors and does not grow.

import type { Addr } from '../guest/addr.ts';
import type { HostGenerator } from '../guest/hostcall.ts';
import type { Structs } from '../kernel/description.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import type { FsContext } from './context.ts';

export class FdTables {
  readonly #fs: FsContext;
  readonly #filesStruct: Structs['files_struct']['fields'];
  readonly #fdtable: Structs['fdtable']['fields'];
  readonly #taskFilesAt: bigint;
  readonly #fCountAt: bigint;

  constructor(fs: FsContext) {
    this.#fs = fs;
    this.#filesStruct = fs.core.kernel.structs.files_struct.fields;
    this.#fdtable = fs.core.kernel.structs.fdtable.fields;
    this.#taskFilesAt = BigInt(fs.core.kernel.structs.task_struct.fields.files);
    this.#fCountAt = BigInt(fs.fileCount.at);
  }

  /** A new empty table for a task without one. */
  create(task: TaskStruct): Addr {
    const { mem, core } = this.#fs;
    const files = core.slab.alloc(this.#fs.core.kernel.structs.files_struct.size, 'files_struct');
    const table = files + BigInt(this.#filesStruct.fdtab);
    mem.writeU32(files + BigInt(this.#filesStruct.count), 1);
    mem.writeU64(files + BigInt(this.#filesStruct.fdt), table);
    mem.writeU32(table + BigInt(this.#fdtable.max_fds), this.#fs.constants.NR_OPEN_DEFAULT);
    mem.writeU64(table + BigInt(this.#fdtable.fd), files + BigInt(this.#filesStruct.fd_array));
    mem.writeU64(
      table + BigInt(this.#fdtable.close_on_exec),
      files + BigInt(this.#filesStruct.close_on_exec_init),
    );
    mem.writeU64(table + BigInt(this.#fdtable.open_fds), files + BigInt(this.#filesStruct.open_fds_init));
    mem.writeU64(
      table + BigInt(this.#fdtable.full_fds_bits),
      files + BigInt(this.#filesStruct.full_fds_bits_init),
    );
    mem.writeU64(task.addr + this.#taskFilesAt, files);
    return files;
  }

  /** copy_files(): the child shares the table (CLONE_FILES) or gets a copy; each file gains a reference. */
  copy(parent: TaskStruct, child: TaskStruct, share: boolean): void {
    const { mem } = this.#fs;
    const from = mem.readU64(parent.addr + this.#taskFilesAt);
    mem.writeU64(child.addr + this.#taskFilesAt, 0n);
    if (from === 0n) return;
    if (share) {
      mem.writeU32(
        from + BigInt(this.#filesStruct.count),
        mem.readU32(from + BigInt(this.#filesStruct.count)) + 1,
      );
      mem.writeU64(child.addr + this.#taskFilesAt, from);
      return;
    }
    this.create(child);
    for (const { fd, file } of this.open(parent)) {
      mem.writeU64(file + this.#fCountAt, mem.readU64(file + this.#fCountAt) + 1n);
      this.install(child, fd, file);
    }
  }

  /** Puts a file at a descriptor; the reference goes to the table. */
  install(task: TaskStruct, fd: number, file: Addr): void {
    const { mem } = this.#fs;
    const files = mem.readU64(task.addr + this.#taskFilesAt);
    mem.writeU64(files + BigInt(this.#filesStruct.fd_array + fd * 8), file);
    const open = files + BigInt(this.#filesStruct.open_fds_init);
    mem.writeU64(open, mem.readU64(open) | (1n << BigInt(fd)));
  }

  /** The file at a descriptor of a task; undefined when there is none (EBADF). */
  file(task: TaskStruct, fd: number): Addr | undefined {
    const { mem } = this.#fs;
    const files = mem.readU64(task.addr + this.#taskFilesAt);
    if (files === 0n || fd < 0 || fd >= this.#fs.constants.NR_OPEN_DEFAULT) return undefined;
    return mem.readU64(files + BigInt(this.#filesStruct.fd_array + fd * 8)) || undefined;
  }

  /** Open descriptors, ascending. */
  open(task: TaskStruct): { fd: number; file: Addr }[] {
    const found: { fd: number; file: Addr }[] = [];
    for (let fd = 0; fd < this.#fs.constants.NR_OPEN_DEFAULT; fd++) {
      const file = this.file(task, fd);
      if (file !== undefined) found.push({ fd, file });
    }
    return found;
  }

  /** exit_files(): the last task of a table closes what is in it. Release functions may be guest code. */
  *exit(task: TaskStruct): HostGenerator<void> {
    const { mem, core } = this.#fs;
    const files = mem.readU64(task.addr + this.#taskFilesAt);
    if (files === 0n) return;
    const count = mem.readU32(files + BigInt(this.#filesStruct.count)) - 1;
    mem.writeU32(files + BigInt(this.#filesStruct.count), count);
    if (count > 0) {
      mem.writeU64(task.addr + this.#taskFilesAt, 0n);
      return;
    }
    for (const { fd, file } of this.open(task)) {
      mem.writeU64(files + BigInt(this.#filesStruct.fd_array + fd * 8), 0n);
      yield { call: this.#fs.symbol('filp_close'), args: [file] };
    }
    mem.writeU64(task.addr + this.#taskFilesAt, 0n);
    core.slab.free(files);
  }
}
