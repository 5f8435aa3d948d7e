// Modules of Debian's kernels that go by what the boot of those kernels sets up: each row has what was missing once.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DebianModules, SERIES } from './debian_modules.ts';

describe.each(SERIES)('on %s', (series) => {
  const modules = new DebianModules(series);
  const { library } = modules;

  beforeAll(() => modules.boot());
  afterAll(() => modules.close());

  it.skipIf(!library)(
    'what a driver says of its device is in the log, with the level that it asks for',
    () => {
      const { status, said } = modules.saidBy('comedi_test');
      expect(status).toBe(0);
      expect(said).toContain(
        'comedi comedi0: comedi_test: 1000000 microvolt, 100000 microsecond waveform attached',
      );
      const record = modules.machine.inspect.core.printk.records.find(({ text }) =>
        text.startsWith('comedi comedi0'),
      );
      expect(record?.level).toBe(6);
    },
  );
});
