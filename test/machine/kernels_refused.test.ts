// Kernels that the machine does not take: each is told by what it lacks, and nothing is booted.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Machine } from '../../src/machine/machine.ts';
import { KernelFileError } from '../../src/machine/native/find.ts';
import { bzImage } from '../vmlinuz/packed_kernel.ts';
import { smallImage, strippedKernel } from '../vmlinuz/small_image.ts';

/** EM_AARCH64 */
const OTHER_MACHINE = 183;
const E_MACHINE = 18;

function ofOtherMachine(): Uint8Array {
  const bytes = strippedKernel();
  new DataView(bytes.buffer, bytes.byteOffset).setUint16(E_MACHINE, OTHER_MACHINE, true);
  return bytes;
}

function withoutTypes(): Uint8Array {
  const bytes = Buffer.from(strippedKernel());
  bytes.write('.XTF', bytes.lastIndexOf('.BTF'), 'latin1');
  return new Uint8Array(bytes);
}

/** A raw image of arm64, as its distributions install it. */
function arm64Image(): Uint8Array {
  const bytes = new Uint8Array(4096);
  bytes.set(Buffer.from('MZ'), 0);
  bytes.set(Buffer.from('ARM\x64', 'latin1'), 0x38);
  return bytes;
}

describe('a kernel', () => {
  let dir: string;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'klpemu-refused-'));
  });
  afterAll(() => rmSync(dir, { recursive: true }));

  it.each<[string, () => Uint8Array, RegExp]>([
    [
      'of another architecture',
      ofOtherMachine,
      /: it is an ELF file for AArch64 \(64-bit\); objects for x86-64 are meant$/,
    ],
    [
      'of another architecture, packed',
      () => bzImage(ofOtherMachine(), 'gzip'),
      /: it is an ELF file for AArch64/,
    ],
    [
      'of another architecture, in its own format',
      arm64Image,
      /: no kernel: neither a bzImage nor a vmlinux$/,
    ],
    ['without BTF', withoutTypes, /: it has no BTF, .* without CONFIG_DEBUG_INFO_BTF$/],
    [
      'without CONFIG_LIVEPATCH',
      () => smallImage(),
      /: it cannot be livepatched: .* without CONFIG_LIVEPATCH$/,
    ],
    [
      'without kallsyms',
      () => smallImage({ kallsyms: (bytes) => new Uint8Array(bytes.length) }),
      /no symbols: neither a symbol table nor kallsyms/,
    ],
    ['that is cut off', () => smallImage().slice(0, 3000), /: the image is cut off/],
    ['that is text', () => Buffer.from('# Linux\n'), /: no kernel: neither a bzImage nor a vmlinux$/],
  ])('%s is told so by its file and the reason', async (_, make, reason) => {
    const kernel = join(dir, 'vmlinuz');
    writeFileSync(kernel, make());
    const refused = await Machine.boot({ kernel }).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(KernelFileError);
    const { message } = refused as Error;
    expect([message.startsWith(kernel), message.split('\n').length]).toEqual([true, 1]);
    expect(message).toMatch(reason);
  });

  it('that is not there is told so, and the next one boots', async () => {
    await expect(Machine.boot({ kernel: join(dir, 'none') })).rejects.toThrow(/none: no such file$/);
    const machine = await Machine.boot({});
    const task = machine.spawn('echo', ['1', '/dev/null']);
    machine.runUntil(() => machine.exitStatus(task) !== undefined, 1e9);
    machine.close();
  });
});
