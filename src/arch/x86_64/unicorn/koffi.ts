// koffi, the binding to native libraries: loaded when a library is opened, and no earlier. Machines do without it.

import { createRequire } from 'node:module';
import type koffiModule from 'koffi';
import { EngineError } from '../../../guest/engine.ts';

type Koffi = typeof koffiModule;

let loaded: Koffi | undefined;

/** @throws EngineError when the package is not installed, or has nothing for this platform */
export function koffi(): Koffi {
  if (loaded) return loaded;
  try {
    const found = createRequire(import.meta.url)('koffi') as Koffi & { default?: Koffi };
    loaded = found.default ?? found;
  } catch (error) {
    throw new EngineError(
      `Unicorn is called through the npm package koffi, which cannot be loaded: ${(error as Error).message.split('\n')[0]}`,
    );
  }
  return loaded;
}
