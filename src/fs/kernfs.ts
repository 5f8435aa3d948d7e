// /sys as files: which attribute of the sysfs tree a file is, and the way from its guest functions back to it.
// Mirrors fs/kernfs/file.c and fs/sysfs/file.c; the functions themselves are asm/x86_64/fs/kernfs.s.
//
// Invariant: the guest's kernfs_node and attribute of a sysfs file exist while it is open somewhere.

import type { Addr } from '../guest/addr.ts';
import type { HostCall, HostGenerator } from '../guest/hostcall.ts';
import { keptFor, PAGE_SIZE } from '../guest/memory.ts';
import { negErrno } from '../kernel/core.ts';
import type { Structs } from '../kernel/description.ts';
import { writeCut } from '../kernel/lib.ts';
import { initMutex } from '../kernel/mutex.ts';
import type { GuestAttribute, SysfsFile } from '../kernel/sysfs.ts';
import { UAPI } from '../kernel/uapi.ts';
import { vsprintfGuest } from '../kernel/vsprintf.ts';
import { type FsContext, latin1Bytes, latin1Text } from './context.ts';
import type { SeqFiles } from './seq_file.ts';

/** Guest functions of the files in a part of the tree. The first row whose path begins alike is taken. */
const FUNCTIONS: readonly { path: RegExp; ops: string; show: string; store: string }[] = [
  {
    path: /^\/kernel\/livepatch\/.*\/enabled$/,
    ops: 'kobj_sysfs_ops',
    show: 'enabled_show',
    store: 'enabled_store',
  },
  {
    path: /^\/kernel\/livepatch\/.*\/transition$/,
    ops: 'kobj_sysfs_ops',
    show: 'transition_show',
    store: 'sysfs_attr_store',
  },
  {
    path: /^\/kernel\/livepatch\/.*\/force$/,
    ops: 'kobj_sysfs_ops',
    show: 'sysfs_attr_show',
    store: 'force_store',
  },
  {
    path: /^\/kernel\/livepatch\/.*\/patched$/,
    ops: 'kobj_sysfs_ops',
    show: 'patched_show',
    store: 'sysfs_attr_store',
  },
  {
    path: /^\/module\/[^/]*\/parameters\//,
    ops: 'module_sysfs_ops',
    show: 'param_attr_show',
    store: 'param_attr_store',
  },
  { path: /^\/module\//, ops: 'module_sysfs_ops', show: 'sysfs_attr_show', store: 'sysfs_attr_store' },
  { path: /^/, ops: 'kobj_sysfs_ops', show: 'sysfs_attr_show', store: 'sysfs_attr_store' },
];
const SHOWS = ['sysfs_attr_show', 'enabled_show', 'transition_show', 'patched_show', 'param_attr_show'];
const STORES = ['sysfs_attr_store', 'enabled_store', 'force_store', 'param_attr_store'];

/** A node that is removed, with nobody in its functions. */
const KN_DEACTIVATED_BIAS = 0x80000001;

interface Node {
  readonly file: SysfsFile;
  readonly kn: Addr;
  readonly attr: Addr;
  opened: number;
}

export class Kernfs {
  readonly #fs: FsContext;
  readonly #file: Structs['file']['fields'];
  readonly #seqFile: Structs['seq_file']['fields'];
  readonly #kobjAttribute: Structs['kobj_attribute']['fields'];
  readonly #kernfsNode: Structs['kernfs_node']['fields'];
  readonly #kernfsOpenFile: Structs['kernfs_open_file']['fields'];
  readonly #mutex: Structs['mutex']['fields'];
  readonly #seq: SeqFiles;
  readonly #nodes = new Map<SysfsFile, Node>();
  readonly #byKn = new Map<Addr, Node>();
  readonly #byAttr = new Map<Addr, Node>();
  readonly #files = new Map<Addr, SysfsFile>();
  /** A directory without a kobject of the guest's. */
  #parent: Addr = 0n;

  constructor(fs: FsContext, seq: SeqFiles) {
    this.#fs = fs;
    this.#file = fs.core.kernel.structs.file.fields;
    this.#seqFile = fs.core.kernel.structs.seq_file.fields;
    this.#kobjAttribute = fs.core.kernel.structs.kobj_attribute.fields;
    this.#kernfsNode = fs.core.kernel.structs.kernfs_node.fields;
    this.#kernfsOpenFile = fs.core.kernel.structs.kernfs_open_file.fields;
    this.#mutex = fs.core.kernel.structs.mutex.fields;
    this.#seq = seq;
    const { host } = fs.core;
    const self = this;
    for (const name of SHOWS) {
      host.define(name, function* ({ args }): HostGenerator {
        return yield* self.#show(args[1], args[2]);
      });
    }
    for (const name of STORES) {
      host.define(name, function* (call): HostGenerator {
        return yield* self.#store(call);
      });
    }
    host.defineAll({
      kernfs_fop_open: ({ args }) => this.#open(args[1]),
      kernfs_put_open_node: ({ args }) => this.#close(args[0]),
      kernfs_get_active: ({ args }) => this.#getActive(args[0]),
      kernfs_put_active: ({ args }) => this.#putActive(args[0]),
      sysfs_emit: (call) => this.#emit(call, 0, 1),
      sysfs_emit_at: (call) => this.#emit(call, Number(BigInt.asIntN(32, call.args[1])), 2),
    });
  }

  openFile(node: SysfsFile, flags: number): Addr {
    const file = this.#fs.allocFile('kernfs_file_fops', flags, UAPI.S_IFREG | node.mode, {
      size: node.size,
      end: (f) => this.#files.delete(f),
    });
    this.#files.set(file, node);
    return file;
  }

  /** kernfs_fop_open(): even root may only do what the mode has a bit for. */
  #open(file: Addr): bigint | number {
    const { mem, core } = this.#fs;
    const sysfs = keptFor(this.#files, file);
    const fmode = mem.readU32(file + BigInt(this.#file.f_mode));
    if (sysfs.removed) return negErrno(UAPI.ENODEV);
    if (fmode & this.#fs.constants.FMODE_WRITE && !(sysfs.mode & 0o222)) return negErrno(UAPI.EACCES);
    if (fmode & this.#fs.constants.FMODE_READ && !(sysfs.mode & 0o444)) return negErrno(UAPI.EACCES);
    const node = this.#node(sysfs);
    if (!node) return negErrno(UAPI.ENOMEM);
    const of = core.slab.tryAlloc(this.#fs.core.kernel.structs.kernfs_open_file.size, 'kernfs_open_file');
    const error = of === 0n ? negErrno(UAPI.ENOMEM) : this.#seq.open(file, this.#fs.symbol('kernfs_seq_ops'));
    if (error !== 0n) {
      core.slab.free(of);
      this.#putNode(node);
      return error;
    }
    const seq = mem.readU64(file + BigInt(this.#file.private_data));
    mem.writeU64(seq + BigInt(this.#seqFile.private), of);
    mem.writeU64(of + BigInt(this.#kernfsOpenFile.kn), node.kn);
    mem.writeU64(of + BigInt(this.#kernfsOpenFile.file), file);
    mem.writeU64(of + BigInt(this.#kernfsOpenFile.seq_file), seq);
    initMutex(this.#fs.core, of + BigInt(this.#kernfsOpenFile.mutex));
    return 0;
  }

  *#close(of: Addr): HostGenerator<void> {
    const { mem, core } = this.#fs;
    const kn = mem.readU64(of + BigInt(this.#kernfsOpenFile.kn));
    const node = keptFor(this.#byKn, kn);
    core.slab.free(of);
    const real = node.opened === 1 ? node.file.guest?.node?.kn : undefined;
    this.#putNode(node);
    if (real !== undefined) yield { call: this.#fs.symbol('kernfs_put'), args: [real] };
  }

  #putNode(node: Node): void {
    const { mem, core } = this.#fs;
    if (--node.opened > 0) return;
    this.#nodes.delete(node.file);
    this.#byKn.delete(node.kn);
    if (node.file.guest) {
      core.slab.free(mem.readU64(node.kn + BigInt(this.#kernfsNode.parent)));
      core.slab.free(mem.readU64(node.kn + BigInt(this.#kernfsNode.name)));
      core.slab.free(node.kn);
      return;
    }
    this.#byAttr.delete(node.attr);
    core.slab.free(mem.readU64(node.attr + BigInt(this.#kobjAttribute.attr_name)));
    core.slab.free(node.attr);
    core.slab.free(node.kn);
  }

  /** The guest's part of an attribute, with one more user; undefined without memory. */
  #node(file: SysfsFile): Node | undefined {
    let node = this.#nodes.get(file);
    if (!node) {
      const kn = this.#fs.core.slab.tryAlloc(this.#fs.core.kernel.structs.kernfs_node.size, 'kernfs_node');
      if (kn === 0n) return undefined;
      // The rest is part of what the kernel made with the directory.
      node = this.#fs.core.faults.without(() => this.#makeNode(file, kn));
      this.#nodes.set(file, node);
      this.#byKn.set(node.kn, node);
      if (!file.guest) this.#byAttr.set(node.attr, node);
    }
    node.opened++;
    return node;
  }

  /** Of a module's own attribute: the guest's functions find it and its kobject without us. */
  #moduleNode(file: SysfsFile, kn: Addr, { kobj, attr, node }: GuestAttribute): Node {
    const { mem, core } = this.#fs;
    const parent = core.slab.alloc(this.#fs.core.kernel.structs.kernfs_node.size, 'kernfs_node');
    const name = core.slab.alloc(file.name.length + 1, 'attribute name');
    mem.writeBytes(name, latin1Bytes(`${file.name}\0`));
    mem.writeU64(parent + BigInt(this.#kernfsNode.priv), kobj);
    mem.writeU64(kn + BigInt(this.#kernfsNode.parent), parent);
    mem.writeU64(kn + BigInt(this.#kernfsNode.name), name);
    mem.writeU64(kn + BigInt(this.#kernfsNode.attr_open), node?.ops ?? this.#fs.symbol('kobj_sysfs_ops'));
    mem.writeU64(kn + BigInt(this.#kernfsNode.priv), attr);
    mem.writeU16(kn + BigInt(this.#kernfsNode.mode), UAPI.S_IFREG | file.mode);
    if (node) mem.writeU32(node.kn, mem.readU32(node.kn) + 1);
    return { file, kn, attr, opened: 0 };
  }

  #makeNode(file: SysfsFile, kn: Addr): Node {
    if (file.guest) return this.#moduleNode(file, kn, file.guest);
    const { mem, core } = this.#fs;
    if (this.#parent === 0n)
      this.#parent = core.slab.alloc(this.#fs.core.kernel.structs.kernfs_node.size, 'kernfs_node');
    const functions = FUNCTIONS.find((row) => row.path.test(file.path)) as (typeof FUNCTIONS)[number];
    const name = core.slab.alloc(file.name.length + 1, 'attribute name');
    mem.writeBytes(name, latin1Bytes(`${file.name}\0`));
    const attr = core.slab.alloc(this.#fs.core.kernel.structs.kobj_attribute.size, 'attribute');
    mem.writeU64(attr + BigInt(this.#kobjAttribute.attr_name), name);
    mem.writeU16(attr + BigInt(this.#kobjAttribute.attr_mode), file.mode);
    mem.writeU64(attr + BigInt(this.#kobjAttribute.show), this.#fs.symbol(functions.show));
    mem.writeU64(attr + BigInt(this.#kobjAttribute.store), this.#fs.symbol(functions.store));
    mem.writeU64(kn + BigInt(this.#kernfsNode.parent), this.#parent);
    mem.writeU64(kn + BigInt(this.#kernfsNode.name), name);
    mem.writeU64(kn + BigInt(this.#kernfsNode.attr_open), this.#fs.symbol(functions.ops));
    mem.writeU64(kn + BigInt(this.#kernfsNode.priv), attr);
    mem.writeU16(kn + BigInt(this.#kernfsNode.mode), UAPI.S_IFREG | file.mode);
    return { file, kn, attr, opened: 0 };
  }

  #getActive(kn: Addr): Addr {
    const real = this.#realNode(kn);
    if (real !== undefined && (this.#fs.mem.readU32(real + BigInt(this.#kernfsNode.active)) | 0) < 0)
      return 0n;
    if (this.#byKn.get(kn)?.file.removed) return 0n;
    this.#addActive(kn, 1);
    return kn;
  }

  /** kernfs_drain() waits for the last one who is in a file's functions. */
  *#putActive(kn: Addr): HostGenerator<void> {
    this.#addActive(kn, -1);
    const real = this.#realNode(kn);
    if (real === undefined) return;
    const { mem } = this.#fs;
    if (mem.readU32(real + BigInt(this.#kernfsNode.active)) !== KN_DEACTIVATED_BIAS) return;
    const { dir_root, parent } = this.#kernfsNode;
    let at = real;
    for (let above = at; above !== 0n; above = mem.readU64(above + BigInt(parent))) at = above;
    const { kernfs_root } = this.#fs.core.kernel.structs;
    if (!kernfs_root) return;
    const queue = mem.readU64(at + BigInt(dir_root)) + BigInt(kernfs_root.fields.deactivate_waitq);
    yield { call: this.#fs.symbol('__wake_up'), args: [queue, this.#fs.constants.TASK_NORMAL, 0, 0] };
  }

  /** In a real kernel's kernfs. */
  #realNode(kn: Addr): Addr | undefined {
    return this.#byKn.get(kn)?.file.guest?.node?.kn ?? (this.#byKn.has(kn) ? undefined : kn);
  }

  #addActive(kn: Addr, by: 1 | -1): void {
    const at = (this.#realNode(kn) ?? kn) + BigInt(this.#kernfsNode.active);
    this.#fs.mem.writeU32(at, (this.#fs.mem.readU32(at) + by) >>> 0);
    // Who removes the directory waits for those who are in the module's functions.
    const file = this.#byKn.get(kn)?.file;
    if (file?.guest && !file.guest.node) file.parent.hold(by);
  }

  *#show(attr: Addr, buf: Addr): HostGenerator {
    const text = yield* keptFor(this.#byAttr, attr).file.show();
    if (typeof text === 'number') return negErrno(-text);
    const cut = text.slice(0, PAGE_SIZE - 1);
    writeCut(this.#fs.mem, buf, BigInt(PAGE_SIZE), cut);
    return cut.length;
  }

  *#store(call: HostCall): HostGenerator {
    const [, attr, buf, count] = call.args;
    const text = latin1Text(this.#fs.mem.readBytes(buf, Number(count)));
    const result = yield* keptFor(this.#byAttr, attr).file.store(text, call);
    return result < 0 ? negErrno(-result) : result;
  }

  /** sysfs_emit(), sysfs_emit_at(): into a page that show() was given, from `at` on. */
  #emit(call: HostCall, at: number, format: number): number {
    const { mem, core } = this.#fs;
    const buf = call.args[0];
    if (buf === 0n || buf % BigInt(PAGE_SIZE) !== 0n || at < 0 || at >= PAGE_SIZE) {
      core.printk.warn(
        `invalid sysfs_emit: buf:${buf.toString(16).padStart(16, '0')}${at ? ` at:${at}` : ''}`,
      );
      return 0;
    }
    const text = vsprintfGuest(
      this.#fs.format,
      call.args[format],
      core.arch.varargs.callArgs(mem, call, format + 1),
    );
    writeCut(mem, buf + BigInt(at), BigInt(PAGE_SIZE - at), text);
    return Math.min(text.length, PAGE_SIZE - at - 1);
  }
}
