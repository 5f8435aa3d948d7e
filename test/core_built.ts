// Before all tests: what they execute is the core of these sources. One that was built from others is built again.

import { buildCore } from '../scripts/build.ts';

export const setup = buildCore;
