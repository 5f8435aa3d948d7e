// The way from a shell script of a selftest to the emulated machine, with a script of our own that reaches for its machine
// in all the ways that the kernel's do.

import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rewrite, testNames } from '../../scripts/conformance/rewrite.ts';
import { buildProgram } from '../built_program.ts';

const ROOT = join(import.meta.dirname, '../..');
const PATCH = 'klpdemo_patch_vmlinux';

describe('rewriting', () => {
  it('leads redirections, conditions and absolute commands to the machine', () => {
    expect(rewrite('x.sh', 'echo 0 > /sys/kernel/livepatch/"$mod"/enabled\n')).toBe(
      'guest_echo /sys/kernel/livepatch/"$mod"/enabled 0\n',
    );
    expect(rewrite('x.sh', '\techo -n "a $b" > /dev/kmsg || die\n')).toBe(
      '\tguest_echo /dev/kmsg -n "a $b" || die\n',
    );
    expect(rewrite('x.sh', 'echo a b > /dev/kmsg; x | echo c > /dev/kmsg')).toBe(
      'echo a b | guest_write /dev/kmsg; x | echo c | guest_write /dev/kmsg',
    );
    expect(rewrite('x.sh', `loop_until '[[ ! -e "/sys/module/$mod" ]]'`)).toBe(
      `loop_until '! guest_exists "/sys/module/$mod"'`,
    );
    expect(rewrite('x.sh', 'rights=$(/bin/stat --format \'%A\' "$path")')).toBe(
      'rights=$(stat --format \'%A\' "$path")',
    );
    expect(rewrite('x.sh', 'sysctl a=1 &> /dev/null; dmesg > "$f"')).toBe(
      'sysctl a=1 &> /dev/null; dmesg > "$f"',
    );
  });

  it('leads what later kernels have in variables to the machine, and their program', () => {
    expect(
      rewrite('x.sh', 'echo 1 > "$SYSFS_TRACING_DIR/tracing_on"\n\t| sed -e "/# x/d" \\\n\t> "$SYSFS_X/y"'),
    ).toBe(
      'guest_echo "$SYSFS_TRACING_DIR/tracing_on" 1\n\t| sed -e "/# x/d" \\\n | guest_write "$SYSFS_X/y"',
    );
    expect(rewrite('x.sh', '[[ -f "$SYSFS_KLP_DIR/$mod" ]]; [[ ! -f "test_modules/$mod.ko" ]]')).toBe(
      'guest test -f "$SYSFS_KLP_DIR/$mod"; [[ ! -f "test_modules/$mod.ko" ]]',
    );
    expect(rewrite('x.sh', "mods=(/sys/kernel/livepatch/*); 'mods=($SYSFS_KLP_DIR/*)'")).toBe(
      "mods=($(guest_names /sys/kernel/livepatch)); 'mods=($(guest_names $SYSFS_KLP_DIR))'",
    );
    expect(rewrite('x.sh', './test_klp-call_getpid &\npids[$i]="$!"')).toBe(
      'guest_start syscalls\npids[$i]="$GUEST_PID"',
    );
  });

  it('leaves texts and comments as they are', () => {
    const text = [
      "# it's > /dev/kmsg",
      'log "% echo 0 > /sys/kernel/x"',
      "check 'a > /sys/b'",
      'check "% echo \\" > /sys/b',
      '% echo 0 > /sys/c"',
      '',
    ].join('\n');
    expect(rewrite('x.sh', text)).toBe(text);
  });

  it('knows the tests of a script', () => {
    expect(
      testNames('start_test "one"\n\tstart_test "if"\nx; start_test "no"\nstart_test "two three"\n'),
    ).toEqual(['one', 'if', 'two three']);
  });
});

