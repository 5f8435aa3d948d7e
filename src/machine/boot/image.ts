// The guest kernel's image: asm/ assembled, with its ORC table, and kept on disk between runs.
//
// The cache is keyed by everything the image is made from and has a checksum over all of it, so neither a stale one
// nor a damaged one is ever used; where it cannot be written the image is assembled anew each time.

import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { deserialize, serialize } from 'node:v8';
import { isMainThread } from 'node:worker_threads';
import type { Arch } from '../../arch/arch.ts';
import { X86_64 } from '../../arch/x86_64/x86_64.ts';
import type { AsmImage, AsmOptions, AsmSource } from '../../asm/assembler.ts';
import { type OrcTable, orcTableFromEntries } from '../../elf/orc.ts';
import { packageRoot } from '../../guest/package_root.ts';
import { BUILT_IN, type KernelDescription } from '../../kernel/description.ts';
import { UAPI } from '../../kernel/uapi.ts';
import type { OpenedKernel } from '../native/cache.ts';
import { KernelFileError } from '../native/find.ts';
import { type Hosting, hostingOf } from '../native/hosted.ts';
import type { NativeKernel } from '../native/native_kernel.ts';
import { featuresOf } from './features.ts';
import { makersOf } from './image_makers.ts';

/** What is kept on disk. */
interface Assembled {
  readonly asm: AsmImage;
  readonly orc: OrcTable;
}

export interface KernelImage extends Assembled {
  /** The kernel that it was assembled for. */
  readonly kernel: KernelDescription;
  /** The real kernel that it lies behind. */
  readonly real?: RealKernel;
}

export interface RealKernel {
  readonly native: NativeKernel;
  readonly hosting: Hosting;
  /** Of its file. */
  readonly hash: string;
}

/** Which unwinder the kernel is configured for: with frame pointers its code keeps one in rbp. */
export type ImageFlavour = 'orc' | 'frame pointer';

const FLAVOURS: Record<ImageFlavour, Record<string, number>> = {
  orc: {},
  'frame pointer': { CONFIG_FRAME_POINTER: 1 },
};

/** By the kernel, then by port and flavour. */
const loaded = new WeakMap<KernelDescription, Map<string, KernelImage>>();

/**
 * The image, from memory, from the cache, or assembled.
 * @throws AsmError when a source does not assemble.
 */
export async function loadKernelImage(
  flavour: ImageFlavour = 'orc',
  kernel: KernelDescription = BUILT_IN,
  arch: Arch = X86_64,
): Promise<KernelImage> {
  const images = loaded.get(kernel) ?? new Map<string, KernelImage>();
  loaded.set(kernel, images);
  const key = `${arch.name} ${flavour}`;
  const known = images.get(key);
  if (known) return known;
  const image = await cachedImage(flavour, join(packageRoot(), '.cache', 'image'), kernel, arch);
  images.set(key, image);
  return image;
}

/** The image behind a real kernel, assembled for its description. @throws KernelFileError, AsmError */
export async function loadRealImage(
  { native, description, hash }: OpenedKernel,
  arch: Arch,
  flavour: ImageFlavour,
): Promise<KernelImage> {
  if (flavour !== 'orc')
    throw new KernelFileError(`kernel ${description.release} has ORC tables, and no ${flavour}s in its code`);
  const known = behind.get(native);
  if (known) return known;
  const folder = join(packageRoot(), '.cache', 'image');
  // Its symbols, wherever they come to lie: what it has of its own depends on the release.
  const alone = { ...BUILT_IN, release: description.release };
  const { asm } = await cachedImage('orc', folder, alone, arch, 'alone');
  const hosting = hostingOf(asm, native, description);
  const image = { ...(await cachedImage('orc', folder, description, arch, { native, hosting, hash })) };
  behind.set(native, image);
  return image;
}

const behind = new WeakMap<NativeKernel, KernelImage>();

/**
 * The image from a folder that caches it, or assembled and put there.
 * @param behindWhich the real kernel that it lies behind; `alone`: as it would be behind one, at its own addresses
 * @throws AsmError
 */
