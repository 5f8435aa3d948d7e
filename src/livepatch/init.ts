// From the structures that a patch module brings to ones that can be enabled: kobjects, lists, symbol
// look-up, nops for what an atomic replace takes away. And their end.
// Mirrors the klp_init_*, klp_add_nops and klp_free_* functions of kernel/livepatch/core.c.

import type { Addr } from '../guest/addr.ts';
import type { HostGenerator } from '../guest/hostcall.ts';
import type { KobjType } from '../kernel/kobject.ts';
import { initListHead, listAddTail, listDel } from '../kernel/list.ts';
import type { SysfsDir } from '../kernel/sysfs.ts';
import { UAPI } from '../kernel/uapi.ts';
import type { KlpContext } from './context.ts';
import { funcOfKobj, KlpFunc, KlpObject, type KlpPatch, objectOfKobj } from './structs.ts';
import { klpFindObjectSymbol } from './symbol.ts';

/** Sysfs attributes of a patch and of an object, by kobject. */
export interface KlpTypes {
  readonly patch: KobjType;
  readonly object: KobjType;
}

export class PatchInit {
  readonly #klp: KlpContext;
  readonly #root: SysfsDir;
  readonly #types: KlpTypes & { readonly func: KobjType };
  readonly #freeWorkFn: Addr;
  /** Told of an object that nobody refers to any more. */
  onObjectReleased: ((object: KlpObject) => void) | undefined;

