// The bottom of a machine: the engine, the memory it shares, and the kernel core over them.

import type { Arch } from '../../arch/arch.ts';
import type { Addr } from '../../guest/addr.ts';
import { IMAGE_BASE, MODULES_VADDR } from '../../guest/addr.ts';
import { HostFunctions } from '../../guest/hostcall.ts';
import { GuestMemory } from '../../guest/memory.ts';
import type { KernelCore } from '../../kernel/core.ts';
import { EventLog } from '../../kernel/events.ts';
import { FaultInject } from '../../kernel/fault_inject.ts';
import { PerCpu } from '../../kernel/percpu.ts';
import { Printk } from '../../kernel/printk.ts';
import { Slab } from '../../kernel/slab.ts';
import { type TaskStruct, TaskTable } from '../../kernel/task_struct.ts';
import { FIRST_MODULE } from '../../module/module_alloc.ts';
import { mmPoolSize } from '../../sched/mm_struct.ts';
import type { Smp } from '../cpu/smp.ts';
import { isJoined, joinedPerCpu, joinedSymbols, joinText, mapNative } from '../native/join.ts';
import type { MachineOptions } from '../options.ts';
import { imageSymbols, mapImage, percpuTemplate, publishCpus } from './boot.ts';
import type { Chance } from './chance.ts';
import type { KernelImage } from './image.ts';

/** Bytes that our own image takes at most, behind a real kernel. */
const OWN_IMAGE = 1 << 20;

/** For alloc_percpu(), of a real kernel: what it would take chunks for. */
const PERCPU_DYNAMIC = 512 << 10;

export type MadeMemory = ReturnType<typeof makeMemory>;

/** The engine, and memory over what it allocates: host memory that it shares, or memory of its own. */
export function makeMemory(
  arch: Arch,
  { kernel: { structs }, real }: KernelImage,
  options: Required<MachineOptions>,
) {
  const engine = arch.makeEngine(options.engine);
  const apart = options.protection && engine.keepApart !== undefined;
  if (apart) engine.keepApart?.();
  const stacks = options.maxTasks + options.cpus + 8;
  const memory = new GuestMemory(
    {
      ...(real ? { image: Number(real.native.end - IMAGE_BASE) + OWN_IMAGE } : {}),
      heap: options.heap,
      behindHeap: mmPoolSize(structs.mm_struct.size, stacks),
      stacks,
      spaces: apart,
      modules: Number(FIRST_MODULE - MODULES_VADDR) + options.moduleArea,
    },
    engine.allocate,
  );
  memory.attach(engine);
  return { memory, engine, apart };
}

/** What all subsystems stand on, over memory into which the image is mapped. */
export function makeCore(
  image: KernelImage,
  arch: Arch,
  { memory: mem, engine, apart }: MadeMemory,
  smp: Smp,
  chance: Chance,
  options: Required<MachineOptions>,
): KernelCore {
  const joined = isJoined(image) ? image : undefined;
  if (joined) mapNative(mem, joined.real.native, apart);
  mapImage(mem, image.asm);
  for (const [addr, bytes] of apart ? (arch.protection?.sites(image.asm) ?? []) : [])
    mem.pokeText(addr, bytes);
  if (joined) joinText(mem, joined, arch);
  const symbols = joined ? joinedSymbols(joined) : imageSymbols(image.asm);
  engine.loadTables(mem, (name) => symbols.require(name));
  const slab = new Slab(mem);
  const {
    bytes,
    symbols: percpuSymbols,
    exported,
    linkedAt,
  } = joined ? joinedPerCpu(joined) : percpuTemplate(image.asm);
  const percpu = new PerCpu(
    mem,
    slab,
    bytes,
    options.cpus,
    percpuSymbols,
    linkedAt,
    joined ? PERCPU_DYNAMIC : 0,
  );
  publishCpus(mem, symbols, percpu.base);
  const clock = { now: () => smp.now() };
  const events = new EventLog(() => ({ t: smp.now(), cpu: smp.current?.id ?? 0 }));
  const tasks = new TaskTable();
  const current = (cpu: number): TaskStruct =>
    tasks.byAddr(percpu.readU64('current_task', cpu)) ?? tasks.curr[cpu];
  const printk = new Printk(events, clock.now, options.cpus);
  const faults = makeFaults(events, printk, () => smp.current && current(smp.current.id));
  slab.fault = (_size, owner) => faults.check('kmalloc', owner) !== 0;
  const core: KernelCore = {
    kernel: image.kernel,
    arch,
    mem,
    clock,
    events,
    printk,
    symbols,
    slab,
    percpu,
    tasks,
    host: new HostFunctions(),
    random: chance.random,
    choices: chance.choices,
    faults,
    cpus: options.cpus,
    protection: apart,
    taints: 0,
    here: () => smp.current?.id ?? 0,
    current,
    currentOf: (call) => current(call.cpu),
    sym: (addr) => symbols.format(addr),
  };
  for (const name of exported) symbols.addExport(name, { addr: percpuSymbols.get(name) as Addr, gpl: false });
  return core;
}

/** Failures are told where the kernel tells them. */
function makeFaults(events: EventLog, printk: Printk, current: () => TaskStruct | undefined): FaultInject {
  return new FaultInject(current, (what, task) => {
    events.emit({ type: 'fault', pid: task?.pid ?? 0, comm: task?.comm ?? '', what });
    printk.notice('FAULT_INJECTION: forcing a failure.');
    printk.notice(`name ${what}`);
  });
}
