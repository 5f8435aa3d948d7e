// What of a real kernel's boot is executed: the init functions that set up what modules go by, in the order in which
// start_kernel() and do_initcalls() of init/main.c come to them.
//
// Invariant: they run as machine code, in a task of their own, before anything else does; init memory is gone behind them.

import type { Addr } from '../../guest/addr.ts';
import type { HostGenerator, HostState } from '../../guest/hostcall.ts';
import { type KernelCore, negErrno } from '../../kernel/core.ts';
import { UAPI } from '../../kernel/uapi.ts';
import { makePageArray } from '../../mm/pages.ts';
import { acpiBus, earlyBoot } from './early_boot.ts';

/** Those that a kernel has not, or has inlined, are left out. */
const INITCALLS: readonly string[] = [
  // start_kernel()
  'setup_log_buf cgroup_init_early wait_bit_init radix_tree_init maple_tree_init softirq_init fork_init signals_init cred_init key_init',
  'mmap_init uts_ns_init net_ns_init vfs_caches_init pagecache_init seq_file_init proc_init_kmemcache nsfs_init pidfs_init',
  'anon_vma_init buffer_init n_tty_init con_init mem_cgroup_init proc_root_init cpuset_init cgroup_init',
  // driver_init(), and what is before all of it in sysfs
  'ksysfs_init devices_init buses_init classes_init firmware_init hypervisor_init of_core_init platform_bus_init isa_bus_init',
  'faux_bus_init auxiliary_bus_init memory_dev_init container_dev_init param_sysfs_init klp_init',
  // do_initcalls(): core, postcore, arch
  'fsnotify_init filelock_init init_script_binfmt init_elf_binfmt tracefs_init securityfs_init gpiolib_dev_init regulator_init',
  'iommu_init sock_init net_inuse_init net_defaults_init init_default_flow_dissectors netlink_proto_init genl_init',
  'virtio_init bdi_class_init mm_sysfs_init kobject_uevent_init',
  'mpi_init gpiolib_sysfs_init pcibus_class_init pci_driver_init backlight_class_init tty_class_init serdev_init',
  'iommu_dev_init mipi_dsi_bus_init devlink_class_init software_node_init wakeup_sources_sysfs_init regmap_initcall',
  'spi_init i2c_init thermal_init init_ladder init_menu cryptomgr_init acpi_pci_init dma_channel_table_init',
  'dma_bus_init iommu_dma_init dmi_id_init',
  // subsys
  'vsprintf_init_hashval cgroup_sysfs_init user_namespaces_init default_bdi_init cgwb_init dh_init rsa_init hmac_module_init',
  'crypto_null_mod_init md5_mod_init sha1_generic_mod_init sha256_generic_mod_init crypto_cbc_module_init aes_init',
  'deflate_mod_init lzo_mod_init lzorle_mod_init init_bio blk_mq_init genhd_device_init blkcg_init sg_pool_init',
  'irq_poll_setup pwm_sysfs_init pci_slot_init fbmem_init pnp_init misc_init iommu_subsys_init dax_core_init',
  'dma_buf_init serio_init input_init rtc_init phy_init pps_init ptp_init power_supply_class_init hwmon_init edac_init',
  'leds_init intel_scu_ipc_init devfreq_init ras_init nvmem_init proto_init net_dev_init neigh_init fib_notifier_init',
  'fib_rules_init pktsched_init tc_filter_init tc_action_init ethnl_init nexthop_init devlink_init',
  // fs, device, late
  'proc_devices_init proc_locks_init proc_filesystems_init proc_execdomains_init crypto_init_proc',
  'iomem_init_inode init_pipe_fs inotify_user_setup eventpoll_init anon_inode_init iomap_init dquot_init',
  'init_ramfs_fs chr_dev_init hwrng_modinit firmware_class_init powercap_init inet_init af_unix_init init_devpts_fs',
  'blacklist_init asymmetric_key_init x509_key_init blkdev_init bsg_init deadline_init btree_module_init phy_core_init',
  'pci_hotplug_init n_null_init devcoredump_init cxl_core_init blackhole_netdev_init ledtrig_disk_init',
  'sock_diag_init inet6_init packet_init',
].flatMap((names) => names.split(' '));

/** Names that a function of another kind has, too: of PHYs of any kind, and of those of networks, which are built in on 7.3. */
const ALSO_ANOTHER: ReadonlySet<string> = new Set(['phy_init']);

/** How far they are. */
export interface Initcalls {
  done: boolean;
  /** What is executed, or was last. */
  current: string;
}

