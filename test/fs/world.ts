// The guest kernel's image on a CPU, with one task and no scheduler: its functions are called one by one.
// A system call is made as do_syscall_64 makes it, with a struct pt_regs.

import { REG } from '../../src/arch/x86_64/context.ts';
import { CoreEngine } from '../../src/arch/x86_64/engine/core_engine.ts';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { FileSystem, type FileSystemOptions } from '../../src/fs/filesystem.ts';
import type { Addr } from '../../src/guest/addr.ts';
import { VMALLOC_START } from '../../src/guest/addr.ts';
import { HostFunctions } from '../../src/guest/hostcall.ts';
import { GuestMemory, PROT_EXEC, PROT_READ, PROT_WRITE } from '../../src/guest/memory.ts';
import { USER_STACK_BASE } from '../../src/guest/windows.ts';
import { Choices, QuietChooser } from '../../src/kernel/choices.ts';
import type { KernelCore } from '../../src/kernel/core.ts';
import { BUILT_IN } from '../../src/kernel/description.ts';
import { EventLog } from '../../src/kernel/events.ts';
import { FaultInject } from '../../src/kernel/fault_inject.ts';
import { defineLib, formatContext } from '../../src/kernel/lib.ts';
import { defineParams } from '../../src/kernel/params.ts';
import { PerCpu } from '../../src/kernel/percpu.ts';
import { Printk } from '../../src/kernel/printk.ts';
import { SeededRandom } from '../../src/kernel/random.ts';
import { Slab } from '../../src/kernel/slab.ts';
import { Sysfs } from '../../src/kernel/sysfs.ts';
import { TaskStruct, TaskTable } from '../../src/kernel/task_struct.ts';
import { UAPI } from '../../src/kernel/uapi.ts';
import { imageSymbols, mapImage, percpuTemplate } from '../../src/machine/boot/boot.ts';
import { type KernelImage, loadKernelImage } from '../../src/machine/boot/image.ts';
import { Cpu } from '../../src/machine/cpu/cpu.ts';
import { HostCallDispatch } from '../../src/machine/cpu/hostcall_dispatch.ts';
import { defineMm } from '../../src/mm/mm.ts';
import { searchExtable } from '../../src/module/extable.ts';

const CONSTANTS = BUILT_IN.constants;
const LAYOUT = BUILT_IN.structs;

const NOP5 = Uint8Array.of(0x0f, 0x1f, 0x44, 0, 0);
/** A page of ours: functions of a test, and the hlt that calls return to. */
const SCRATCH = 0xffffffffc4000000n;
const BUDGET = 2_000_000;
const REGS = LAYOUT.pt_regs.fields;
/** What a function gives back as it was: rbx, rbp, r12 to r15. */
const KEPT = [REG.rbx, REG.rbp, REG.r12, REG.r13, REG.r14, REG.r15];
/** What a host function may change, but for its result. */
const SPOILED = [REG.rcx, REG.rdx, REG.rsi, REG.rdi, REG.r8, REG.r9, REG.r10, REG.r11];
/** e9 rel32: jmp, to the return thunk, with which a host function's stub ends. */
const RETURNS = 0xe9;
const ARGS = [REG.rdi, REG.rsi, REG.rdx, REG.rcx, REG.r8, REG.r9];

/** X86_EFLAGS_IF, with which each call begins, and is to end. */
const INTERRUPTS = 0x200n;
const FLAGS = INTERRUPTS | 2n;

/** Guest user memory that tests may write: the user stacks. */
export const USER = USER_STACK_BASE;

export class World {
  readonly core: KernelCore;
  readonly fs: FileSystem;
  readonly sysfs = new Sysfs();
  readonly task: TaskStruct;
  readonly #cpu: Cpu;
  readonly #engine: CoreEngine;
  readonly #dispatch: HostCallDispatch;
  #scratch = SCRATCH + 16n;
  #pid = 1;
  now = 0;

  static async boot(texts: NonNullable<FileSystemOptions['texts']> = {}): Promise<World> {
    return new World(await loadKernelImage(), texts);
  }

