// The engine of a machine: the CPU port, and what of it only the port of an instruction set knows.

import type { Addr } from '../guest/addr.ts';
import type { Engine } from '../guest/engine.ts';
import type { GuestMemory } from '../guest/memory.ts';

export interface ArchEngine extends Engine {
  /**
   * Writes the tables that hardware itself reads into the guest's memory, and loads them; contexts made later go by
   * them. Called once, when the image is mapped; nothing is executed before.
   * @param addressOf a symbol of the image. @throws Error for one that it lacks
   */
  loadTables(mem: GuestMemory, addressOf: (symbol: string) => Addr): void;
  /**
   * From now on kernel and users are kept from each other's memory, and user programs have address spaces of their own.
   * An engine that cannot do that lacks it: to it all is one space. Called once, before memory is made.
   */
  keepApart?(): void;
  /**
   * Of an engine whose state can be put back: what of it is beside memory, and that of one of the same options, as plain
   * data. Between two runs.
   */
  keep?(): unknown;
  restore?(kept: unknown): void;
}

/** What may execute a machine: the core of our own, or the library that judges it. */
export const ENGINES = ['core', 'unicorn'] as const;
export type EngineName = (typeof ENGINES)[number];

/** The row of the option `engine`. KLPEMU_ENGINE says it for whoever says nothing: all tests can be run on either. */
export const ENGINE_OPTION = {
  type: 'choice',
  choices: ENGINES,
  get default(): EngineName {
    return ENGINES.find((name) => name === process.env.KLPEMU_ENGINE) ?? 'core';
  },
} as const;

/**
 * Opens what executes the guest: a library, or an interpreter. Guest memory is what it allocates.
 * @throws EngineError when it cannot be had.
 */
export type MakeEngine = (name: EngineName) => ArchEngine;