describe('a rewritten script', () => {
  const SCRIPT = `#!/bin/bash
. $(dirname $0)/functions.sh
echo "% modprobe $1 > /sys/x" > /dev/kmsg
ret=$(modprobe nosuch 2>&1) || echo "$ret"
modprobe --dry-run "$1" &>/dev/null && echo found
[[ $(modinfo "$1" | awk '/^livepatch:/{print $NF}') == "Y" ]] && echo "a livepatch"
modprobe "$1"
until [[ -e "/sys/kernel/livepatch/$1" ]]; do sleep .1; done
until grep -q '^0$' /sys/kernel/livepatch/$1/transition; do sleep .1; done
cat /proc/cmdline
echo "$(/bin/stat --format '%A' /sys/kernel/livepatch/$1/force)"
cat <<-EOF > /sys/kernel/debug/dynamic_debug/control
	file kernel/livepatch/* +p
	func klp_try_switch_task -p
EOF
grep -c '=p' /sys/kernel/debug/dynamic_debug/control
err=$(sysctl -q kernel.ftrace_enabled=0 2>&1)
echo "livepatch: $err" | sed 's#/proc/sys/kernel/#kernel.#' > /dev/kmsg
grep 'no such text' /proc/meminfo > /dev/kmsg
echo 7 > /sys/kernel/livepatch/"$1"/enabled || echo "status $?"
echo 0 > /sys/kernel/livepatch/"$1"/enabled
while [[ -e "/sys/kernel/livepatch/$1" ]]; do sleep .1; done
rmmod "$1" && [[ ! -e "/sys/module/$1" ]] && echo gone
dmesg | grep -e 'livepatch:' -e '^%' -e ' % ' | sed 's/^\\[[ 0-9.]*\\] //'
exit 5
`;
  let dir: string;
  let env: NodeJS.ProcessEnv;
  const cli = join(ROOT, 'dist/cli/main.js');
  const klpemu = (...args: string[]) => spawnSync(process.execPath, [cli, ...args], { env, stdio: 'ignore' });

  beforeAll(() => {
    buildProgram();
    dir = mkdtempSync(join(tmpdir(), 'klpemu-conformance-'));
    env = { ...process.env, XDG_RUNTIME_DIR: dir };
    klpemu('up', '--name', 'test');
  });
  afterAll(() => {
    klpemu('down', '--name', 'test');
    rmSync(dir, { recursive: true, force: true });
  });

  it.skipIf(!existsSync('/bin/bash'))('sees of the emulated machine what it would see of its own', () => {
    writeFileSync(join(dir, 'functions.sh'), rewrite('functions.sh', '#!/bin/bash\n# Functions.\n\n:\n'));
    copyFileSync(join(ROOT, 'scripts/conformance/guest.sh'), join(dir, 'guest.sh'));
    writeFileSync(join(dir, 'test-own.sh'), rewrite('test-own.sh', SCRIPT.replaceAll('$1', PATCH)));
    const client = [process.execPath, cli, 'exec', '--pipe', '--name', 'test'];
    const driver = join(ROOT, 'scripts/conformance/run.sh');
    const { stdout, stderr } = spawnSync('bash', [driver, ...client, '--', join(dir, 'test-own.sh')], {
      env,
      encoding: 'utf8',
    });
    expect(stderr).toBe('klpemu: echo: write error: Invalid argument\n');
    expect(stdout.split('\n')).toEqual([
      'modprobe: FATAL: Module nosuch not found in directory /lib/modules/6.1.0-56-amd64',
      'found',
      'a livepatch',
      'klpdemo: this command line was livepatched',
      '--w-------',
      '4',
      'status 1',
      'gone',
      `% modprobe ${PATCH} > /sys/x`,
      `livepatch: enabling patch '${PATCH}'`,
      `livepatch: '${PATCH}': starting patching transition`,
      `livepatch: '${PATCH}': patching complete`,
      'livepatch: sysctl: setting key "kernel.ftrace_enabled": Device or resource busy',
      `livepatch: '${PATCH}': initializing unpatching transition`,
      `livepatch: '${PATCH}': starting unpatching transition`,
      `livepatch: '${PATCH}': completing unpatching transition`,
      `livepatch: '${PATCH}': unpatching complete`,
      '',
      'EXIT test-own.sh 5',
      '',
    ]);
  });
});