  private constructor(image: KernelImage, texts: NonNullable<FileSystemOptions['texts']>) {
    const { asm } = image;
    const geometry = { heap: 8 << 20, stacks: 4 };
    this.#engine = new CoreEngine();
    const mem = new GuestMemory(geometry, this.#engine.allocate);
    mem.attach(this.#engine);
    mapImage(mem, asm);
    for (const site of asm.fentrySites) mem.pokeText(site, NOP5);
    mem.map(SCRATCH, 0x4000, PROT_READ | PROT_EXEC);
    mem.pokeText(SCRATCH, Uint8Array.of(0xf4));
    this.core = this.#makeCore(mem, image);
    this.#engine.loadTables(mem, (name) => this.core.symbols.require(name));
    const context = this.#engine.newContext();
    context.perCpuBase = this.core.percpu.base[0];
    this.#cpu = new Cpu(0, context, this.core, 0, () => {});
    mem.map(VMALLOC_START + 0x4000n, CONSTANTS.THREAD_SIZE, PROT_READ | PROT_WRITE);
    this.task = this.addTask('cat');
    this.core.percpu.writeU64('current_task', 0, this.task.addr);
    const format = formatContext(this.core);
    defineLib(this.core, format);
    defineMm(this.core, format, { afterGracePeriod: (done) => done() });
    defineParams(this.core);
    this.fs = new FileSystem(this.core, format, { sysfs: this.sysfs, commandLine: 'quiet klpemu', texts });
    this.#dispatch = this.#bind(image);
    this.fs.setupStdio(this.task);
  }

  #makeCore(mem: GuestMemory, image: KernelImage): KernelCore {
    const events = new EventLog(() => ({ t: this.now, cpu: 0 }));
    const slab = new Slab(mem);
    const symbols = imageSymbols(image.asm);
    const template = percpuTemplate(image.asm);
    return {
      kernel: BUILT_IN,
      arch: X86_64,
      mem,
      clock: { now: () => this.now },
      events,
      printk: new Printk(events, () => this.now),
      symbols,
      slab,
      percpu: new PerCpu(mem, slab, template.bytes, 1, template.symbols),
      tasks: new TaskTable(),
      host: new HostFunctions(),
      faults: new FaultInject(() => this.task),
      random: new SeededRandom(1),
      choices: new Choices(new QuietChooser()),
      cpus: 1,
      taints: 0,
      here: () => 0,
      current: () => this.task,
      currentOf: () => this.task,
      sym: (addr) => symbols.format(addr),
    };
  }

  /** Host functions of other subsystems have no part here: a test that comes to one fails. */
  #bind(image: KernelImage): HostCallDispatch {
    const stubs = X86_64.hostStubs.find(image.asm);
    for (const name of stubs.keys()) {
      if (this.core.host.get(name)) continue;
      this.core.host.define(name, () => {
        throw new Error(`the guest called ${name}`);
      });
    }
    return new HostCallDispatch(this.core, stubs);
  }

  addTask(comm: string): TaskStruct {
    const task = new TaskStruct(this.core, this.core.slab.alloc(LAYOUT.task_struct.size, 'task_struct'), 0);
    task.pid = this.#pid;
    task.tgid = this.#pid++;
    task.comm = comm;
    this.core.tasks.add(task);
    return task;
  }

  close(): void {
    this.#engine.close();
  }

  /** Writes machine code that a test made; its address. */
  addCode(bytes: readonly number[]): Addr {
    const addr = this.#scratch;
    this.core.mem.pokeText(addr, Uint8Array.from(bytes));
    this.#scratch += BigInt((bytes.length + 15) & ~15);
    return addr;
  }

  sym(name: string): Addr {
    return this.core.symbols.require(name);
  }

  /** A host function of the test's, as a guest function: its address. */
  define(fn: (args: readonly bigint[]) => bigint | number | undefined): Addr {
    const addr = this.addCode([0xf4, 0xc3]);
    this.#tests.set(addr + 1n, fn);
    return addr;
  }
  readonly #tests = new Map<Addr, (args: readonly bigint[]) => bigint | number | undefined>();

  /** Calls a guest function at the top of the task's stack; RAX. */
  call(fn: string | Addr, ...args: (bigint | number)[]): bigint {
    const { context } = this.#cpu;
    const { regs } = context;
    regs[REG.rsp] = VMALLOC_START + 0x8000n - 0x200n;
    ARGS.forEach((reg, i) => {
      regs[reg] = BigInt.asUintN(64, BigInt(args[i] ?? 0));
    });
    regs[REG.rsp] -= 8n;
    this.core.mem.writeU64(regs[REG.rsp], SCRATCH);
    regs[REG.rip] = typeof fn === 'string' ? this.sym(fn) : fn;
    regs[REG.rflags] = FLAGS;
    KEPT.forEach((reg, i) => {
      regs[reg] = BigInt(0x6b657074 + i);
    });
    const sp = regs[REG.rsp] + 8n;
    context.touch();
    this.#run();
    const lost = KEPT.filter((reg, i) => regs[reg] !== BigInt(0x6b657074 + i));
    if (lost.length > 0 || regs[REG.rsp] !== sp)
      throw new Error(`${fn} has not given back registers ${lost.join(', ')}, or the stack pointer`);
    if ((regs[REG.rflags] & INTERRUPTS) === 0n) throw new Error(`${fn} has left interrupts off`);
    return regs[REG.rax];
  }