export async function cachedImage(
  flavour: ImageFlavour,
  folder: string,
  kernel: KernelDescription = BUILT_IN,
  arch: Arch = X86_64,
  behindWhich?: RealKernel | 'alone',
): Promise<KernelImage> {
  const root = packageRoot();
  const sources = inOrder(arch.imageSources(root));
  const real = behindWhich === 'alone' ? undefined : behindWhich;
  const features = featuresOf(kernel, behindWhich !== undefined);
  const defines = { ...asmDefines(kernel), ...features, ...FLAVOURS[flavour] };
  const where = real ? placement(real) : {};
  // Of images without a checksum the names were without the number.
  const file = join(folder, `${imageKey(root, sources, defines, arch, where)}.2.bin`);
  const image = readCachedImage(file) ?? (await assemble(sources, { defines, ...where }, arch, file));
  return { ...image, kernel, ...(real ? { real } : {}) };
}

/** Behind everything that a real kernel has. */
function placement({ native, hosting }: RealKernel): Where {
  return {
    bases: {
      '.text': native.end,
      '.data..percpu': native.percpuStart + BigInt(Math.ceil(native.percpu.length / 64) * 64),
    },
    places: hosting.places,
  };
}

type Where = Pick<AsmOptions, 'bases' | 'places'>;

/** .inc files first, then by path: the order in which the image has them. */
function inOrder(sources: readonly AsmSource[]): AsmSource[] {
  const order = ({ path }: AsmSource) => (path.endsWith('.inc') ? 0 : 1);
  return [...sources].sort((a, b) => order(a) - order(b) || (a.path < b.path ? -1 : 1));
}

/** What asm/ is assembled with, by name. */
type Defines = Readonly<Record<string, number | bigint>>;

/** A hash of the sources, of what they are assembled with, and of the assembler and ORC generator themselves, with the port's parts. */
function imageKey(
  root: string,
  sources: readonly AsmSource[],
  defines: Defines,
  arch: Arch,
  { bases = {}, places = new Map() }: Where,
): string {
  const hash = createHash('sha256');
  for (const [name, value] of [...Object.entries(bases), ...places]) hash.update(`${name} at ${value}\n`);
  for (const [name, value] of Object.entries(defines)) hash.update(`${name}=${value}\n`);
  for (const { path, text } of sources) hash.update(`${path}\0${text}\0`);
  hash.update(readFileSync(join(root, 'package.json')));
  hash.update(makersOf(root, arch.name));
  return hash.digest('hex').slice(0, 32);
}

/** SHA-256 of what follows it: the first bytes of a cached image. */
const CHECKSUM_SIZE = 32;

const checksumOf = (bytes: Uint8Array): Buffer => createHash('sha256').update(bytes).digest();

/** undefined, and said, for a file that is not what was written: it is made anew. */
export function readCachedImage(file: string): Assembled | undefined {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') sayUnusable(file, (error as Error).message);
    return undefined;
  }
  const image = bytes.subarray(CHECKSUM_SIZE);
  if (!checksumOf(image).equals(bytes.subarray(0, CHECKSUM_SIZE))) {
    sayUnusable(file, 'it is damaged');
    return undefined;
  }
  return deserialize(image) as Assembled;
}

function sayUnusable(file: string, reason: string): void {
  if (isMainThread) process.stderr.write(`klpemu: ${file}: ${reason}; the image is made anew\n`);
}

/** What asm/ knows of C: `struct_field`, `sizeof_struct` the constants, and those of the ABI. */
export function asmDefines({ structs, constants }: KernelDescription): Defines {
  const defines: Record<string, number | bigint> = { ...UAPI, ...constants };
  for (const [name, struct] of Object.entries(structs)) {
    // A structure that a kernel does not have has no size, and asking for it is an error.
    if (Object.keys(struct).includes('size')) defines[`sizeof_${name}`] = struct.size;
    for (const [field, offset] of Object.entries(struct.fields)) defines[`${name}_${field}`] = offset;
  }
  return defines;
}

async function assemble(
  sources: AsmSource[],
  options: AsmOptions,
  arch: Arch,
  cacheFile: string,
): Promise<Assembled> {
  const [{ assembleImageFor }, { generateOrc }, port] = await Promise.all([
    import('../../asm/assembler.ts'),
    import('../../objtool/orc_gen.ts'),
    arch.assembler(),
  ]);
  const asm = assembleImageFor(port, sources, options);
  const image = {
    asm,
    orc: arch.code ? generateOrc(asm, arch.code).table : orcTableFromEntries([]),
  };
  try {
    mkdirSync(join(cacheFile, '..'), { recursive: true });
    const bytes = serialize(image);
    writeFileSync(`${cacheFile}.${process.pid}`, Buffer.concat([checksumOf(bytes), bytes]));
    renameSync(`${cacheFile}.${process.pid}`, cacheFile);
  } catch {
    // A cache that cannot be written costs time, nothing else.
  }
  return image;
}
