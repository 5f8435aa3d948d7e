// How the address space of a machine lies in the host's buffer: windows, each a slice of it.
//
// Invariant: windows lie behind each other in the buffer, page aligned, and no two of them at one address.

import {
  type Addr,
  hi32,
  IMAGE_BASE,
  lo32,
  MODULES_VADDR,
  PAGE_OFFSET,
  STACK_SLOT,
  THREAD_SIZE,
  VMALLOC_START,
} from './addr.ts';

/** A part of the address space that has room in RAM, mapped or not. */
export interface AddressWindow {
  readonly hi: number;
  readonly lo: number;
  /** Bytes of address space. */
  readonly span: number;
  /** Offset in the buffer of the window's first byte. */
  readonly ram: number;
  /** Of each STACK_SLOT bytes only the upper THREAD_SIZE have room: the rest is guard. */
  readonly stacks: boolean;
  /** How many address spaces have `span` bytes of RAM each for it; none where it is the same in all. */
  readonly spaces?: number;
}

export interface MemoryGeometry {
  /** Bytes from IMAGE_BASE on that the kernel's image can lie in. */
  readonly image?: number;
  /** Bytes of heap (direct map). */
  readonly heap: number;
  /** Bytes behind it, in the direct map too, of what no heap gives out. */
  readonly behindHeap?: number;
  /** How many task stacks there can be at once. */
  readonly stacks: number;
  /** Every program has its stack at the same address, in a space of its own. */
  readonly spaces?: boolean;
  /** False where there are no programs, nor room for them. */
  readonly users?: false;
  /** Bytes from MODULES_VADDR on that modules and trampolines can lie in. */
  readonly modules?: number;
}

const IMAGE_WINDOW = 8 << 20;
const MODULE_WINDOW = 96 << 20;
const USER_TEXT_WINDOW = 4 << 20;
const USER_STACK_WINDOW_MIN = 4 << 20;

/** Bytes of one user stack slot; the lower half is an unmapped guard. */
export const USER_STACK_SLOT = 0x4000;
export const USER_TEXT_BASE = 0x400000n;
export const USER_STACK_BASE = 0x7ffc00000000n;

export interface Window {
  readonly name: string;
  readonly hi: number;
  readonly lo: number;
  /** Bytes of address space. */
  readonly span: number;
  /** Offset of the window's first byte in the buffer. */
  readonly ram: number;
  /** As in AddressWindow. */
  readonly spaces: number;
}

interface Layout {
  /** All but that of task stacks. */
  readonly windows: readonly Window[];
  readonly stacks: Window;
  /** Bytes of the buffer. */
  readonly ram: number;
}

export function layOut(geometry: MemoryGeometry): Layout {
  const hasUsers = geometry.users ?? true;
  const userStacks = hasUsers ? Math.max(USER_STACK_WINDOW_MIN, geometry.stacks * USER_STACK_SLOT) : 0;
  let ram = 0;
  const window = (name: string, base: Addr, span: number, bytes = span, spaces = 0): Window => {
    const w = { name, hi: hi32(base), lo: lo32(base), span, ram, spaces };
    ram += bytes;
    return w;
  };
  const image = window('image', IMAGE_BASE, geometry.image ?? IMAGE_WINDOW);
  const modules = window('modules', MODULES_VADDR, geometry.modules ?? MODULE_WINDOW);
  const heap = window('heap', PAGE_OFFSET, geometry.heap + (geometry.behindHeap ?? 0));
  const stacks = window('stacks', VMALLOC_START, geometry.stacks * STACK_SLOT, geometry.stacks * THREAD_SIZE);
  const userText = window('user text', USER_TEXT_BASE, hasUsers ? USER_TEXT_WINDOW : 0);
  const spaces = userStacks / USER_STACK_SLOT;
  const userStack = geometry.spaces
    ? window('user stack', USER_STACK_BASE, USER_STACK_SLOT, userStacks, spaces)
    : window('user stacks', USER_STACK_BASE, userStacks);
  return { windows: [image, modules, heap, userText, userStack], stacks, ram };
}