  /** @param root /sys/kernel/livepatch */
  constructor(klp: KlpContext, root: SysfsDir, attributes: KlpTypes) {
    this.#klp = klp;
    this.#root = root;
    this.#freeWorkFn = klp.core.symbols.require('klp_free_patch_work_fn');
    this.#types = {
      patch: attributes.patch,
      object: { ...attributes.object, release: (kobj) => this.#releaseObject(kobj) },
      func: { release: (kobj) => this.#releaseFunc(kobj) },
    };
  }

  /** What a single patch is in sysfs. */
  get patchType(): KobjType {
    return this.#types.patch;
  }

  /** klp_init_patch_early(): the internal fields, whatever the module left in them. */
  early(patch: KlpPatch, type = this.#types.patch): void {
    initListHead(this.#klp.core, patch.list);
    initListHead(this.#klp.core, patch.objList);
    this.#klp.kobjects.init(patch.kobj, type);
    patch.enabled = false;
    patch.forced = false;
    this.#initFreeWork(patch);
    for (const object of patch.staticObjects()) this.adopt(patch, object);
  }

  /** An object and the functions that a module brought for it, at the end of the patch's list. */
  adopt(patch: KlpPatch, object: KlpObject): void {
    this.#objectEarly(patch, object);
    for (const func of object.staticFuncs()) this.#funcEarly(object, func);
  }

  #initFreeWork(patch: KlpPatch): void {
    const { mem, kernel } = this.#klp.core;
    const { work_struct, completion } = kernel.structs;
    const { data, entry, func } = work_struct.fields;
    mem.writeU64(patch.freeWork + BigInt(data), BigInt(this.#klp.constants.WORK_STRUCT_NO_POOL));
    initListHead(this.#klp.core, patch.freeWork + BigInt(entry));
    mem.writeU64(patch.freeWork + BigInt(func), this.#freeWorkFn);
    mem.fill(patch.finish, completion.size, 0);
    initListHead(this.#klp.core, patch.finish + BigInt(completion.fields.wait_task_list));
  }

  #objectEarly(patch: KlpPatch, object: KlpObject): void {
    initListHead(this.#klp.core, object.funcList);
    this.#klp.kobjects.init(object.kobj, this.#types.object);
    listAddTail(this.#klp.core, object.node, patch.objList);
  }

  #funcEarly(object: KlpObject, func: KlpFunc): void {
    this.#klp.kobjects.init(func.kobj, this.#types.func);
    listAddTail(this.#klp.core, func.node, object.funcList);
  }

  /** klp_init_patch(): in sysfs and on klp_patches, with every loaded object's symbols found. 0 or -errno. */
  *init(patch: KlpPatch): HostGenerator<number> {
    const klp = this.#klp;
    const ret = yield* klp.kobjects.add(patch.kobj, this.#root, patch.name);
    if (ret !== 0) return ret;
    if (patch.replace) {
      const nops = this.#addNops(patch);
      if (nops !== 0) return nops;
    }
    for (const object of patch.objects()) {
      const failed = yield* this.initObject(patch, object);
      if (failed !== 0) return failed;
    }
    listAddTail(klp.core, patch.list, klp.patchesHead);
    return 0;
  }

  *initObject(patch: KlpPatch, object: KlpObject): HostGenerator<number> {
    const { kobjects } = this.#klp;
    if ((object.name?.length ?? 0) >= this.#klp.constants.MODULE_NAME_LEN) return -UAPI.EINVAL;
    object.patched = false;
    object.mod = 0n;
    this.#findModule(object);
    let ret = yield* kobjects.add(object.kobj, patch.kobj, object.displayName);
    if (ret !== 0) return ret;
    for (const func of object.funcs()) {
      ret = yield* this.#initFunc(object, func);
      if (ret !== 0) return ret;
    }
    return object.isLoaded ? this.objectLoaded(patch, object) : 0;
  }

  #findModule(object: KlpObject): void {
    const { name } = object;
    if (name !== undefined) object.mod = this.#klp.model.findObjectModule(name) ?? 0n;
  }

  *#initFunc(object: KlpObject, func: KlpFunc): HostGenerator<number> {
    const name = func.oldName;
    if (name === undefined) return -UAPI.EINVAL;
    if (func.newFunc === 0n && !func.nop) return -UAPI.EINVAL;
    if (name.length >= this.#klp.constants.KSYM_NAME_LEN) return -UAPI.EINVAL;
    initListHead(this.#klp.core, func.stackNode);
    func.patched = false;
    func.transition = false;
    return yield* this.#klp.kobjects.add(func.kobj, object.kobj, `${name},${func.oldSympos || 1n}`);
  }

  /** klp_init_object_loaded(): relocations against the object, addresses and sizes of its functions. */
  objectLoaded(patch: KlpPatch, object: KlpObject): number {
    const { name } = object;
    if (name !== undefined) {
      const ret = this.#klp.model.applyObjectRelocs(patch.mod, name);
      if (ret !== 0) return ret;
    }
    for (const func of object.funcs()) {
      const ret = this.#findFunc(name, func);
      if (ret !== 0) return ret;
    }
    return 0;
  }

  #findFunc(objname: string | undefined, func: KlpFunc): number {
    const klp = this.#klp;
    const { symbols } = klp.core;
    const name = func.oldName ?? '';
    const addr = klpFindObjectSymbol(klp, objname, name, func.oldSympos);
    func.oldFunc = addr ?? 0n;
    if (addr === undefined) return -UAPI.EINVAL;
    const old = symbols.sizeAndOffset(addr);
    if (!old) {
      klp.err(`kallsyms size lookup failed for '${name}'`);
      return -UAPI.ENOENT;
    }
    func.oldSize = old.size;
    if (func.nop) func.newFunc = addr;
    const replacement = symbols.sizeAndOffset(func.newFunc);
    if (!replacement) {
      klp.err(`kallsyms size lookup failed for '${name}' replacement`);
      return -UAPI.ENOENT;
    }
    func.newSize = replacement.size;
    return 0;
  }

  /** klp_add_nops(): for each function that an older patch has and this one has not. */
  #addNops(patch: KlpPatch): number {
    for (const old of this.#klp.patches()) {
      for (const oldObject of old.objects()) {
        const object =
          patch.objects().find((o) => o.name === oldObject.name) ?? this.#allocObject(patch, oldObject);
        if (!object) return -UAPI.ENOMEM;
        for (const oldFunc of oldObject.funcs()) {
          if (object.funcs().some((f) => sameFunc(f, oldFunc))) continue;
          if (!this.#allocNop(object, oldFunc)) return -UAPI.ENOMEM;
        }
      }
    }
    return 0;
  }

  /** klp_alloc_object_dynamic(); undefined without memory. */
  #allocObject(patch: KlpPatch, old: KlpObject): KlpObject | undefined {
    const { kernel, slab } = this.#klp.core;
    const addr = slab.tryAlloc(kernel.structs.klp_object.size, 'klp_object');
    if (addr === 0n) return undefined;
    const object = new KlpObject(this.#klp.core, addr);
    if (old.name !== undefined) {
      object.namePointer = this.#kstrdup(old.name);
      if (object.namePointer === 0n) {
        slab.free(addr);
        return undefined;
      }
    }
    this.#objectEarly(patch, object);
    object.dynamic = true;
    return object;
  }

  /** klp_alloc_func_nop(); false without memory. */
  #allocNop(object: KlpObject, old: KlpFunc): boolean {
    const { kernel, slab } = this.#klp.core;
    const addr = slab.tryAlloc(kernel.structs.klp_func.size, 'klp_func nop');
    if (addr === 0n) return false;
    const func = new KlpFunc(this.#klp.core, addr);
    if (old.oldName !== undefined) {
      func.oldNamePointer = this.#kstrdup(old.oldName);
      if (func.oldNamePointer === 0n) {
        slab.free(addr);
        return false;
      }
    }
    this.#funcEarly(object, func);
    func.oldSympos = old.oldSympos;
    func.nop = true;
    return true;
  }

  #kstrdup(text: string): Addr {
    const addr = this.#klp.core.slab.tryAlloc(text.length + 1, 'klp name');
    if (addr !== 0n) this.#klp.core.mem.writeCString(addr, text);
    return addr;
  }

  /** klp_free_patch_start(): off klp_patches; objects and functions out of sysfs. Under klp_mutex. */
  *freeStart(patch: KlpPatch): HostGenerator<void> {
    // list_del_init() of one that is on no list changes nothing.
    listDel(this.#klp.core, patch.list);
    initListHead(this.#klp.core, patch.list);
    yield* this.freeObjects(patch, false);
  }

  /** __klp_free_objects() */
  *freeObjects(patch: KlpPatch, nopsOnly: boolean): HostGenerator<void> {
    for (const object of patch.objects()) yield* this.freeObject(object, nopsOnly);
  }

  *freeObject(object: KlpObject, nopsOnly = false): HostGenerator<void> {
    const { kobjects, core } = this.#klp;
    for (const func of object.funcs()) {
      if (nopsOnly && !func.nop) continue;
      listDel(core, func.node);
      yield* kobjects.put(func.kobj);
    }
    if (nopsOnly && !object.dynamic) return;
    listDel(core, object.node);
    yield* kobjects.put(object.kobj);
  }

  /** klp_free_patch_finish(): the last to touch the patch. Not under klp_mutex. */
  *freeFinish(patch: KlpPatch): HostGenerator<void> {
    const { mod, forced } = patch;
    // Somebody may be in enabled_store(), waiting for klp_mutex to look at this patch.
    yield* this.#klp.kobjects.del(patch.kobj);
    yield* this.#klp.kobjects.put(patch.kobj);
    // A forced patch's code may still be on a stack: its module stays for ever.
    if (!forced) this.#klp.ports.modules.modulePut(mod);
  }

  /** klp_free_object_loaded(): the object's module goes, and the addresses in it. */
  freeObjectLoaded(object: KlpObject): void {
    object.mod = 0n;
    for (const func of object.funcs()) {
      func.oldFunc = 0n;
      if (func.nop) func.newFunc = 0n;
    }
  }

  #releaseObject(kobj: Addr): void {
    const { slab } = this.#klp.core;
    const object = objectOfKobj(this.#klp.core, kobj);
    this.onObjectReleased?.(object);
    if (!object.dynamic) return;
    slab.free(object.namePointer);
    slab.free(object.addr);
  }

  #releaseFunc(kobj: Addr): void {
    const { slab } = this.#klp.core;
    const func = funcOfKobj(this.#klp.core, kobj);
    if (!func.nop) return;
    slab.free(func.oldNamePointer);
    slab.free(func.addr);
  }
}

/** klp_find_func(): positions 0 and 1 mean the same. */
function sameFunc(a: KlpFunc, b: KlpFunc): boolean {
  return a.oldName === b.oldName && (a.oldSympos || 1n) === (b.oldSympos || 1n);
}
