// Mistakes that this code could have had, most of them out of the history of the kernel's: each by the text that it would be
// written as, and the tests that notice it. `npm run mutants -- named` makes each in a copy of the checkout and runs those.

export interface NamedMutant {
  readonly name: string;
  readonly file: string;
  /** Of texts that are there once, what is there instead. */
  readonly edits: readonly (readonly [from: string, to: string])[];
  /** Test files of which at least one test must fail. */
  readonly tests: readonly string[];
}

const TRANSITION = 'src/livepatch/transition.ts';
const ORDER = ['test/livepatch/order.test.ts'];

export const NAMED: readonly NamedMutant[] = [
  {
    name: 'klp_synchronize_transition() waits for nobody',
    file: 'src/livepatch/context.ts',
    edits: [['    yield* this.ports.workqueue.scheduleOnEachCpu(this.#sync);\n', '']],
    tests: ORDER,
  },
  {
    name: 'no grace period between unpatching and the clearing of func->transition',
    file: TRANSITION,
    edits: [['      // may be able to see those of this patch.\n      yield* klp.synchronize();\n', '']],
    tests: ORDER,
  },
  {
    name: 'no grace period between the clearing of func->transition and the reset of patch_state',
    file: TRANSITION,
    edits: [['    if (target === this.#constants.KLP_PATCHED) yield* klp.synchronize();\n', '']],
    tests: ORDER,
  },
  {
    name: 'no grace period in a reversal',
    file: TRANSITION,
    edits: [
      [
        'still be about to read the target.\n    yield* klp.synchronize();\n',
        'still be about to read the target.\n',
      ],
    ],
    tests: ORDER,
  },
  {
    name: 'a reversal turns the target before it has cleared the flags and waited, on a kernel that does it last',
    file: TRANSITION,
    edits: [
      ['    if (!last) turn();\n', '    turn();\n'],
      ['    if (last) turn();\n', ''],
    ],
    tests: ORDER,
  },
  {
    name: 'patch_state is set after func->transition',
    file: TRANSITION,
    edits: [
      ['    for (const func of this.#funcs(patch)) func.transition = true;\n', ''],
      [
        '    for (const task of this.#tasks()) {\n      if (task.patchState !== this.#constants.KLP_UNDEFINED)\n',
        '    for (const func of this.#funcs(patch)) func.transition = true;\n    for (const task of this.#tasks()) {\n      if (task.patchState !== this.#constants.KLP_UNDEFINED)\n',
      ],
    ],
    tests: ORDER,
  },
  {
    name: 'a function leaves its func_stack before its ops are unregistered',
    file: 'src/livepatch/patch.ts',
    edits: [
      [
        '      const unregistered = yield*',
        '      listDelRcu(this.#klp.core, func.stackNode);\n      const unregistered = yield*',
      ],
      [
        'yield* this.#warn(1);\n      listDelRcu(this.#klp.core, func.stackNode);\n',
        'yield* this.#warn(1);\n',
      ],
    ],
    tests: ORDER,
  },
  {
    name: 'klp_update_patch_state() reads the target before it clears the flag',
    file: 'asm/x86_64/livepatch.s',
    edits: [
      [
        '    # test_and_clear_tsk_thread_flag(): a',
        '    mov     eax, [rip+klp_target_state]\n    # test_and_clear_tsk_thread_flag(): a',
      ],
      ['    jnc     .Lnot_pending\n    mov     eax, [rip+klp_target_state]\n', '    jnc     .Lnot_pending\n'],
    ],
    tests: ORDER,
  },
  {
    name: 'the handler reads patch_state before func->transition',
    file: 'asm/x86_64/livepatch.s',
    edits: [
      [
        '    cmp     byte ptr [rdx+klp_func_transition], 0\n',
        '    mov     rax, gs:[current_task]\n    mov     eax, [rax+task_struct_patch_state]\n    cmp     byte ptr [rdx+klp_func_transition], 0\n',
      ],
      [
        '    # smp_rmb(): func->transition before current->patch_state.\n    mov     rax, gs:[current_task]\n    mov     eax, [rax+task_struct_patch_state]\n',
        '',
      ],
    ],
    tests: ORDER,
  },
  {
    name: 'a child is given the patch_state of its parent alone',
    file: TRANSITION,
    edits: [
      [
        "    if (parent.testTif('TIF_PATCH_PENDING')) child.setTif('TIF_PATCH_PENDING');\n    else child.clearTif('TIF_PATCH_PENDING');\n",
        '',
      ],
    ],
    tests: ['test/livepatch/transition.test.ts'],
  },
  {
    name: 'a child is given the TIF_PATCH_PENDING of its parent alone',
    file: TRANSITION,
    edits: [['    child.patchState = parent.patchState;\n', '']],
    tests: ['test/livepatch/transition.test.ts'],
  },
  {
    name: 'a child is on the list of tasks before it has the state of its parent',
    file: 'src/sched/fork.ts',
    edits: [
      [
        '    for (const hook of this.onFork) if (parent) hook(parent, task, copied);\n    this.#core.tasks.add(task);\n',
        '    this.#core.tasks.add(task);\n    for (const hook of this.onFork) if (parent) hook(parent, task, copied);\n',
      ],
    ],
    tests: ['test/livepatch/born_and_gone.test.ts'],
  },
  {
    name: 'alternatives are applied before livepatch relocations',
    file: 'src/module/formation.ts',
    edits: [
      [
        '    applyRelocations(this.#core, mod, (rela, write) =>\n      applySectionRelocs(',
        '    const late: (() => void)[] = [];\n    applyRelocations(this.#core, mod, (rela, write) => late.push(() =>\n      applySectionRelocs(',
      ],
      [
        '        write,\n      ),\n    );\n    postRelocation(this.#core, this.#ports, mod);\n',
        '        write,\n      )),\n    );\n    postRelocation(this.#core, this.#ports, mod);\n    for (const one of late) one();\n',
      ],
    ],
    tests: ['test/module/klp_alternatives.test.ts'],
  },
  {
    name: 'a shadow variable is constructed on a temporary, and copied',
    file: 'asm/x86_64/shadow.s',
    edits: [
      [
        '    lea     rsi, [rbx+klp_shadow_data]\n    mov     rdi, r12\n    mov     rax, r14\n    call    __x86_indirect_thunk_rax\n',
        '    lea     rsi, [rsp+shadow_size]\n    mov     rdi, r12\n    mov     rax, r14\n    call    __x86_indirect_thunk_rax\n    mov     rcx, [rsp+shadow_size]\n    mov     [rbx+klp_shadow_data], rcx\n',
      ],
    ],
    tests: ['test/livepatch/shadow.test.ts'],
  },
  {
    name: 'a replacing patch takes sympos 0 and 1 for two functions',
    file: 'src/livepatch/init.ts',
    edits: [['(a.oldSympos || 1n) === (b.oldSympos || 1n)', 'a.oldSympos === b.oldSympos']],
    tests: ['test/livepatch/sympos.test.ts'],
  },
  {
    name: 'the interrupt entry encodes no frame pointer',
    file: 'asm/x86_64/idtentry.inc',
    edits: [['    ENCODE_FRAME_POINTER\n', '']],
    tests: ['test/machine/frame_pointer_image.test.ts'],
  },
  {
    name: 'the system call entry encodes no frame pointer where a double fault is entered',
    file: 'asm/x86_64/entry_64.s',
    edits: [['    ENCODE_FRAME_POINTER\n', '']],
    tests: ['test/machine/frame_pointer_image.test.ts'],
  },
  {
    name: "the gate's count stays when a task dies in a load",
    file: 'src/bundle/gate.ts',
    edits: [
      [
        "while it loaded or unloaded a module`);\n    this.#setCount('loads', this.#loads.size);\n",
        'while it loaded or unloaded a module`);\n',
      ],
    ],
    tests: ['test/bundle/gate.test.ts'],
  },
  {
    name: 'retpolines start with a hint that the stack ends there',
    file: 'asm/x86_64/thunks.s',
    edits: [
      [
        'SYM_CODE_START(__x86_indirect_thunk_\\reg)\n    UNWIND_HINT_FUNC\n',
        'SYM_CODE_START(__x86_indirect_thunk_\\reg)\n    UNWIND_HINT_EMPTY\n',
      ],
    ],
    tests: ['test/machine/image_orc.test.ts'],
  },
  {
    name: 'a patch finds a module that has not been told to livepatch yet',
    file: 'src/livepatch/context.ts',
    edits: [['return mod !== undefined && klp.moduleAlive(mod) ? mod : undefined;', 'return mod;']],
    tests: ['test/livepatch/coming.test.ts'],
  },
  {
    name: 'obj->mod stays when a patch fails for a module that comes',
    file: 'src/livepatch/core.ts',
    edits: [
      [
        '    klp.setModuleAlive(mod, false);\n    object.mod = 0n;\n',
        '    klp.setModuleAlive(mod, false);\n',
      ],
    ],
    tests: ['test/livepatch/coming.test.ts'],
  },
  {
    name: 'of a patch that fails for a module that comes, those before it stay applied',
    file: 'src/livepatch/core.ts',
    edits: [
      [
        '    klp.model.clearObjectRelocs(patch.mod, name);\n    yield* this.#cleanupModule(mod, patch);\n',
        '    klp.model.clearObjectRelocs(patch.mod, name);\n',
      ],
    ],
    tests: ['test/livepatch/coming.test.ts'],
  },
  {
    name: 'of a patch that cannot be enabled the objects before the failing one stay patched',
    file: TRANSITION,
    edits: [
      [
        '    klp.targetState = this.#constants.KLP_UNPATCHED;\n    yield* this.#complete(patch);\n',
        '    yield* this.#complete(patch);\n',
      ],
    ],
    tests: ['test/livepatch/core.test.ts'],
  },
];
