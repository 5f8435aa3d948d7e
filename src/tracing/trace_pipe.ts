// trace_pipe: what is recorded goes to one reader, who waits for it. Mirrors tracing_open_pipe(), tracing_read_pipe(),
// tracing_wait_pipe() and tracing_release_pipe() of kernel/trace/trace.c; waiting is asm/x86_64/trace_pipe.s.
//
// Invariant: an entry is taken out of the buffer in the same step that puts its line into the reader's text.

import type { FileSystem } from '../fs/filesystem.ts';
import type { Addr } from '../guest/addr.ts';
import { keptFor } from '../guest/memory.ts';
import type { KernelCore } from '../kernel/core.ts';
import { negErrno } from '../kernel/core.ts';
import { holds } from '../kernel/release.ts';
import { UAPI } from '../kernel/uapi.ts';
import type { FunctionTracer } from './function_tracer.ts';
import { TRACING } from './since.ts';

/** What a reader's struct trace_iterator knows. */
interface Pipe {
  /** Text that no read had room for yet. */
  rest: string;
  /** It has taken something: from then on tracing that is off is the end. */
  hasRead: boolean;
}

/** Bytes of a struct trace_seq's buffer: TRACE_SEQ_BUFFER_SIZE. */
const SEQ_SIZE = { page: 4096, two: 8156 };

/**
 * Defines the host functions of asm/x86_64/trace_pipe.s.
 * @param wakeSoon has the timer of those that wait expire at the next tick
 */
export function defineTracePipe(
  core: KernelCore,
  fs: FileSystem,
  tracer: FunctionTracer,
  wakeSoon: (timer: Addr) => void,
): void {
  const { mem } = core;
  const { buffer } = tracer;
  const flagsAt = BigInt(core.kernel.structs.file.fields.f_flags);
  const size = holds(core.kernel, TRACING.waitsOnPipe) ? SEQ_SIZE.two : SEQ_SIZE.page;
  const pending = core.symbols.require('ring_buffer_waiters_pending');
  const timer = core.symbols.require('ring_buffer_wake_timer');
  const pipes = new Map<Addr, Pipe>();

  buffer.onRecord = () => {
    if (mem.readU32(pending) === 0) return;
    mem.writeU32(pending, 0);
    wakeSoon(timer);
  };

  /** trace_seq_to_user() */
  const toUser = (pipe: Pipe, user: Addr, count: number): bigint | number => {
    if (count === 0) return 0;
    if (pipe.rest === '') return negErrno(UAPI.EBUSY);
    const copied = fs.copyToUser(user, pipe.rest.slice(0, count));
    if (copied === 0) return negErrno(UAPI.EFAULT);
    pipe.rest = pipe.rest.slice(copied);
    return copied;
  };

  core.host.defineAll({
    tracing_open_pipe: ({ args: [, file] }) => {
      if (pipes.size > 0) return negErrno(UAPI.EBUSY);
      pipes.set(file, { rest: '', hasRead: false });
      tracer.readers++;
      fs.makeNonseekable(file);
      return 0;
    },
    tracing_release_pipe: ({ args: [, file] }) => {
      pipes.delete(file);
      tracer.readers--;
      return 0;
    },
    rb_watermark_hit: () => !buffer.isEmpty,
    trace_pipe_rest: ({ args: [file, user, count] }) => toUser(keptFor(pipes, file), user, Number(count)),
    trace_pipe_look: ({ args: [file] }) => {
      if (!buffer.isEmpty) return 1;
      if ((mem.readU32(file + flagsAt) & UAPI.O_NONBLOCK) !== 0) return negErrno(UAPI.EAGAIN);
      return !buffer.on && keptFor(pipes, file).hasRead;
    },
    trace_pipe_print: ({ args: [file, user, count] }) => {
      if (buffer.isEmpty) return 0;
      const pipe = keptFor(pipes, file);
      pipe.hasRead = true;
      pipe.rest = '';
      const wanted = Math.min(Number(count), size - 1);
      for (let line = buffer.firstLine(); line !== undefined; line = buffer.firstLine()) {
        if (pipe.rest.length + line.length >= size) {
          if (pipe.rest !== '') break;
          line = '[LINE TOO BIG]\n';
        }
        pipe.rest += line;
        buffer.takeFirst();
        if (pipe.rest.length >= wanted) break;
      }
      return toUser(pipe, user, wanted);
    },
  });
}
