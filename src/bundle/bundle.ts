// One bundle in the kernel: a struct klp_patch of its own, on whose object list hang the klp_objects of those
// members that are live. So the transition, force, replacement and the handler see one patch like any other.
//
// Invariant: a member has a module exactly while its object is loaded and patched, or being patched; the bytes of a
// member for a module lie in its blob from enabling to the bundle's end, so that an unload can never lack memory.

import type { Addr } from '../guest/addr.ts';
import type { KernelCore } from '../kernel/core.ts';
import type { StructHome } from '../kernel/struct_home.ts';
import { statesIn } from '../livepatch/state.ts';
import { type KlpObject, KlpPatch, type KlpState } from '../livepatch/structs.ts';
import type { Module } from '../module/module.ts';
import { BundleError } from './error.ts';
import type { BundleFile, BundleMember } from './format.ts';

export interface Member {
  /** Its number in the order of members. */
  readonly place: number;
  readonly spec: Omit<BundleMember, 'bytes'>;
  /** Size of its file. */
  readonly size: number;
  /** Its bytes in the blob store; 0 for a member of vmlinux, which is never away. */
  readonly blob: Addr;
  module?: Module | undefined;
  object?: KlpObject | undefined;
  /** Its own klp_patch, which stays out of the core's list. */
  patch?: KlpPatch | undefined;
}

export class Bundle {
  readonly name: string;
  readonly version: string;
  readonly patch: KlpPatch;
  readonly members: readonly Member[];
  readonly #core: KernelCore;
  readonly #byObject: ReadonlyMap<string, Member>;
  /** Members whose object is on the patch's list, in the order of members as it is. */
  readonly #linked: Member[] = [];

  /** @throws BundleError ENOMEM with nothing left allocated */
  constructor(core: KernelCore, file: BundleFile) {
    this.#core = core;
    this.name = file.name;
    this.version = file.version;
    const taken: Addr[] = [];
    const take = (size: number, owner: string): Addr => {
      const addr = core.slab.tryAlloc(size, owner);
      if (addr === 0n) {
        for (const other of taken) core.slab.free(other);
        throw new BundleError('ENOMEM', `no memory for ${owner} (${size} bytes)`);
      }
      taken.push(addr);
      return addr;
    };
    const { klp_patch, klp_object, module } = core.kernel.structs;
    const noObjects = klp_patch.size;
    // A struct module that is only there to give the patch its name.
    const owner = noObjects + klp_object.size;
    const addr = take(owner + module.size, 'klp_bundle');
    core.mem.writeCString(addr + BigInt(owner + module.fields.name), file.name);
    this.patch = new KlpPatch(core, addr);
    this.patch.modPointer = addr + BigInt(owner);
    this.patch.objsPointer = addr + BigInt(noObjects);
    this.patch.replace = file.replace;
    this.members = file.members.map(({ bytes, ...spec }, place) => {
      const blob = spec.object === 'vmlinux' ? 0n : take(bytes.length, `blob ${spec.file}`);
      if (blob !== 0n) core.mem.writeBytes(blob, bytes);
      return { place, spec, size: bytes.length, blob };
    });
    this.#byObject = new Map(this.members.map((member) => [member.spec.object, member]));
  }

  /** Members in the order in which they are loaded: that for vmlinux first, for it may export what others share. */
  loadOrder(): readonly Member[] {
    const kernel = (member: Member): boolean => member.spec.object === 'vmlinux';
    return [...this.members.filter(kernel), ...this.members.filter((member) => !kernel(member))];
  }

  /** States of its members: first of live ones, as they are in memory, then of others, as their files have them. */
  states(home: StructHome): KlpState[] {
    const live = this.members.flatMap(({ patch }) => (patch ? [...statesIn(home, patch)] : []));
    const away = this.members.flatMap(({ patch, spec }) => (patch ? [] : spec.states));
    return [...live, ...away.map((state) => ({ ...state, addr: 0n }))];
  }

  memberFor(object: string): Member | undefined {
    return this.#byObject.get(object);
  }

  /** Notes that the member's object is on the patch's list. @returns the member on it that comes next */
  noteLinked(member: Member): Member | undefined {
    const at = this.#placeOnList(member);
    if (this.#linked[at] !== member) this.#linked.splice(at, 0, member);
    return this.#linked[at + 1];
  }

  noteUnlinked(member: Member): void {
    const at = this.#placeOnList(member);
    if (this.#linked[at] === member) this.#linked.splice(at, 1);
  }

  /** By halves: a bundle is linked in time that grows with its members. */
  #placeOnList(member: Member): number {
    let low = 0;
    let high = this.#linked.length;
    while (low < high) {
      const mid = (low + high) >> 1;
      if (this.#linked[mid].place < member.place) low = mid + 1;
      else high = mid;
    }
    return low;
  }

  /** The file of a member for a module. */
  bytesOf(member: Member): Uint8Array {
    return this.#core.mem.readBytes(member.blob, member.size);
  }

  /** Bytes in the blob store: of all, or of those whose object is away. */
  blobBytes(onlyAway = false): number {
    const counted = this.members.filter((m) => m.blob !== 0n && !(onlyAway && m.module));
    return counted.reduce((sum, m) => sum + m.size, 0);
  }

  /** Its memory goes; nothing may point to it. */
  free(): void {
    for (const { blob } of this.members) this.#core.slab.free(blob);
    this.#core.slab.free(this.patch.addr);
  }
}