  #run(): void {
    for (;;) {
      const stop = this.#engine.run(this.#cpu.context, BUDGET);
      const rip = this.#cpu.pc;
      if (stop.kind === 'page fault' && this.#fixup(rip)) continue;
      if (stop.kind !== 'halt') throw new Error(`${stop.kind} at ${this.core.sym(rip)}`);
      if (rip === SCRATCH + 1n) return;
      const test = this.#tests.get(rip);
      if (test) {
        const { regs } = this.#cpu.context;
        regs[REG.rax] = BigInt.asUintN(64, BigInt(test(ARGS.map((reg) => regs[reg])) ?? 0));
        this.#cpu.context.touch();
      } else if (!this.#dispatch.dispatch(this.#cpu)) throw new Error(`hlt at ${this.core.sym(rip)}`);
      else if (this.core.mem.readU8(this.#cpu.pc) === RETURNS) this.#spoil();
    }
  }

  /** Of what a function need not give back nothing is, in the host functions' stubs neither. */
  #spoil(): void {
    const { context } = this.#cpu;
    for (const reg of SPOILED) context.regs[reg] = 0xdead_dead_dead_deadn;
    context.touch();
  }

  /** What the page fault's handler does for an instruction with an entry in an exception table of the image. */
  #fixup(rip: Addr): boolean {
    const tables = [...this.core.symbols.all()].filter(({ name }) => name.startsWith('__ex_table_'));
    const entry = tables.map((table) => searchExtable(this.core, table, rip)).find((found) => found);
    if (entry) this.#cpu.pc = entry.fixup;
    return entry !== undefined;
  }

  /** Functions whose return addresses are on the stack now, innermost first. */
  trace(): string[] {
    const names: string[] = [];
    const { mem, symbols } = this.core;
    for (let at = this.#cpu.sp; at < VMALLOC_START + 0x8000n - 0x208n; at += 8n) {
      const found = symbols.lookup(mem.readU64(at));
      if (found && found.offset > 0 && found.type.toLowerCase() === 't') names.push(found.name);
    }
    return names;
  }

  /** Makes a system call by its function: `__x64_sys_read`. Its result, signed. */
  syscall(name: string, ...args: (bigint | number)[]): number {
    const { mem } = this.core;
    const regs = VMALLOC_START + 0x8000n - BigInt(LAYOUT.pt_regs.size);
    const fields = [REGS.di, REGS.si, REGS.dx, REGS.r10, REGS.r8, REGS.r9];
    fields.forEach((field, i) => {
      mem.writeU64(regs + BigInt(field), BigInt.asUintN(64, BigInt(args[i] ?? 0)));
    });
    return Number(BigInt.asIntN(64, this.call(`__x64_sys_${name}`, regs)));
  }

  /** Where a test keeps a path for a system call. */
  userString(text: string): Addr {
    this.core.mem.writeCString(USER + 0x1000n, text);
    return USER + 0x1000n;
  }

  open(path: string, flags = 0): number {
    return this.syscall('open', this.userString(path), flags, 0);
  }
  /** One read of `size` bytes: the text, or -errno. */
  read(fd: number, size = 0x1000): string | number {
    const got = this.syscall('read', fd, USER + 0x2000n, size);
    return got < 0 ? got : String.fromCharCode(...this.core.mem.view(USER + 0x2000n, got));
  }
  write(fd: number, text: string): number {
    this.core.mem.writeCString(USER + 0x2000n, text);
    return this.syscall('write', fd, USER + 0x2000n, text.length);
  }
  lseek(fd: number, offset: number, whence = 0): number {
    return this.syscall('lseek', fd, offset, whence);
  }
  closeFd(fd: number): number {
    return this.syscall('close', fd);
  }

  /** All of a file, in reads of `chunk` bytes; or the first -errno. */
  cat(path: string, chunk = 0x1000): string | number {
    const fd = this.open(path);
    if (fd < 0) return fd;
    let text = '';
    for (;;) {
      const part = this.read(fd, chunk);
      if (typeof part === 'number') {
        this.closeFd(fd);
        return part;
      }
      if (part === '') break;
      text += part;
    }
    this.closeFd(fd);
    return text;
  }

  /** What echo TEXT > PATH gives: bytes written or -errno. */
  echo(text: string, path: string): number {
    const fd = this.open(path, UAPI.O_WRONLY | UAPI.O_TRUNC);
    if (fd < 0) return fd;
    const written = this.write(fd, `${text}\n`);
    this.closeFd(fd);
    return written;
  }
}
