// Doubly linked lists of the kernel, in guest memory. Mirrors include/linux/list.h.
//
// The writes come in the kernel's order: a reader in guest code that is stopped between any two of
// them still walks a list that ends.

import type { Addr } from '../guest/addr.ts';
import type { GuestMemory } from '../guest/memory.ts';

const LIST_POISON1 = 0xdead000000000100n;
const LIST_POISON2 = 0xdead000000000122n;

export function initListHead(mem: GuestMemory, head: Addr): void {
  mem.writeU64(head, head);
  mem.writeU64(head + 8n, head);
}

/** list_add_rcu(): first in the list. The node is complete before a reader can come to it. */
export function listAdd(mem: GuestMemory, node: Addr, head: Addr): void {
  insert(mem, node, head, mem.readU64(head));
}

export function listAddTail(mem: GuestMemory, node: Addr, head: Addr): void {
  insert(mem, node, mem.readU64(head + 8n), head);
}

function insert(mem: GuestMemory, node: Addr, prev: Addr, next: Addr): void {
  mem.writeU64(node, next);
  mem.writeU64(node + 8n, prev);
  mem.writeU64(prev, node);
  mem.writeU64(next + 8n, node);
}

function unlink(mem: GuestMemory, node: Addr): void {
  const next = mem.readU64(node);
  const prev = mem.readU64(node + 8n);
  mem.writeU64(next + 8n, prev);
  mem.writeU64(prev, next);
}

/** list_del(): out of the list, both pointers poisoned. */
export function listDel(mem: GuestMemory, node: Addr): void {
  unlink(mem, node);
  mem.writeU64(node, LIST_POISON1);
  mem.writeU64(node + 8n, LIST_POISON2);
}

/** list_del_rcu(): out of the list, `next` left as it is for a reader that stands on the node. */
export function listDelRcu(mem: GuestMemory, node: Addr): void {
  unlink(mem, node);
  mem.writeU64(node + 8n, LIST_POISON2);
}

export function listEmpty(mem: GuestMemory, head: Addr): boolean {
  return mem.readU64(head) === head;
}

export function listIsSingular(mem: GuestMemory, head: Addr): boolean {
  const next = mem.readU64(head);
  return next !== head && next === mem.readU64(head + 8n);
}

/**
 * The structures on a list, as it is now; entries may be taken out while the result is walked.
 * @param offset of the list node in the structure, bytes.
 */
export function listEntries(mem: GuestMemory, head: Addr, offset: number): Addr[] {
  const entries: Addr[] = [];
  for (let node = mem.readU64(head); node !== head; node = mem.readU64(node))
    entries.push(node - BigInt(offset));
  return entries;
}
