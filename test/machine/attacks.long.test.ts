// What a hostile module can do: every attack ends as a kernel ends it, or goes on and keeps nobody else from running.

import { describe, expect, it } from 'vitest';
import { attack, attackNames, type Ended } from './attacks.ts';

const names = (text: string): string[] => text.trim().split(/\s+/);

/** How it ends, what the kernel says of it, and which attacks end so. */
const ENDS: readonly (readonly [how: string, says: RegExp, attacks: string[]])[] = [
  [
    'exit 0',
    /survived/,
    names(`
      time_stamps trap_flag gdt_empty
      sti_hlt plain_hlt rep_hlt branch_over_a_far_jump far_return_kernel only_nops cr0_no_protection cr3_elsewhere
      cr4_zero cr4_ones cr8_both_ways dr7_no_breakpoint dr7_breakpoint dr7_all dr_read msr_read_tsc
      msr_efer_zero msr_lstar idt_empty segments_probed stack_segment_zero port_in port_out port_string cache_flush
      line_flush page_flush identify identify_hypervisor state_fx   compare_16
      store_backwards nothing set take_all take_pages take threads say_escapes free warning own_pid own_cpu
      own_saved_stack own_module_zero leave_locked`),
  ],
  [
    'exit 139',
    /invalid opcode: 0000 \[#1\]/,
    names(`
      avx avx_broadcast avx512 state_all x87 x87_unmasked
      lock_hlt monitor_mwait far_call_register far_jump_register far_jump_register_rex far_jump_register_16 lock_nop
      lock_mov lock_mov_memory lock_cmp lock_add_register lock_bt_register lock_bt_memory lock_bts_register
      lock_cmpxchg_register lock_ud2 lock_syscall lock_rex_late undefined_2 undefined_1 undefined_0 not_in_64_bit
      bad_3dnow bad_x87    into_the_middle into_a_far_jump into_a_lock indirect_into_a_far_jump
      memory_into_a_far_jump call_into_a_far_jump return_into_a_far_jump far_return_into_a_far_jump
      iret_into_a_far_jump fall_into_a_far_jump   sysenter_here sysexit_here int_one write_gs_base
      extended_control hypercall_intel hypercall_amd vm_pointer vm_run vm_skinit vm_interrupt_flag safer_mode
      system_management transaction  random_numbers  bug`),
  ],
  [
    'exit 139',
    /general protection fault.*: 0\d\d\d \[#1\]/,
    names(`
      msr_read_none move_unaligned gdt_empty_ss
      too_long far_jump_memory far_call_memory far_return_user far_return_nowhere iret_zeros int_80 int_double_fault
      int_nmi   dr7_high task_register local_table compare_16_unaligned jump_not_canonical own_stack`),
  ],
  ['exit 139', /divide error: 0000 \[#1\]/, names('divide_overflow divide_by_zero')],
  [
    'exit 137',
    /BUG: unable to handle page fault for address/,
    names(`
      tables_read enter_deep store_4_gib move_everything load_unmapped write_own_text free_twice jump_to_stack run_heap
      run_stack`),
  ],
  ['exit 137', /BUG: kernel NULL pointer dereference/, names('jump_null call write_text null')],
  ['exit 8', /survived own_module/, ['own_module']],
  [
    'GuestPanic',
    /Kernel panic - not syncing: Fatal exception in interrupt/,
    names(`
      sysret_here sysret_32 all_flags
      iret_user syscall_here nested_task msr_gs_zero  data_segments swapgs_once recursion  only_int3
      idt_empty_int3 stack_null stack_not_canonical stack_unmapped`),
  ],
  // Every exit of the task is an oops again: the log has nothing else in the end.
  ['goes on', /general protection fault/, ['own_task']],
  // The task that is overwritten says that it is on a CPU which is not there: nothing can go on.
  ['goes on', /a task_struct says CPU \d+, which is not there/, ['overrun']],
  // One CPU is lost, or the task sleeps for ever; the other one serves the rest.
  [
    'goes on',
    /klpdemo_attacks: (?!survived)/,
    names(`
      endless_pause cli_endless long_loop cli_hlt flood  own_task_zero own_state yield_for_ever
      sleep_for_ever`),
  ],
];

const WITH_NUMBERS: readonly (readonly [args: string, how: string, says: RegExp])[] = [
  [
    'how=write_text addr=0xffffffff81000000',
    'exit 137',
    /kernel .*page fault|BUG: unable to handle page fault/,
  ],
  ['how=set addr=0xffff888000000000 size=65 count=64', 'exit 137', /BUG: unable to handle page fault/],
  ['how=set addr=0x4141414141414141 size=65 count=64', 'exit 139', /general protection fault/],
  [
    'how=set addr=0xffff888000000000 size=65 count=0xffffffffffffffff',
    'exit 137',
    /BUG: unable to handle page fault/,
  ],
  ['how=call addr=0x4141414141414141', 'exit 139', /general protection fault/],
  ['how=take size=0xffffffffffffffff', 'exit 0', /klpdemo_attacks: 0000000000000000/],
  ['how=take size=0x7fffffff', 'exit 0', /klpdemo_attacks: 0000000000000000/],
  ['how=take_pages size=0xffffffffffffffff', 'exit 0', /got 0/],
  ['how=take_pages size=1048576', 'exit 0', /got \d+/],
  ['how=threads count=12', 'exit 0', /survived threads/],
  ['how=flood count=20000', 'exit 0', /survived flood/],
  ['how=free addr=1', 'exit 0', /survived free/],
  ['how=free addr=0xffff888000000000', 'exit 137', /BUG: /],
];

function expectEnd(end: Ended, how: string, says: RegExp): void {
  expect(end.how).toBe(how);
  expect([...end.log, end.why].filter((line) => says.test(line))).not.toEqual([]);
  if (end.why === '') expect(end.alive).toBe(true);
}

describe('attacks of a module', () => {
  it('are all in the table', () => {
    expect(ENDS.flatMap(([, , attacks]) => attacks).sort()).toEqual(attackNames().sort());
  });

  for (const [how, says, attacks] of ENDS) {
    it.each(attacks)(`%s: ${how}, ${says.source}`, async (name) => {
      expectEnd(await attack(`how=${name}`), how, says);
    });
  }

  it.each(WITH_NUMBERS)('%s: %s, %s', async (args, how, says) => {
    expectEnd(await attack(args), how, says);
  });

  it('cannot make more threads than there is room for: -EAGAIN', async () => {
    const end = await attack('how=threads count=500', { maxTasks: 24 });
    expectEnd(end, 'exit 0', /^klpdemo_attacks: thread \d+: -11$/);
  });
});
