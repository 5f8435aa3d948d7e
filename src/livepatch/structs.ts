// struct klp_patch, klp_object, klp_func and klp_ops as they lie in guest memory.
// Mirrors include/linux/livepatch.h and kernel/livepatch/patch.h.
//
// These classes hold an address and nothing else: every field is read from the guest when asked for.

import type { Addr } from '../guest/addr.ts';
import type { GuestMemory } from '../guest/memory.ts';
import { CONSTANTS, LAYOUT } from '../kernel/layout.ts';
import { listEntries } from '../kernel/list.ts';

const PATCH = LAYOUT.klp_patch.fields;
const OBJECT = LAYOUT.klp_object.fields;
const FUNC = LAYOUT.klp_func.fields;

/** struct klp_ops { node, func_stack, fops }: also in asm/livepatch.s. Bytes. */
export const KLP_OPS = { node: 0, funcStack: 16, fops: 32, size: 32 + LAYOUT.ftrace_ops.size } as const;

class Struct {
  readonly addr: Addr;
  readonly #mem: GuestMemory;

  constructor(mem: GuestMemory, addr: Addr) {
    this.#mem = mem;
    this.addr = addr;
  }
  protected get mem(): GuestMemory {
    return this.#mem;
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
    return this.string(FUNC.old_name, CONSTANTS.KSYM_NAME_LEN + 1);
  }
  get oldNamePointer(): Addr {
    return this.u64(FUNC.old_name);
  }
  set oldNamePointer(value: Addr) {
    this.setU64(FUNC.old_name, value);
  }
  get newFunc(): Addr {
    return this.u64(FUNC.new_func);
  }
  set newFunc(value: Addr) {
    this.setU64(FUNC.new_func, value);
  }
  get oldSympos(): bigint {
    return this.u64(FUNC.old_sympos);
  }
  set oldSympos(value: bigint) {
    this.setU64(FUNC.old_sympos, value);
  }
  get oldFunc(): Addr {
    return this.u64(FUNC.old_func);
  }
  set oldFunc(value: Addr) {
    this.setU64(FUNC.old_func, value);
  }
  get kobj(): Addr {
    return this.at(FUNC.kobj);
  }
  get node(): Addr {
    return this.at(FUNC.node);
  }
  get stackNode(): Addr {
    return this.at(FUNC.stack_node);
  }
  get oldSize(): number {
    return Number(this.u64(FUNC.old_size));
  }
  set oldSize(value: number) {
    this.setU64(FUNC.old_size, BigInt(value));
  }
  get newSize(): number {
    return Number(this.u64(FUNC.new_size));
  }
  set newSize(value: number) {
    this.setU64(FUNC.new_size, BigInt(value));
  }
  get nop(): boolean {
    return this.bool(FUNC.nop);
  }
  set nop(value: boolean) {
    this.setBool(FUNC.nop, value);
  }
  get patched(): boolean {
    return this.bool(FUNC.patched);
  }
  set patched(value: boolean) {
    this.setBool(FUNC.patched, value);
  }
  get transition(): boolean {
    return this.bool(FUNC.transition);
  }
  set transition(value: boolean) {
    this.setBool(FUNC.transition, value);
  }
}

export type KlpCallback = 'pre_patch' | 'post_patch' | 'pre_unpatch' | 'post_unpatch';

export class KlpObject extends Struct {
  /** The module's name; undefined for vmlinux. */
  get name(): string | undefined {
    return this.string(OBJECT.name, CONSTANTS.MODULE_NAME_LEN + 1);
  }
  get namePointer(): Addr {
    return this.u64(OBJECT.name);
  }
  set namePointer(value: Addr) {
    this.setU64(OBJECT.name, value);
  }
  get funcsPointer(): Addr {
    return this.u64(OBJECT.funcs);
  }
  callback(which: KlpCallback): Addr {
    return this.u64(OBJECT[`callbacks_${which}`]);
  }
  get postUnpatchEnabled(): boolean {
    return this.bool(OBJECT.callbacks_post_unpatch_enabled);
  }
  set postUnpatchEnabled(value: boolean) {
    this.setBool(OBJECT.callbacks_post_unpatch_enabled, value);
  }
  get kobj(): Addr {
    return this.at(OBJECT.kobj);
  }
  get funcList(): Addr {
    return this.at(OBJECT.func_list);
  }
  get node(): Addr {
    return this.at(OBJECT.node);
  }
  /** struct module of a loaded object; 0 for vmlinux and for an object that is not loaded. */
  get mod(): Addr {
    return this.u64(OBJECT.mod);
  }
  set mod(value: Addr) {
    this.setU64(OBJECT.mod, value);
  }
  get dynamic(): boolean {
    return this.bool(OBJECT.dynamic);
  }
  set dynamic(value: boolean) {
    this.setBool(OBJECT.dynamic, value);
  }
  get patched(): boolean {
    return this.bool(OBJECT.patched);
  }
  set patched(value: boolean) {
    this.setBool(OBJECT.patched, value);
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
    return listEntries(this.mem, this.funcList, FUNC.node).map((addr) => new KlpFunc(this.mem, addr));
  }

