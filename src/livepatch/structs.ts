// struct klp_patch, klp_object, klp_func and klp_ops as they lie in guest memory.
// Mirrors include/linux/livepatch.h and kernel/livepatch/patch.h.
//
// These classes hold an address and nothing else: every field is read from the guest when asked for.

import type { Addr } from '../guest/addr.ts';
import type { GuestMemory } from '../guest/memory.ts';
import type { Constants, Structs } from '../kernel/description.ts';
import { listEntries } from '../kernel/list.ts';
import type { StructHome } from '../kernel/struct_home.ts';

class Struct {
  readonly addr: Addr;
  readonly #home: StructHome;

  constructor(home: StructHome, addr: Addr) {
    this.#home = home;
    this.addr = addr;
  }
  protected get home(): StructHome {
    return this.#home;
  }
  protected get mem(): GuestMemory {
    return this.#home.mem;
  }
  protected get structs(): Structs {
    return this.#home.kernel.structs;
  }
  protected get constants(): Constants {
    return this.#home.kernel.constants;
  }
  /** Address of a field. */
  at(offset: number): Addr {
    return this.addr + BigInt(offset);
  }
  protected u64(offset: number): bigint {
    return this.mem.readU64(this.at(offset));
  }
  protected setU64(offset: number, value: bigint): void {
    this.mem.writeU64(this.at(offset), value);
  }
  protected bool(offset: number): boolean {
    return this.mem.readU8(this.at(offset)) !== 0;
  }
  protected setBool(offset: number, value: boolean): void {
    this.mem.writeU8(this.at(offset), value ? 1 : 0);
  }
  protected string(offset: number, max: number): string | undefined {
    const pointer = this.u64(offset);
    return pointer === 0n ? undefined : this.mem.readCString(pointer, max);
  }
}

export class KlpFunc extends Struct {
  get oldName(): string | undefined {
    return this.string(this.structs.klp_func.fields.old_name, this.constants.KSYM_NAME_LEN + 1);
  }
  get oldNamePointer(): Addr {
    return this.u64(this.structs.klp_func.fields.old_name);
  }
  set oldNamePointer(value: Addr) {
    this.setU64(this.structs.klp_func.fields.old_name, value);
  }
  get newFunc(): Addr {
    return this.u64(this.structs.klp_func.fields.new_func);
  }
  set newFunc(value: Addr) {
    this.setU64(this.structs.klp_func.fields.new_func, value);
  }
  get oldSympos(): bigint {
    return this.u64(this.structs.klp_func.fields.old_sympos);
  }
  set oldSympos(value: bigint) {
    this.setU64(this.structs.klp_func.fields.old_sympos, value);
  }
  get oldFunc(): Addr {
    return this.u64(this.structs.klp_func.fields.old_func);
  }
  set oldFunc(value: Addr) {
    this.setU64(this.structs.klp_func.fields.old_func, value);
  }
  get kobj(): Addr {
    return this.at(this.structs.klp_func.fields.kobj);
  }
  get node(): Addr {
    return this.at(this.structs.klp_func.fields.node);
  }
  get stackNode(): Addr {
    return this.at(this.structs.klp_func.fields.stack_node);
  }
  get oldSize(): number {
    return Number(this.u64(this.structs.klp_func.fields.old_size));
  }
  set oldSize(value: number) {
    this.setU64(this.structs.klp_func.fields.old_size, BigInt(value));
  }
  get newSize(): number {
    return Number(this.u64(this.structs.klp_func.fields.new_size));
  }
  set newSize(value: number) {
    this.setU64(this.structs.klp_func.fields.new_size, BigInt(value));
  }
  get nop(): boolean {
    return this.bool(this.structs.klp_func.fields.nop);
  }
  set nop(value: boolean) {
    this.setBool(this.structs.klp_func.fields.nop, value);
  }
  get patched(): boolean {
    return this.bool(this.structs.klp_func.fields.patched);
  }
  set patched(value: boolean) {
    this.setBool(this.structs.klp_func.fields.patched, value);
  }
  get transition(): boolean {
    return this.bool(this.structs.klp_func.fields.transition);
  }
  set transition(value: boolean) {
    this.setBool(this.structs.klp_func.fields.transition, value);
  }
}

export type KlpCallback = 'pre_patch' | 'post_patch' | 'pre_unpatch' | 'post_unpatch';

export class KlpObject extends Struct {
  /** The module's name; undefined for vmlinux. */
  get name(): string | undefined {
    return this.string(this.structs.klp_object.fields.name, this.constants.MODULE_NAME_LEN + 1);
  }
  get namePointer(): Addr {
    return this.u64(this.structs.klp_object.fields.name);
  }
  set namePointer(value: Addr) {
    this.setU64(this.structs.klp_object.fields.name, value);
  }
  get funcsPointer(): Addr {
    return this.u64(this.structs.klp_object.fields.funcs);
  }
  callback(which: KlpCallback): Addr {
    return this.u64(this.structs.klp_object.fields[`callbacks_${which}`]);
  }
  get postUnpatchEnabled(): boolean {
    return this.bool(this.structs.klp_object.fields.callbacks_post_unpatch_enabled);
  }
  set postUnpatchEnabled(value: boolean) {
    this.setBool(this.structs.klp_object.fields.callbacks_post_unpatch_enabled, value);
  }
  get kobj(): Addr {
    return this.at(this.structs.klp_object.fields.kobj);
  }
  get funcList(): Addr {
    return this.at(this.structs.klp_object.fields.func_list);
  }
  get node(): Addr {
    return this.at(this.structs.klp_object.fields.node);
  }
  /** struct module of a loaded object; 0 for vmlinux and for an object that is not loaded. */
  get mod(): Addr {
    return this.u64(this.structs.klp_object.fields.mod);
  }
  set mod(value: Addr) {
    this.setU64(this.structs.klp_object.fields.mod, value);
  }
  get dynamic(): boolean {
    return this.bool(this.structs.klp_object.fields.dynamic);
  }
  set dynamic(value: boolean) {
    this.setBool(this.structs.klp_object.fields.dynamic, value);
  }
  get patched(): boolean {
    return this.bool(this.structs.klp_object.fields.patched);
  }
  set patched(value: boolean) {
    this.setBool(this.structs.klp_object.fields.patched, value);
  }

