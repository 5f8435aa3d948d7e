// What is known of places in the images of Debian's kernels where two tables differ, or a table differs from the truth: why.
// Each was looked at in the code, in the table, and in the source that it is of.

import type { Explanation } from './explanation.ts';

const IMAGE = /^vmlinu/;

/** A function, and what stands before it for its callers. */
const of = (names: string): RegExp => new RegExp(`^(?:__pfx_)?(?:${names})$`);

const REGS = 'r(?:[a-d]x|[sb]p|[sd]i|\\d+)';

/** Where the table says nothing, so that a trace is unreliable. */
const SILENT: readonly Explanation[] = [
  {
    object: IMAGE,
    place: of('fixup_vdso_exception|sysenter_setup|vdso32_setup|ia32_binfmt_init'),
    why: 'arch/x86/entry/vdso of 6.1 is built with OBJECT_FILES_NON_STANDARD: objtool sees none of its files.',
  },
  {
    object: IMAGE,
    place: of('pvh_start_xen|do_suspend_lowlevel|__efi64_thunk'),
    why: 'Its file is assembled with OBJECT_FILES_NON_STANDARD: objtool does not see it.',
  },
  {
    object: IMAGE,
    place: of('__crash_kexec|machine_real_restart|clear_bhb_loop'),
    why:
      'The source marks it STACK_FRAME_NON_STANDARD; the mark was in a .discard section. From the code alone the stack can be ' +
      'followed, but not all of the way in __crash_kexec, which changes %rbp by hand.',
  },
  {
    object: IMAGE,
    place: of(
      `xen_iret|x86_verw_sel|xen_early_idt_handler_array|xen_failsafe_callback|__bhi_args_end|__x86_indirect_(?:its|paranoid)_thunk_${REGS}`,
    ),
    why:
      'Nobody is to unwind from there: UNWIND_HINT_UNDEFINED, which no image shows. What our table says holds if it is called, ' +
      'which none of it is (x86_verw_sel is two bytes of data, __bhi_args_end the end of an array).',
  },
];

/** Thunks and trampolines, in which a return address is put, replaced or dropped. */
const RETURNS: readonly Explanation[] = [
  {
    object: IMAGE,
    place: of(`__x86_indirect_(?:call_|jump_)?thunk_(?:${REGS}|array)`),
    why:
      'A retpoline: it begins with UNWIND_HINT_UNDEFINED (6.1: UNWIND_HINT_EMPTY, which ends a trace that is called reliable, ' +
      'docs/findings.md), and behind the move of where it goes over its own return address a hint says that this is one.',
  },
  {
    object: IMAGE,
    place: of('arch_rethook_trampoline'),
    why:
      'It pushes its own address where the return address was that the rethook took away, and UNWIND_HINT_FUNC says that ' +
      'this is one. Execution enters it by a call, with a return address of its own.',
  },
  {
    object: IMAGE,
    place: of('return_to_handler'),
    why:
      'A return leads to it, so that there is no return address on the stack: UNWIND_HINT_UNDEFINED, then UNWIND_HINT_FUNC ' +
      'where one has been put there. Our table takes it for a function that was called.',
  },
  {
    object: IMAGE,
    place: of('ftrace_regs_caller'),
    why:
      'Where a direct call was asked for, its address stands above the return address to be returned to first, and ' +
      'UNWIND_HINT_FUNC says that it is the return address.',
  },
  {
    object: IMAGE,
    place: of('srso_safe_ret|srso_alias_safe_ret'),
    reason: /by execution/,
    why:
      'lea 8(%rsp),%rsp drops the return address of the call before it, so that ret goes to whom the caller returns to: ' +
      'UNWIND_HINT_FUNC says so.',
  },
  {
    object: IMAGE,
    place: /^(?:srso_safe_ret|srso_return_thunk|retbleed_return_thunk|\.text\+0x[0-9a-f]+)$/,
    reason: /instruction/,
    why:
      'Untraining the return predictor takes instructions that lie over each other (retbleed_untrain_ret, srso_untrain_ret): ' +
      'a return begins in the middle of one. Each of the two tables can follow one of them.',
  },
];

const BY_HINTS: readonly Explanation[] = [
  {
    object: IMAGE,
    place: /./,
    reason: /entry code/,
    why:
      'Ours begins as the first row of the kernel says and works out the rest; behind the first hint further on (what ' +
      'error_entry leaves on the stack, an entry of an array that the processor comes to, a stack that was switched) it ' +
      'cannot know.',
  },
  {
    object: IMAGE,
    place: /^\./,
    reason: /in no function/,
    why: 'Code for the first exceptions of a boot, which has no name of its own.',
  },
  {
    object: IMAGE,
    place: /./,
    reason: /lost its symbol/,
    why:
      'A weak function that another one overrides, or what was split off from one: its code is there behind another ' +
      'function, its name is not, and nothing calls it. It makes no call of __fentry__ by which it could be found.',
  },
];

export const IMAGE_TABLES: readonly Explanation[] = [...BY_HINTS, ...SILENT, ...RETURNS];

export const IMAGE_ANSWERS: readonly Explanation[] = [
  ...SILENT,
  ...RETURNS,
  {
    object: IMAGE,
    place: of('__switch_to_asm|entry_ibpb'),
    why: 'Two ways to fill the return stack buffer, of different lengths, share the rows of one (docs/findings.md).',
  },
  {
    object: IMAGE,
    place: of('rewind_stack_and_make_dead|relocate_kernel|relocate_range|soft_restart_cpu|start_cpu0'),
    why: 'Its rows say that nobody called it, or that rbp is untouched (docs/findings.md).',
  },
  {
    object: IMAGE,
    place: of('error_entry|paranoid_entry|xen_error_entry'),
    why:
      "Entry code calls it with an interrupt's frame behind its return address, and the rows go by that frame, past whoever " +
      'called. Execution enters it with a return address alone, as any function that returns: there is no such frame, and the walk fails.',
  },
  {
    object: IMAGE,
    place: of(
      'restore_regs_and_return_to_kernel|swapgs_restore_regs_and_return_to_usermode|entry_SYSCALL_(?:64|compat)|entry_SYSENTER_compat|asm_exc_nmi|asm_exc_vmm_communication|asm_fred_entry.*|xen_failsafe_callback',
    ),
    why:
      "Behind a switch of stacks, or where a user's registers have been taken off: the rows find registers, which are a " +
      "user's or on a stack that execution has none of, and the walk fails as it does for them.",
  },
  {
    object: IMAGE,
    place: /^asm_/,
    why:
      'One instruction: between the return of error_entry, which leaves all registers on the stack, and the hint behind ' +
      'mov %rax,%rsp, the row is still that of the call.',
  },
];
