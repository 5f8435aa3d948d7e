import { describe, it } from 'vitest';
import { Client } from './client.ts';
import { fuzzStub } from './fuzz.ts';

describe('a stub', () => {
  it('answers 100,000 broken packets one by one, and is as it was', async () => {
    // Some of them are writes, which are no harm: so many clients have a machine each.
    for (let seed = 1; seed <= 10; seed++) {
      const client = await Client.start('smallest');
      await fuzzStub(client, 10_000, seed);
      client.close();
    }
  });
});
