// Functions that do not come back.
// Mirrors __dead_end_function() and is_rust_noreturn() of tools/objtool/check.c; ELF does not say it of global ones, so
// their names must be known: those of 6.1, and of later kernels' noreturns.h.

import { BIND_GLOBAL, BIND_WEAK, type Names } from './input.ts';
import { type Code, callableAt, INSN_RETURN, isSiblingCall, someInsnOfFunc } from './insn.ts';

const GLOBAL_NORETURNS: ReadonlySet<string> = new Set(
  `__invalid_creds __module_put_and_kthread_exit __reiserfs_panic __stack_chk_fail
  __ubsan_handle_builtin_unreachable cpu_bringup_and_idle cpu_startup_entry do_exit do_group_exit do_task_dead
  ex_handler_msr_mce fortify_panic kthread_complete_and_exit kthread_exit kunit_try_catch_throw lbug_with_loc
  machine_real_restart make_task_dead panic rewind_stack_and_make_dead sev_es_terminate snp_abort stop_this_cpu
  usercopy_abort xen_start_kernel`.split(/\s+/),
);

/** Names that are on the list since 6.2. */
const LATER: ReadonlySet<string> = new Set(
  `__fortify_panic __ia32_sys_exit __ia32_sys_exit_group __kunit_abort __tdx_hypercall_failed __x64_sys_exit
  __x64_sys_exit_group acpi_processor_ffh_play_dead arch_cpu_idle_dead bch2_trans_in_restart_error
  bch2_trans_restart_error bch2_trans_unlocked_error bch2_trans_unlocked_or_in_restart_error cpu_die
  efi_rts_park_worker hlt_play_dead hv_ghcb_terminate mpt_halt_firmware mwait_play_dead native_play_dead
  nmi_panic_self_stop panic_smp_self_stop rest_init rust_begin_unwind rust_helper_BUG start_kernel vpanic
  x86_64_start_kernel x86_64_start_reservations xen_cpu_bringup_again`.split(/\s+/),
);

/**
 * Rust's that never return, by their mangled names: what comes before a path's end is the hash of a crate that a
 * compiler chose. An end with $ is the name's own end.
 */
const RUST_NORETURNS: readonly RegExp[] = [
  /_4core3num(?:20from_str|22from_ascii|28from_ascii_bytes)_radix_panic$/,
  /_4core3str16slice_error_fail$/,
  /_4core5slice5index.*slice_.*_fail$/,
  /_4core5sliceSp15copy_from_slice17len_mismatch_fail$/,
  /_4core6option13(?:expect|unwrap)_failed$/,
  /_4core6result13unwrap_failed(?:19unwrap_failed_inner)?$/,
  /_4core9panicking(?:5panic|9panic_fmt|14panic_explicit|14panic_nounwind|18panic_nounwind_fmt)$/,
  /_4core9panicking(?:18panic_bounds_check|19assert_failed_inner|30panic_null_pointer_dereference)$/,
  /_4core9panicking(?:32panic_null_reference_constructed|36panic_misaligned_pointer_dereference)$/,
  /_4core9panicking13assert_failed/,
  /_4core9panicking11panic_const24panic_const_/,
  /_7___rustc17rust_begin_unwind$/,
];

const isRustNoreturn = (name: string): boolean =>
  name.startsWith('_R') && RUST_NORETURNS.some((pattern) => pattern.test(name));

/** Those that objtool knows since 6.2, of symbols of any kind. */
export const LATER_NORETURNS: Names = { has: (name) => LATER.has(name) || isRustNoreturn(name) };

/** By its name alone: of any release. */
export const isNoreturn = (name: string): boolean => GLOBAL_NORETURNS.has(name) || LATER_NORETURNS.has(name);

/** How many tail calls are followed. */
const MAX_DEPTH = 5;

export class DeadEnds {
  readonly #code: Code;
  readonly #known = new Map<number, boolean>();
  /** By symbol: a return is in the function itself. */
  #returning: Uint8Array | undefined;

  constructor(code: Code) {
    this.#code = code;
  }

  /** A call to the symbol is the last thing that happens. */
  has(symbol: number): boolean {
    let result = this.#known.get(symbol);
    if (result === undefined) {
      result = this.#decide(symbol, 0);
      this.#known.set(symbol, result);
    }
    return result;
  }

  #decide(symbol: number, depth: number): boolean {
    const code = this.#code;
    const { symbols, noreturn } = code.input;
    const bind = symbols.bind[symbol];
    const name = symbols.name(symbol);
    if (noreturn.has(name) || (bind === BIND_GLOBAL && GLOBAL_NORETURNS.has(name))) return true;
    if (bind === BIND_WEAK) return false;
    const func = code.parent[symbol];
    const first = func === 0 ? 0 : code.at(symbols.section[func], symbols.value[func]);
    if (first === 0 || symbols.size[func] === 0 || callableAt(code, first) === 0) return false;
    this.#returning ??= functionsWithReturn(code);
    if (this.#returning[func] || this.#returning[code.cold[func]]) return false;
    // A tail call instead of a return: it depends on what is called.
    let tail = 0;
    someInsnOfFunc(code, func, (insn) => {
      if (isSiblingCall(code, insn)) tail = insn;
      return tail !== 0;
    });
    if (tail === 0) return true;
    const dest = code.jumpDest[tail];
    if (dest === 0 || depth === MAX_DEPTH) return false;
    return code.func[dest] !== 0 && this.#decide(code.func[dest], depth + 1);
  }
}

function functionsWithReturn(code: Code): Uint8Array {
  const { type, func, count } = code;
  const returning = new Uint8Array(code.parent.length);
  for (let insn = 1; insn < count; insn++) if (type[insn] === INSN_RETURN) returning[func[insn]] = 1;
  // What belongs to no function is no one's cold part.
  returning[0] = 0;
  return returning;
}