  /** klp_for_each_func_static(): the array that the patch module brought. */
  staticFuncs(): KlpFunc[] {
    const funcs: KlpFunc[] = [];
    for (let addr = this.funcsPointer; ; addr += BigInt(LAYOUT.klp_func.size)) {
      const func = new KlpFunc(this.mem, addr);
      if (func.oldNamePointer === 0n && func.newFunc === 0n && func.oldSympos === 0n) return funcs;
      funcs.push(func);
    }
  }
}

export class KlpPatch extends Struct {
  get mod(): Addr {
    return this.u64(PATCH.mod);
  }
  /** patch->mod->name */
  get name(): string {
    return this.mem.readCString(this.mod + BigInt(LAYOUT.module.fields.name), CONSTANTS.MODULE_NAME_LEN);
  }
  set modPointer(value: Addr) {
    this.setU64(PATCH.mod, value);
  }
  set objsPointer(value: Addr) {
    this.setU64(PATCH.objs, value);
  }
  get objsPointer(): Addr {
    return this.u64(PATCH.objs);
  }
  get statesPointer(): Addr {
    return this.u64(PATCH.states);
  }
  get replace(): boolean {
    return this.bool(PATCH.replace);
  }
  set replace(value: boolean) {
    this.setBool(PATCH.replace, value);
  }
  get list(): Addr {
    return this.at(PATCH.list);
  }
  get kobj(): Addr {
    return this.at(PATCH.kobj);
  }
  get objList(): Addr {
    return this.at(PATCH.obj_list);
  }
  get enabled(): boolean {
    return this.bool(PATCH.enabled);
  }
  set enabled(value: boolean) {
    this.setBool(PATCH.enabled, value);
  }
  get forced(): boolean {
    return this.bool(PATCH.forced);
  }
  set forced(value: boolean) {
    this.setBool(PATCH.forced, value);
  }
  get freeWork(): Addr {
    return this.at(PATCH.free_work);
  }
  get finish(): Addr {
    return this.at(PATCH.finish);
  }

  /** klp_for_each_object(); what the list holds now. */
  objects(): KlpObject[] {
    return listEntries(this.mem, this.objList, OBJECT.node).map((addr) => new KlpObject(this.mem, addr));
  }

  /** klp_for_each_object_static(): the array that the patch module brought. */
  staticObjects(): KlpObject[] {
    const objects: KlpObject[] = [];
    for (let addr = this.objsPointer; ; addr += BigInt(LAYOUT.klp_object.size)) {
      const object = new KlpObject(this.mem, addr);
      if (object.funcsPointer === 0n && object.namePointer === 0n) return objects;
      objects.push(object);
    }
  }
}

/** The patch that a kobject of sysfs is part of: container_of(). */
export function patchOfKobj(mem: GuestMemory, kobj: Addr): KlpPatch {
  return new KlpPatch(mem, kobj - BigInt(PATCH.kobj));
}
export function objectOfKobj(mem: GuestMemory, kobj: Addr): KlpObject {
  return new KlpObject(mem, kobj - BigInt(OBJECT.kobj));
}
export function funcOfKobj(mem: GuestMemory, kobj: Addr): KlpFunc {
  return new KlpFunc(mem, kobj - BigInt(FUNC.kobj));
}

/** struct klp_state, as read. */
export interface KlpState {
  /** 0 for one that is known from a file only: it has not come into force. */
  readonly addr: Addr;
  readonly id: bigint;
  readonly version: number;
}
