// The core's WebAssembly module: read and compiled once a process, an instance a machine.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { EngineError } from '../../../guest/engine.ts';
import { packageRoot } from '../../../guest/package_root.ts';
import { withLoopBudget } from '../../../guest/v8_budgets.ts';

/** What the module exports (core/index.ts). Addresses in linear memory are unsigned, but come signed from a call. */
export interface CoreExports {
  /** Before anything else: another machine may have been here. */
  begin(): void;
  /** @returns a STOP_ */
  runContext(context: number, budget: number, oneBlock: number): number;
  /** Executes a block with the registers that are there. @returns a STOP_ */
  runBlock(block: number, budget: number): number;
  /** Takes in a context: one that lies where registers execute has its flags taken in. */
  enterContext(context: number): void;
  /** Address in linear memory of code, 0 after a page fault. */
  fetch(va: bigint): number;
  /** Offset in RAM of an address; -1 when it is in no window. */
  ramOf(va: bigint): number;
  /** Address in linear memory of a byte that the context which was entered last accesses, 0 after a page fault. */
  reach(va: bigint, access: number): number;
  /** Memory that the engine found accessible, as an instruction reads or writes it: STOP says whether it is watched. */
  observeRead(va: bigint, size: number, access: number): bigint;
  observeWrite(va: bigint, size: number, value: bigint): void;
  /** The oldest stores that wait at an address in linear memory are made. @returns how many are left */
  drainQueue(queue: number, most: number): number;
  addBlock(block: number): void;
  invalidatePage(page: number): void;
  forgetLookups(): void;
  flushTlb(): void;
}

let compiled: WebAssembly.Module | undefined;

/** @throws EngineError when the module was not built */
function coreModule(): WebAssembly.Module {
  if (compiled) return compiled;
  const path = join(packageRoot(), 'data', 'core.wasm');
  let bytes: Uint8Array<ArrayBuffer>;
  try {
    bytes = readFileSync(path);
  } catch {
    throw new EngineError(`${path} is missing: npm run build makes it`);
  }
  compiled = withLoopBudget(() => new WebAssembly.Module(bytes));
  return compiled;
}

export function instantiate(memory: WebAssembly.Memory): CoreExports {
  return new WebAssembly.Instance(coreModule(), { env: { memory } }).exports as unknown as CoreExports;
}