  /** klp_is_module() */
  get isModule(): boolean {
    return this.namePointer !== 0n;
  }
  /** klp_is_object_loaded() */
  get isLoaded(): boolean {
    return !this.isModule || this.mod !== 0n;
  }
  /** Its name in messages and in sysfs. */
  get displayName(): string {
    return this.name ?? 'vmlinux';
  }

  /** klp_for_each_func(); what the list holds now. */
  funcs(): KlpFunc[] {
    return listEntries(this.home, this.funcList, this.structs.klp_func.fields.node).map(
      (addr) => new KlpFunc(this.home, addr),
    );
  }

  /** klp_for_each_func_static(): the array that the patch module brought. */
  staticFuncs(): KlpFunc[] {
    const funcs: KlpFunc[] = [];
    for (let addr = this.funcsPointer; ; addr += BigInt(this.structs.klp_func.size)) {
      const func = new KlpFunc(this.home, addr);
      if (func.oldNamePointer === 0n && func.newFunc === 0n && func.oldSympos === 0n) return funcs;
      funcs.push(func);
    }
  }
}

export class KlpPatch extends Struct {
  get mod(): Addr {
    return this.u64(this.structs.klp_patch.fields.mod);
  }
  /** patch->mod->name */
  get name(): string {
    return this.mem.readCString(
      this.mod + BigInt(this.structs.module.fields.name),
      this.constants.MODULE_NAME_LEN,
    );
  }
  set modPointer(value: Addr) {
    this.setU64(this.structs.klp_patch.fields.mod, value);
  }
  set objsPointer(value: Addr) {
    this.setU64(this.structs.klp_patch.fields.objs, value);
  }
  get objsPointer(): Addr {
    return this.u64(this.structs.klp_patch.fields.objs);
  }
  get statesPointer(): Addr {
    return this.u64(this.structs.klp_patch.fields.states);
  }
  get replace(): boolean {
    return this.bool(this.structs.klp_patch.fields.replace);
  }
  set replace(value: boolean) {
    this.setBool(this.structs.klp_patch.fields.replace, value);
  }
  get list(): Addr {
    return this.at(this.structs.klp_patch.fields.list);
  }
  get kobj(): Addr {
    return this.at(this.structs.klp_patch.fields.kobj);
  }
  get objList(): Addr {
    return this.at(this.structs.klp_patch.fields.obj_list);
  }
  get enabled(): boolean {
    return this.bool(this.structs.klp_patch.fields.enabled);
  }
  set enabled(value: boolean) {
    this.setBool(this.structs.klp_patch.fields.enabled, value);
  }
  get forced(): boolean {
    return this.bool(this.structs.klp_patch.fields.forced);
  }
  set forced(value: boolean) {
    this.setBool(this.structs.klp_patch.fields.forced, value);
  }
  get freeWork(): Addr {
    return this.at(this.structs.klp_patch.fields.free_work);
  }
  get finish(): Addr {
    return this.at(this.structs.klp_patch.fields.finish);
  }

  /** klp_for_each_object(); what the list holds now. */
  objects(): KlpObject[] {
    return listEntries(this.home, this.objList, this.structs.klp_object.fields.node).map(
      (addr) => new KlpObject(this.home, addr),
    );
  }

  /** klp_for_each_object_static(): the array that the patch module brought. */
  staticObjects(): KlpObject[] {
    const objects: KlpObject[] = [];
    for (let addr = this.objsPointer; ; addr += BigInt(this.structs.klp_object.size)) {
      const object = new KlpObject(this.home, addr);
      if (object.funcsPointer === 0n && object.namePointer === 0n) return objects;
      objects.push(object);
    }
  }
}

/** The patch that a kobject of sysfs is part of: container_of(). */
export function patchOfKobj(home: StructHome, kobj: Addr): KlpPatch {
  return new KlpPatch(home, kobj - BigInt(home.kernel.structs.klp_patch.fields.kobj));
}
export function objectOfKobj(home: StructHome, kobj: Addr): KlpObject {
  return new KlpObject(home, kobj - BigInt(home.kernel.structs.klp_object.fields.kobj));
}
export function funcOfKobj(home: StructHome, kobj: Addr): KlpFunc {
  return new KlpFunc(home, kobj - BigInt(home.kernel.structs.klp_func.fields.kobj));
}

/** struct klp_state, as read. */
export interface KlpState {
  /** 0 for one that is known from a file only: it has not come into force. */
  readonly addr: Addr;
  readonly id: bigint;
  readonly version: number;
}
