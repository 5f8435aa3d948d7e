// The core's linear memory: what lies where behind the fixed part (core/layout.ts), and memories that closed machines have
// left. A new one costs address space, its pages one by one, and a collection of JavaScript's heap, which counts it; and V8
// compiles the ways into the core anew.
//
// Invariant: a memory that is taken is all zero but for the arena, of which nothing is read that was not written since.
// So every page of RAM that somebody may have written is marked: by the core as it fills its table of translations, by
// GuestMemory as it gives an offset out.

import { THREAD_SIZE } from '../../../guest/addr.ts';
import { PAGE_SIZE } from '../../../guest/memory.ts';
import { ARENA, CONTEXT_STRIDE, TABLES } from '../core/layout.ts';
import { type CoreExports, instantiate } from './wasm.ts';

const WASM_PAGE = 65536;
/** Contexts, at most: none is given back before the engine is closed. */
export const MOST_CONTEXTS = 4096;
/** Memories that are kept. */
const MOST_KEPT = 2;
/** What RAM and stacks are rounded up to, so that machines of nearly the same size have use for each other's. Address space alone. */
const RAM_STEP = 64 << 20;
const STACKS_STEP = 128 * THREAD_SIZE;

/** Where the parts begin that depend on the size of RAM. */
interface Places {
  /** Bytes that there are for RAM, and those of task stacks that there is room to note frames of. */
  readonly bytes: number;
  readonly stacks: number;
  readonly ram: number;
  readonly ramPages: number;
  readonly pageBlocks: number;
  /** A byte a page of RAM: whether it may have been written. */
  readonly touched: number;
  readonly contexts: number;
  readonly frames: number;
  readonly depths: number;
  /** In pages of WebAssembly's. */
  readonly size: number;
}

function placesFor(bytes: number, stacks: number): Places {
  const ramPages = Math.ceil(bytes / PAGE_SIZE);
  const pageBlocks = align(TABLES + ramPages, 4);
  const touched = pageBlocks + 4 * ramPages;
  const ram = align(touched + ramPages, WASM_PAGE);
  const contexts = align(ram + bytes, WASM_PAGE);
  const frames = align(contexts + MOST_CONTEXTS * CONTEXT_STRIDE, WASM_PAGE);
  const depths = frames + stacks;
  const size = Math.ceil((depths + 4 * (stacks / THREAD_SIZE)) / WASM_PAGE);
  return { bytes, stacks, ram, ramPages, pageBlocks, touched, contexts, frames, depths, size };
}

/** A memory, the core over it, and where things lie in it: there may be more of it than was asked for. */
export interface LinearMemory {
  readonly buffer: ArrayBuffer;
  readonly core: CoreExports;
  readonly places: Places;
}
const kept: LinearMemory[] = [];

/**
 * One that a closed machine has left, where there is any that is large enough.
 * @param stacks bytes of RAM that are task stacks
 * @throws RangeError when there is no address space for it
 */
export function takeMemory(bytes: number, stacks: number): LinearMemory {
  const [found] = kept
    .filter(({ places }) => places.bytes >= bytes && places.stacks >= stacks)
    .sort((a, b) => a.places.bytes - b.places.bytes);
  if (!found) return newMemory(align(bytes, RAM_STEP), align(stacks, STACKS_STEP));
  kept.splice(kept.indexOf(found), 1);
  clear(found);
  found.core.begin();
  return found;
}

/** One that nobody else has had, nor will. @throws RangeError when there is no address space for it */
export function newMemory(bytes: number, stacks: number): LinearMemory {
  const places = placesFor(bytes, stacks);
  const memory = new WebAssembly.Memory({ initial: places.size, maximum: places.size });
  return { buffer: memory.buffer as ArrayBuffer, core: instantiate(memory), places };
}

/** A memory that nobody uses any more. What was read of it before is to be read no more. */
export function leaveMemory(left: LinearMemory): void {
  kept.unshift(left);
  kept.length = Math.min(kept.length, MOST_KEPT);
}

function clear({ buffer, places }: LinearMemory): void {
  const { ram, ramPages, touched, contexts, frames, depths } = places;
  const bytes = new Uint8Array(buffer);
  const marks = bytes.subarray(touched, touched + ramPages);
  for (let page = marks.indexOf(1); page >= 0; page = marks.indexOf(1, page + 1))
    bytes.fill(0, ram + page * PAGE_SIZE, ram + (page + 1) * PAGE_SIZE);
  bytes.fill(0, 0, ARENA);
  bytes.fill(0, TABLES, ram);
  clearContexts(bytes, contexts);
  const deep = new Uint32Array(buffer, depths, (depths - frames) / THREAD_SIZE);
  deep.forEach((depth, slot) => {
    const end = frames + (slot + 1) * THREAD_SIZE;
    bytes.fill(0, end - ((depth + 7) & ~7), end);
  });
  deep.fill(0);
}

/** They are used one behind the other; none that was used is all zero, for MXCSR is in it. */
function clearContexts(bytes: Uint8Array, contexts: number): void {
  const words = new Uint32Array(bytes.buffer, contexts, (MOST_CONTEXTS * CONTEXT_STRIDE) / 4);
  const each = CONTEXT_STRIDE / 4;
  for (let at = 0; at < words.length && words.subarray(at, at + each).some((word) => word !== 0); at += each)
    words.fill(0, at, at + each);
}

const align = (value: number, to: number): number => Math.ceil(value / to) * to;
