// What start_kernel() and setup_arch() leave before any init function, where those cannot be executed: they ask firmware and hardware.
//
// Invariant: of the processor that is said which its cpuid says, and of firmware that there is none.

import type { HostGenerator } from '../../guest/hostcall.ts';
import type { KernelCore } from '../../kernel/core.ts';
import { holds, type Since } from '../../kernel/release.ts';

/** As cpuid tells of the core: leaf 1, and leaf 0x80000008. */
const [LINE_SIZE, PHYSICAL_BITS, VIRTUAL_BITS] = [64, 46, 48];

/** enum crng_init of drivers/char/random.c */
const CRNG_READY = 2;
/** FULL is 3 since the heap SLAB, which had one state more, is gone; 4 before. */
const SLAB_IS_GONE: Since = { release: '6.8', seen: '6.12.117, 7.3.4', not: '6.1' };

export function earlyBoot(core: KernelCore): void {
  cpuSizes(core);
  cpuTopology(core);
  const { mem, symbols } = core;
  // kmem_cache_init_late(): there is a heap from the beginning on, the machine's.
  const slab = symbols.lookupName('slab_state');
  if (slab !== undefined) mem.writeU32(slab, holds(core.kernel, SLAB_IS_GONE) ? 3 : 4);
  // Random bytes are the machine's, from the beginning on.
  const crng = symbols.lookupName('crng_init');
  if (crng !== undefined) mem.writeU32(crng, CRNG_READY);
  const console = symbols.lookupName('conswitchp');
  const dummy = symbols.lookupName('dummy_con');
  if (console !== undefined && dummy !== undefined) mem.writeU64(console, dummy);
}

/** Masks of those that a CPU shares something with. */
const TOPOLOGY = 'cpu_sibling_map cpu_core_map cpu_die_map cpu_llc_shared_map cpu_l2c_shared_map'.split(' ');

/** smp_prepare_cpus() and set_cpu_sibling_map() of CPUs that share nothing: masks are of memory of their own (CPUMASK_OFFSTACK). */
function cpuTopology({ mem, slab, symbols, percpu, cpus }: KernelCore): void {
  for (const name of TOPOLOGY) {
    const at = symbols.lookupName(name);
    if (at === undefined) continue;
    for (let cpu = 0; cpu < cpus; cpu++) {
      const mask = slab.alloc(8 * Math.ceil(cpus / 64), name);
      mem.writeU8(mask + BigInt(cpu >> 3), 1 << (cpu & 7));
      mem.writeU64(BigInt.asUintN(64, percpu.base[cpu] + at), mask);
    }
  }
}

/** early_identify_cpu(): sizes, by which memory is laid out. Who asks for features is told of none. */
function cpuSizes({ mem, symbols, kernel }: KernelCore): void {
  const { cpuinfo_x86 } = kernel.structs;
  const boot = symbols.lookupName('boot_cpu_data');
  if (!cpuinfo_x86 || boot === undefined) return;
  const { x86_clflush_size, x86_cache_alignment, x86_phys_bits, x86_virt_bits } = cpuinfo_x86.fields;
  mem.writeU16(boot + BigInt(x86_clflush_size), LINE_SIZE);
  mem.writeU32(boot + BigInt(x86_cache_alignment), LINE_SIZE);
  mem.writeU8(boot + BigInt(x86_phys_bits), PHYSICAL_BITS);
  mem.writeU8(boot + BigInt(x86_virt_bits), VIRTUAL_BITS);
}

/**
 * acpi_bus_init() of a machine without tables: the interpreter with the namespace that is there before any, and the bus,
 * on which there is no device.
 */
export function* acpiBus({ symbols }: KernelCore): HostGenerator<void> {
  const [subsystem, bus, register] = ['acpi_initialize_subsystem', 'acpi_bus_type', 'bus_register'].map(
    (name) => symbols.lookupName(name),
  );
  if (subsystem === undefined || bus === undefined || register === undefined) return;
  yield { call: subsystem };
  yield { call: register, args: [bus] };
}
