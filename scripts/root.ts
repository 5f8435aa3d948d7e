// The folder of the checkout: upwards from here, or from wherever this was bundled to.

import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = holding('package-lock.json', dirname(fileURLToPath(import.meta.url)));

function holding(file: string, dir: string): string {
  return existsSync(join(dir, file)) ? dir : holding(file, dirname(dir));
}
