// Address spaces: struct mm_struct, and who uses one. Mirrors kernel/fork.c (mm_alloc, dup_mm, mmput, __mmdrop) and
// kernel/exit.c (exit_mm); what a switch does with them is guest code (asm/x86_64/sched.s).
//
// What a program has of its own is its stack. There are no page tables: pgd points to where they would lie, and so says
// which space of GuestMemory it is; 0 is the kernel's, in which no program has anything.
//
// Each space has its struct, in a cache of all of them behind the heap: a CPU may borrow one for as long as it idles, and
// what the heap has given out says what is left behind.
//
// Invariant: mm_users counts tasks, mm_count those that borrow it and all tasks together; a space is given out again only
// when both are 0, so that no CPU is in it.

import { type Addr, PAGE_OFFSET } from '../guest/addr.ts';
import { PAGE_SIZE, PROT_READ, PROT_WRITE } from '../guest/memory.ts';
import { USER_STACK_SLOT } from '../guest/windows.ts';
import type { KernelCore } from '../kernel/core.ts';
import type { Structs } from '../kernel/description.ts';
import { KernelError } from '../kernel/errno.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import { UAPI } from '../kernel/uapi.ts';

/** Bytes behind the heap for the address spaces of so many tasks. */
export function mmPoolSize(size: number, stacks: number): number {
  return Math.ceil((size * stacks) / PAGE_SIZE) * PAGE_SIZE;
}

export class MmStructs {
  readonly #core: KernelCore;
  readonly #task: Structs['task_struct']['fields'];
  readonly #mm: Structs['mm_struct'];
  readonly #pool: Addr;
  readonly #free: number[] = [];
  #next = 1;

  constructor(core: KernelCore) {
    this.#core = core;
    this.#task = core.kernel.structs.task_struct.fields;
    this.#mm = core.kernel.structs.mm_struct;
    const { mem } = core;
    this.#pool = PAGE_OFFSET + BigInt(mem.geometry.heap);
    mem.map(this.#pool, mem.geometry.behindHeap ?? 0, PROT_READ | PROT_WRITE);
    const init = core.symbols.require('init_mm');
    mem.writeU64(init + BigInt(this.#mm.fields.pgd), PAGE_OFFSET);
    this.#count(init, 'mm_users', 2);
    this.#count(init, 'mm_count', 1);
    core.host.define('__mmdrop', ({ args }) => this.#release(args[0]));
  }

  /** The address space of a task; 0 for a kernel thread. */
  of(task: TaskStruct): Addr {
    return this.#core.mem.readU64(task.addr + BigInt(this.#task.mm));
  }

  /** Where the user stack of an address space begins, and the number of that space. */
  stackOf(mm: Addr): { readonly base: Addr; readonly space: number } {
    const pgd = this.#core.mem.readU64(mm + BigInt(this.#mm.fields.pgd));
    const space = Number(pgd - PAGE_OFFSET) / PAGE_SIZE;
    return { base: this.#core.mem.userStackOf(space), space };
  }

  /** mm_alloc(): a new one, with nothing in it, for one task. @throws KernelError ENOMEM */
  alloc(task: TaskStruct): Addr {
    const { mem } = this.#core;
    const space = this.#free.pop() ?? this.#next++;
    if (space > mem.geometry.stacks) {
      this.#next--;
      throw new KernelError(UAPI.ENOMEM, 'no address space is left');
    }
    const mm = this.#pool + BigInt((space - 1) * this.#mm.size);
    mem.writeU64(mm + BigInt(this.#mm.fields.pgd), PAGE_OFFSET + BigInt(space * PAGE_SIZE));
    this.#count(mm, 'mm_users', 1);
    this.#count(mm, 'mm_count', 1);
    this.#use(task, mm);
    return mm;
  }

  /** dup_mm(): a copy of the parent's, for its child. @throws KernelError ENOMEM */
  dup(child: TaskStruct, parent: TaskStruct): void {
    const { mem } = this.#core;
    const from = this.stackOf(this.of(parent));
    const to = this.stackOf(this.alloc(child));
    const bytes = mem.inSpace(from.space, () => mem.readBytes(from.base, USER_STACK_SLOT));
    mem.inSpace(to.space, () => mem.writeBytes(to.base, bytes));
  }

  /** CLONE_VM: the parent's. */
  share(child: TaskStruct, parent: TaskStruct): void {
    const mm = this.of(parent);
    this.#count(mm, 'mm_users', 1);
    this.#use(child, mm);
  }

  /** An idle task borrows the kernel's. */
  borrowInit(idle: TaskStruct): void {
    const mm = this.#core.symbols.require('init_mm');
    this.#count(mm, 'mm_count', 1);
    this.#core.mem.writeU64(idle.addr + BigInt(this.#task.active_mm), mm);
  }

  /** exit_mm(): the task goes on in it as a kernel thread would. */
  exit(task: TaskStruct): void {
    const mm = this.of(task);
    if (mm === 0n) return;
    this.#count(mm, 'mm_count', 1);
    this.#core.mem.writeU64(task.addr + BigInt(this.#task.mm), 0n);
    this.#put(mm);
  }

  /** The task was never to run: bad_fork_cleanup_mm. */
  drop(task: TaskStruct): void {
    const mm = this.of(task);
    if (mm !== 0n) this.#put(mm);
  }

  #use(task: TaskStruct, mm: Addr): void {
    for (const field of ['mm', 'active_mm'] as const)
      this.#core.mem.writeU64(task.addr + BigInt(this.#task[field]), mm);
  }

  /** mmput(): what programs have there goes with the last of them. */
  #put(mm: Addr): void {
    if (this.#count(mm, 'mm_users', -1) > 0) return;
    const { base, space } = this.stackOf(mm);
    const { mem } = this.#core;
    mem.inSpace(space, () => mem.fill(base, USER_STACK_SLOT, 0));
    if (this.#count(mm, 'mm_count', -1) === 0) this.#release(mm);
  }

  /** __mmdrop() */
  #release(mm: Addr): void {
    this.#free.push(this.stackOf(mm).space);
    this.#core.mem.fill(mm, this.#mm.size, 0);
  }

  #count(mm: Addr, field: 'mm_users' | 'mm_count', by: number): number {
    const { mem } = this.#core;
    const at = mm + BigInt(this.#mm.fields[field]);
    const count = mem.readS32(at) + by;
    mem.writeU32(at, count >>> 0);
    return count;
  }
}
