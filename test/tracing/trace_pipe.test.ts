// trace_pipe, trace_marker and the modes of tracefs, as 6.1.0-56 was seen to have them; what 6.12 and 7.3 do otherwise is in
// src/tracing/since.ts.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Session } from '../shell/session.ts';

const T = '/sys/kernel/tracing';
const PIPE = `${T}/trace_pipe`;
const LINE = /^ +cat-\d+ +\[00[01]\] \.\.\.\.\. +\d+\.\d{6}: version_proc_show <-seq_read_iter$/;

let session: Session;
const sh = (line: string): Promise<string> => session.sh(line);
const lines = (text: string): string[] => text.split('\n').filter((line) => /^ /.test(line));
const counts = (): Promise<string> => sh(`grep entries-in ${T}/trace | cut -d' ' -f3`);

beforeEach(async () => {
  session = await Session.boot(['klpdemo_patch_target', 'klpdemo_target']);
  await sh(`echo version_proc_show > ${T}/set_ftrace_filter; echo function > ${T}/current_tracer`);
});
afterEach(() => session.machine.close());

describe('trace_pipe', () => {
  it('gives what was recorded once, without a header, and it is gone from trace', async () => {
    await sh('cat /proc/version; cat /proc/version');
    expect(await counts()).toBe('2/2\n');
    const text = await sh(`timeout 0.5 cat ${PIPE}`);
    expect(text).toMatch(/\n\[exit status 124\]\n$/);
    expect(lines(text)).toEqual([expect.stringMatching(LINE), expect.stringMatching(LINE)]);
    expect(text).not.toContain('#');
    expect(await counts()).toBe('0/0\n');
    expect(await sh(`timeout 0.5 cat ${PIPE}`)).toBe('[exit status 124]\n');
  });

  it('has its reader stand in ring_buffer_wait(), and wakes it when something is recorded', async () => {
    const pid = (await sh(`start copy ${PIPE} /tmp/out`)).trim();
    expect(await sh(`stack ${pid}`)).toMatch(
      /^\[<0>\] ring_buffer_wait\S+\n\[<0>\] tracing_wait_pipe\S+\n\[<0>\] tracing_read_pipe\S+\n\[<0>\] vfs_read/,
    );
    expect(await sh(`cat /proc/${pid}/wchan`)).toBe('ring_buffer_wait');
    expect(await sh('cat /tmp/out')).toBe('');
    for (const seen of [1, 2]) {
      await sh('cat /proc/version; sleep 0.02');
      expect(lines(await sh('cat /tmp/out'))).toHaveLength(seen);
    }
    expect(await sh(`kill ${pid}; sleep 0.01; stack ${pid}`)).toContain('No such process');
  });

  it('is read by one at a time, and keeps the tracer meanwhile', async () => {
    const pid = (await sh(`start copy ${PIPE} /tmp/out`)).trim();
    expect(await sh(`cat ${PIPE}`)).toContain('Device or resource busy');
    expect(await sh(`echo nop > ${T}/current_tracer`)).toContain('Device or resource busy');
    expect(await sh(`echo function > ${T}/current_tracer; echo > ${T}/trace`)).toBe('');
    await sh(`kill ${pid}; sleep 0.01`);
    expect(await sh(`echo nop > ${T}/current_tracer`)).toBe('');
  });

  it('ends when tracing is off, for who has read something, and for nobody else', async () => {
    const pid = (await sh(`start copy ${PIPE} /tmp/out; echo 0 > ${T}/tracing_on; sleep 0.02`)).trim();
    expect(await sh(`cat /proc/${pid}/wchan`)).toBe('ring_buffer_wait');
    await sh(`echo 1 > ${T}/tracing_on; cat /proc/version; sleep 0.02; echo 0 > ${T}/tracing_on; sleep 0.02`);
    expect(await sh(`cat /proc/${pid}/wchan`)).toContain('No such file');
    expect(lines(await sh('cat /tmp/out'))).toHaveLength(1);
    expect(await sh(`timeout 0.5 cat ${PIPE}`)).toBe('[exit status 124]\n');
  });

  it('has its reader leave the kernel for a signal, and for the fake one of a livepatch', async () => {
    await sh('modprobe klpdemo_target hold_ms=1 period_ms=10');
    const pid = (await sh(`start copy ${PIPE} /tmp/out`)).trim();
    await sh('modprobe klpdemo_patch_target; sleep 5');
    expect(await sh('cat /sys/kernel/livepatch/klpdemo_patch_target/transition')).toBe('0\n');
    // The system call began again.
    expect(await sh(`cat /proc/${pid}/wchan`)).toBe('ring_buffer_wait');
    await sh('cat /proc/version; sleep 0.02');
    expect(lines(await sh('cat /tmp/out'))).toHaveLength(1);
  });

  it('cannot be written, nor gone back in', async () => {
    expect(await sh(`ls -l ${PIPE}`)).toMatch(/^-r--r----- /);
    expect(await sh(`echo x > ${PIPE}`)).toContain('write error: Invalid argument');
    await sh('cat /proc/version; cat /proc/version');
    const text = await sh(`head -n 1 ${PIPE}`);
    expect(lines(text)).toEqual([expect.stringMatching(LINE)]);
    const rest = lines(text)[0].length + 1;
    expect(text).toContain(`head: ${PIPE}: cannot seek to relative offset -${rest}: Illegal seek\n`);
    expect(await counts()).toBe('0/0\n');
  });

  it('gives a page of whole lines a read, and keeps what a reader has no room for', async () => {
    for (let i = 0; i < 60; i++) await sh('cat /proc/version');
    const all = lines(await sh(`cat ${T}/trace`));
    // head reads 8,192 bytes: of 4,095 there is room for 48 lines of 85.
    const text = await sh(`head -n 1 ${PIPE}`);
    expect(lines(text)).toEqual(all.slice(0, 1));
    expect(await counts()).toBe(`${60 - Math.floor(4095 / (all[0].length + 1))}/12\n`);
    // And 1,024 at a time: no byte is lost between two reads.
    expect(lines(await sh(`timeout 0.1 cat ${PIPE}`))).toEqual(all.slice(48));
  });
});

