import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { CoreEngine } from '../../../../src/arch/x86_64/engine/core_engine.ts';
import { GuestMemory } from '../../../../src/guest/memory.ts';
import { packageRoot } from '../../../../src/guest/package_root.ts';
import { Machine } from '../../../../src/machine/machine.ts';

const SECOND = 1e9;
const SMALL = { heap: 16 << 20, moduleArea: 4 << 20, maxTasks: 64, engine: 'core' } as const;
const CHUNK = 1 << 20;

/** Offset of the first byte that is not 0; undefined when all are. */
function firstWritten(bytes: Uint8Array): number | undefined {
  const zeros = Buffer.alloc(CHUNK);
  for (let at = 0; at < bytes.length; at += CHUNK) {
    const part = bytes.subarray(at, at + CHUNK);
    if (!zeros.subarray(0, part.length).equals(part)) return at + part.findIndex((byte) => byte !== 0);
  }
  return undefined;
}

/** Loads a module and a patch for it, writes files, forks, runs into an oops: what a machine does to its memory. */
async function usedMachine(): Promise<Machine> {
  const machine = await Machine.boot(SMALL);
  for (const name of ['klpdemo_target', 'klpdemo_patch_target']) {
    machine.addFile(`/${name}.ko`, readFileSync(join(packageRoot(), 'fixtures/modules', `${name}.ko`)));
    const insmod = machine.insmod(`/${name}.ko`);
    machine.runUntil(() => machine.exitStatus(insmod) !== undefined, 10 * SECOND);
    expect(machine.exitStatus(insmod)).toBe(0);
  }
  for (const program of ['spin', 'pause']) machine.spawn(program);
  machine.runFor(SECOND);
  return machine;
}

describe('the memory that a closed machine leaves', () => {
  it('is all zero for the next, whatever the host and the guest wrote', async () => {
    const first = await usedMachine();
    const { geometry, u8 } = first.inspect.core.mem;
    expect(firstWritten(u8)).toBeDefined();
    first.close();
    const engine = new CoreEngine();
    const next = new GuestMemory(geometry, engine.allocate);
    expect(next.u8.buffer).toBe(u8.buffer);
    expect(firstWritten(next.u8)).toBeUndefined();
    const { words, depths } = engine.frames;
    expect(firstWritten(new Uint8Array(words.buffer, words.byteOffset, words.byteLength))).toBeUndefined();
    expect(firstWritten(new Uint8Array(depths.buffer, depths.byteOffset, depths.byteLength))).toBeUndefined();
    engine.close();
  });

  it('makes no difference: the next machine lives the same life', async () => {
    const told = async (): Promise<string[]> => {
      const machine = await usedMachine();
      const { instructions } = machine.inspect.executor;
      const lines = [...machine.dmesg(), `${machine.now()} ${instructions}`];
      machine.close();
      return lines;
    };
    const first = await told();
    expect(await told()).toEqual(first);
    expect(await told()).toEqual(first);
  });

  it('is taken by one that needs a little less', async () => {
    const buffers = new Set<ArrayBufferLike>();
    for (const more of [0, -1, -2, 0].map((mib) => mib << 20)) {
      const machine = await Machine.boot({ ...SMALL, heap: SMALL.heap + more, maxTasks: more < 0 ? 60 : 64 });
      const { u8 } = machine.inspect.core.mem;
      buffers.add(u8.buffer);
      expect(u8.byteOffset + u8.byteLength).toBeLessThan(u8.buffer.byteLength);
      machine.close();
    }
    expect(buffers.size).toBe(1);
  });

  it('is given to one only, and to nobody while its machine lives', async () => {
    const [one, other] = [await Machine.boot(SMALL), await Machine.boot(SMALL)];
    const bufferOf = (machine: Machine): ArrayBufferLike => machine.inspect.core.mem.u8.buffer;
    expect(bufferOf(one)).not.toBe(bufferOf(other));
    one.close();
    one.close();
    const [third, fourth] = [await Machine.boot(SMALL), await Machine.boot(SMALL)];
    expect(new Set([other, third, fourth].map(bufferOf)).size).toBe(3);
    for (const machine of [other, third, fourth]) machine.close();
  });
});