/** As a boot that is kept has it. */
export const stateOf = (initcalls: Initcalls): HostState<Initcalls> => ({
  keep: () => (initcalls.done ? initcalls : undefined),
  restore: (kept) => {
    Object.assign(initcalls, kept);
  },
});

export function defineInitcalls(core: KernelCore): Initcalls {
  const state: Initcalls = { done: false, current: '' };
  core.host.offerAll({
    *do_initcalls(): HostGenerator {
      earlyBoot(core);
      makePageArray(core);
      yield* oneNode(core);
      for (const name of INITCALLS) {
        const fn = ALSO_ANOTHER.has(name) ? inInitText(core, name) : core.symbols.lookupName(name);
        if (fn === undefined) continue;
        state.current = name;
        if (name === 'acpi_pci_init') yield* acpiBus(core);
        if (name === 'param_sysfs_init' && core.symbols.lookupName('param_sysfs_builtin_init') === undefined)
          yield* moduleKset(core);
        else yield { call: fn };
      }
      state.done = true;
    },
    alloc_large_system_hash: ({ args, sp }) => largeHash(core, args, sp),
    // It makes a BPF program, and ends the kernel where it cannot: this machine translates none.
    ptp_classifier_init: () => {},
    // Types of the kernel are not in memory: who gives functions to BPF programs is told that there are none.
    btf_parse_vmlinux: () => negErrno(UAPI.ENOENT),
    text_poke_early: ({ args: [addr, opcode, length] }) => {
      core.mem.pokeText(addr, core.mem.readBytes(opcode, Number(length)));
      return addr;
    },
  });
  return state;
}

function inInitText({ symbols }: KernelCore, name: string): Addr | undefined {
  const [from, to] = [symbols.require('_sinittext'), symbols.require('_einittext')];
  return symbols.matches(name, undefined).find(({ addr }) => addr >= from && addr < to)?.addr;
}

/**
 * What numa_init() and free_area_init() leave of a machine whose memory is one node: of the nodes that may be, the first,
 * with its pg_data_t. Its zones are empty, as those of a node that is to come: pages are the machine's (src/mm).
 */
function* oneNode({ mem, slab, symbols, kernel }: KernelCore): HostGenerator<void> {
  const count = symbols.require('nr_node_ids');
  const most = mem.readU32(count);
  // The first mask of the array is N_POSSIBLE.
  const possible = symbols.require('node_states');
  mem.fill(possible, most / 8, 0);
  mem.writeU64(possible, 1n);
  mem.writeU32(count, 1);
  const { pglist_data } = kernel.structs;
  if (!pglist_data) return;
  const node = slab.alloc(pglist_data.size, 'pglist_data');
  mem.writeU64(node + BigInt(pglist_data.fields.per_cpu_nodestats), symbols.require('boot_nodestats'));
  mem.writeU64(symbols.require('node_data'), node);
  yield { call: symbols.require('free_area_init_core_hotplug'), args: [node] };
  // 6.6
  const generations = symbols.lookupName('lru_gen_init_pgdat');
  if (generations !== undefined) yield { call: generations, args: [node] };
}

const HASH_ENTRIES = 256;

/** Tables of the kernel that grow with memory: as many buckets as asked for, within what a small machine has. */
function largeHash({ mem, slab }: KernelCore, args: readonly Addr[], sp: Addr): Addr {
  const [, bucketSize, asked, , , shift] = args;
  const [mask, low, high] = [8n, 16n, 24n].map((behind) => mem.readU64(sp + behind));
  const most = high === 0n ? HASH_ENTRIES : Math.min(Number(high), HASH_ENTRIES);
  const wanted = Math.max(Math.min(Number(asked) || most, most), Number(low));
  const bits = Math.ceil(Math.log2(Math.max(wanted, 1)));
  if (shift !== 0n) mem.writeU32(shift, bits);
  if (mask !== 0n) mem.writeU32(mask, (1 << bits) - 1);
  return slab.alloc(Number(bucketSize) << bits, 'system hash');
}

/**
 * What param_sysfs_init() begins with: the parameters of what is built in, which 6.1 makes directories of behind it, are
 * two million instructions.
 */
function* moduleKset({ mem, slab, symbols }: KernelCore): HostGenerator<void> {
  const name = slab.alloc(8, 'module_kset');
  mem.writeCString(name, 'module');
  const args = [name, symbols.require('module_uevent_ops'), 0n];
  mem.writeU64(symbols.require('module_kset'), yield { call: symbols.require('kset_create_and_add'), args });
  slab.free(name);
}