describe('trace_marker', () => {
  it('puts what is written beside what is traced', async () => {
    expect(await sh(`ls -l ${T}/trace_marker; cat ${T}/trace_marker`)).toMatch(
      /^--w--w---- .*\n.*trace_marker: Invalid argument\n/,
    );
    await sh(`cat /proc/version; echo hello > ${T}/trace_marker; echo -n no newline >> ${T}/trace_marker`);
    const [, first, second] = lines(await sh(`timeout 0.1 cat ${PIPE}`));
    expect(first).toMatch(/^ +echo-\d+ +\[00[01]\] \.\.\.\.\. .*: tracing_mark_write: hello$/);
    expect(second).toMatch(/: tracing_mark_write: no newline$/);
  });

  it('is EBADF while tracing is off, and takes 1,024 bytes a write', async () => {
    expect(await sh(`echo 0 > ${T}/tracing_on; echo x > ${T}/trace_marker`)).toContain(
      'write error: Bad file descriptor',
    );
    await sh(`echo 1 > ${T}/tracing_on; echo ${'x'.repeat(1500)} > ${T}/trace_marker`);
    const marks = lines(await sh(`cat ${T}/trace`)).map((line) => line.replace(/^.*: /, '').length);
    expect(marks).toEqual([1024, 476]);
  });
});

describe('files of tracefs', () => {
  it('are root’s alone, with their directories', async () => {
    for (const name of [
      'enabled_functions',
      'available_filter_functions',
      'dyn_ftrace_total_info',
      'available_tracers',
    ])
      expect(await sh(`stat -c %a ${T}/${name}`)).toBe('440\n');
    expect(await sh(`stat -c %a ${T}`)).toBe('700\n');
    await sh(`echo 'p:mine version_proc_show' > ${T}/kprobe_events`);
    expect(await sh(`stat -c %a ${T}/events ${T}/events/kprobes/mine`)).toBe('750\n750\n');
    // Later kernels have it.
    expect(await sh(`cat ${T}/touched_functions`)).toContain('No such file');
  });
});
