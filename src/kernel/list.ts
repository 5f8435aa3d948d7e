// Doubly linked lists of the kernel, in guest memory. Mirrors include/linux/list.h.
//
// The writes come in the kernel's order: a reader in guest code that is stopped between any two of
// them still walks a list that ends.

import type { Addr } from '../guest/addr.ts';
import type { StructHome } from './struct_home.ts';

/** A list_head in guest memory. */
class ListHead {
  readonly addr: Addr;
  readonly #home: StructHome;

  constructor(home: StructHome, addr: Addr) {
    this.#home = home;
    this.addr = addr;
  }
  #at(field: 'next' | 'prev'): Addr {
    return this.addr + BigInt(this.#home.kernel.structs.list_head.fields[field]);
  }
  get next(): Addr {
    return this.#home.mem.readU64(this.#at('next'));
  }
  set next(node: Addr) {
    this.#home.mem.writeU64(this.#at('next'), node);
  }
  get prev(): Addr {
    return this.#home.mem.readU64(this.#at('prev'));
  }
  set prev(node: Addr) {
    this.#home.mem.writeU64(this.#at('prev'), node);
  }
}

export function initListHead(home: StructHome, head: Addr): void {
  const list = new ListHead(home, head);
  list.next = head;
  list.prev = head;
}

/** list_add_rcu(): first in the list. The node is complete before a reader can come to it. */
export function listAdd(home: StructHome, node: Addr, head: Addr): void {
  insert(home, node, head, listNext(home, head));
}

export function listAddTail(home: StructHome, node: Addr, head: Addr): void {
  insert(home, node, new ListHead(home, head).prev, head);
}

function insert(home: StructHome, node: Addr, prev: Addr, next: Addr): void {
  const added = new ListHead(home, node);
  added.next = next;
  added.prev = prev;
  new ListHead(home, prev).next = node;
  new ListHead(home, next).prev = node;
}

function unlink(home: StructHome, node: Addr): ListHead {
  const removed = new ListHead(home, node);
  const { next, prev } = removed;
  new ListHead(home, next).prev = prev;
  new ListHead(home, prev).next = next;
  return removed;
}

/** list_del(): out of the list, both pointers poisoned. */
export function listDel(home: StructHome, node: Addr): void {
  const removed = unlink(home, node);
  removed.next = home.kernel.constants.LIST_POISON1;
  removed.prev = home.kernel.constants.LIST_POISON2;
}

/** list_del_rcu(): out of the list, `next` left as it is for a reader that stands on the node. */
export function listDelRcu(home: StructHome, node: Addr): void {
  unlink(home, node).prev = home.kernel.constants.LIST_POISON2;
}

/** What comes after a node; the head after the last. */
export function listNext(home: StructHome, node: Addr): Addr {
  return new ListHead(home, node).next;
}

export function listIsSingular(home: StructHome, head: Addr): boolean {
  const { next, prev } = new ListHead(home, head);
  return next !== head && next === prev;
}

/**
 * The structures on a list, as it is now; entries may be taken out while the result is walked.
 * @param offset of the list node in the structure, bytes.
 */
export function listEntries(home: StructHome, head: Addr, offset: number): Addr[] {
  const { mem, kernel } = home;
  const nextAt = BigInt(kernel.structs.list_head.fields.next);
  const entries: Addr[] = [];
  for (let node = mem.readU64(head + nextAt); node !== head; node = mem.readU64(node + nextAt)) {
    entries.push(node - BigInt(offset));
  }
  return entries;
}
