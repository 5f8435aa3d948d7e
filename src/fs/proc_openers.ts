// Opening and releasing files of /proc entries that a module may take away meanwhile.
// Mirrors fs/proc/inode.c: proc_reg_open, proc_reg_release, close_pdeo.
//
// Invariant: the release function of an opened file runs exactly once, from close() or from the removal of
// the entry, whichever comes first; who comes second waits until it returned.

import type { Addr } from '../guest/addr.ts';
import type { HostGenerator } from '../guest/hostcall.ts';
import { negErrno } from '../kernel/core.ts';
import type { Structs } from '../kernel/description.ts';
import { UAPI } from '../kernel/uapi.ts';
import type { FsContext } from './context.ts';

/** struct pde_opener */
interface Opener {
  readonly file: Addr;
  closing: boolean;
  /** Who waits for the release to be over. */
  waiter: Addr;
}

export class ProcOpeners {
  readonly #fs: FsContext;
  readonly #procOps: Structs['proc_ops']['fields'];
  readonly #openers = new Map<Addr, Opener[]>();

  constructor(fs: FsContext) {
    this.#fs = fs;
    this.#procOps = fs.core.kernel.structs.proc_ops.fields;
    const self = this;
    fs.core.host.defineAll({
      *proc_reg_open({ args }): HostGenerator {
        return yield* self.#open(args[0], args[1]);
      },
      *proc_reg_release({ args }): HostGenerator {
        yield* self.#release(args[0], args[1]);
        return 0;
      },
    });
  }

  /** Releases every file that is open on an entry, as the entry goes away. */
  *releaseAll(pde: Addr): HostGenerator<void> {
    for (let list = this.#openers.get(pde); list && list.length > 0; list = this.#openers.get(pde)) {
      yield* this.#closeOne(pde, list[0]);
    }
    this.#openers.delete(pde);
  }

  *#open(inode: Addr, file: Addr): HostGenerator {
    const { mem } = this.#fs;
    const pde = this.#pde(inode);
    const flags = mem.readU8(pde + BigInt(this.#fs.pde.flags));
    if (!(flags & this.#fs.constants.PROC_ENTRY_proc_lseek))
      this.#fs.clearMode(file, this.#fs.constants.FMODE_LSEEK);
    const permanent = (flags & this.#fs.constants.PROC_ENTRY_PERMANENT) !== 0;
    if (!permanent && !this.#use(pde)) return negErrno(UAPI.ENOENT);
    const open = this.#op(pde, this.#procOps.proc_open);
    const result = open === 0n ? 0n : BigInt.asIntN(32, yield { call: open, args: [inode, file] });
    if (permanent) return result;
    if (result === 0n && this.#op(pde, this.#procOps.proc_release) !== 0n) {
      const list = this.#openers.get(pde);
      const opener = { file, closing: false, waiter: 0n };
      if (list) list.unshift(opener);
      else this.#openers.set(pde, [opener]);
    }
    yield* this.#unuse(pde);
    return result;
  }

  *#release(inode: Addr, file: Addr): HostGenerator<void> {
    const pde = this.#pde(inode);
    if (this.#fs.mem.readU8(pde + BigInt(this.#fs.pde.flags)) & this.#fs.constants.PROC_ENTRY_PERMANENT) {
      const release = this.#op(pde, this.#procOps.proc_release);
      if (release !== 0n) yield { call: release, args: [inode, file] };
      return;
    }
    const opener = this.#openers.get(pde)?.find((o) => o.file === file);
    if (opener) yield* this.#closeOne(pde, opener);
  }

  /** close_pdeo() */
  *#closeOne(pde: Addr, opener: Opener): HostGenerator<void> {
    const { core } = this.#fs;
    if (opener.closing) {
      const done = this.#fs.newCompletion();
      opener.waiter = done;
      yield { call: this.#fs.symbol('wait_for_completion'), args: [done] };
      core.slab.free(done);
      return;
    }
    opener.closing = true;
    yield {
      call: this.#op(pde, this.#procOps.proc_release),
      args: [this.#fs.inodeOf(opener.file), opener.file],
    };
    const list = this.#openers.get(pde);
    list?.splice(list.indexOf(opener), 1);
    if (opener.waiter !== 0n) yield { call: this.#fs.symbol('complete'), args: [opener.waiter] };
  }

  #pde(inode: Addr): Addr {
    return this.#fs.mem.readU64(inode + BigInt(this.#fs.procInode.pde - this.#fs.procInode.vfs_inode));
  }

  #op(pde: Addr, op: number): Addr {
    const { mem } = this.#fs;
    return mem.readU64(mem.readU64(pde + BigInt(this.#fs.pde.proc_ops)) + BigInt(op));
  }

  /** use_pde() */
  #use(pde: Addr): boolean {
    const at = pde + BigInt(this.#fs.pde.in_use);
    const inUse = this.#fs.mem.readU32(at) | 0;
    if (inUse < 0) return false;
    this.#fs.mem.writeU32(at, inUse + 1);
    return true;
  }

  /** unuse_pde() */
  *#unuse(pde: Addr): HostGenerator<void> {
    const { mem } = this.#fs;
    const at = pde + BigInt(this.#fs.pde.in_use);
    const inUse = (mem.readU32(at) | 0) - 1;
    mem.writeU32(at, inUse >>> 0);
    if (inUse !== this.#fs.constants.PDE_BIAS) return;
    yield {
      call: this.#fs.symbol('complete'),
      args: [mem.readU64(pde + BigInt(this.#fs.pde.pde_unload_completion))],
    };
  }
}
