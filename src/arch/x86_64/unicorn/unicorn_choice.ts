// Which Unicorn library is used: the first that can be loaded and calibrated.
//
// A library is good when an engine of it was opened and calibrated, not when a file of its name exists.

import { isMainThread } from 'node:worker_threads';
import { EngineError } from '../../../guest/engine.ts';
import { type Lib, loadLibrary, versionOf } from './unicorn_api.ts';
import { type Calibration, calibrate } from './unicorn_calibration.ts';
import {
  UNICORN_WAYS,
  UnicornNotFoundError,
  type UnicornSearch,
  unicornCandidates,
  unicornMissingMessage,
} from './unicorn_library.ts';

interface ChosenUnicorn {
  readonly path: string;
  readonly version: string;
  readonly lib: Lib;
  readonly calibration: Calibration;
}

/** Versions that the whole of the tests was run with. */
const KNOWN_TO_WORK = '2.0.1, 2.1.1 and 2.1.4';

let chosen: { named: string | undefined; library: ChosenUnicorn } | undefined;

/** @throws EngineError, UnicornNotFoundError: with what was tried, and the way out. */
export function chooseUnicorn(): ChosenUnicorn {
  const named = process.env.KLPEMU_UNICORN;
  if (chosen?.named !== named || !chosen) chosen = { named, library: firstThatFits() };
  return chosen.library;
}

/** Loads a library, opens an engine and calibrates it. @throws EngineError with the version, where it tells one. */
export function tryUnicorn(path: string): ChosenUnicorn {
  const lib = loadLibrary(path);
  const version = versionOf(lib);
  try {
    return { path, version, lib, calibration: calibrate(lib) };
  } catch (error) {
    throw new EngineError(`version ${version}: ${(error as Error).message}`);
  }
}

/** @param tell is given one line when libraries before the one that fits were left out. */
export function firstThatFits(search: UnicornSearch = {}, tell = toStandardError): ChosenUnicorn {
  const misfits: string[] = [];
  const named = (search.env ?? process.env).KLPEMU_UNICORN;
  for (const { path } of unicornCandidates(search)) {
    try {
      const library = tryUnicorn(path);
      if (misfits.length) tell(notice(misfits, library));
      return library;
    } catch (error) {
      misfits.push(`${path} does not fit (${(error as Error).message})`);
    }
  }
  if (misfits.length === 0) throw new UnicornNotFoundError(unicornMissingMessage());
  throw new EngineError(
    [
      `no Unicorn library ${named ? 'in KLPEMU_UNICORN ' : ''}that fits:`,
      ...misfits.map((line) => `  ${line}`),
      `Versions ${KNOWN_TO_WORK} are known to work. ${named ? 'Unset KLPEMU_UNICORN, or install one' : 'Install one'}:`,
      ...UNICORN_WAYS,
    ].join('\n'),
  );
}

function notice(misfits: string[], used: ChosenUnicorn): string {
  const what = misfits.map((line) => `the Unicorn library ${line}`).join('; ');
  return `${what}; ${used.path} (version ${used.version}) is used. KLPEMU_UNICORN can name the one to use.`;
}

/** Once: the threads of a process that has several need not say it again. */
function toStandardError(line: string): void {
  if (isMainThread) process.stderr.write(`klpemu: ${line}\n`);
}
