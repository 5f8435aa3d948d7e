// What a command gives back.

export interface Result {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
  /** The screen of whoever looks is to be cleared before. */
  readonly clear?: boolean;
  /** The program ended there: what it was still to do is not done. */
  readonly ended?: boolean;
}

export function ok(stdout = ''): Result {
  return { status: 0, stdout, stderr: '' };
}

/** @param stderr a message; its newline is put at the end. */
export function failed(stderr: string, status = 1, stdout = ''): Result {
  return { status, stdout, stderr: `${stderr}\n` };
}

/** Collects what several parts of one command have to say; its status is that of the last part that failed. */
export class Output {
  stdout = '';
  stderr = '';
  status = 0;
  ended = false;

  add(result: Result): void {
    this.ended ||= result.ended ?? false;
    this.stdout += result.stdout;
    this.stderr += result.stderr;
    if (result.status !== 0) this.status = result.status;
  }

  line(text: string): void {
    this.stdout += `${text}\n`;
  }

  error(text: string, status = 1): void {
    this.stderr += `${text}\n`;
    this.status = status;
  }

  result(): Result {
    const { status, stdout, stderr, ended } = this;
    return { status, stdout, stderr, ...(ended ? { ended } : {}) };
  }
}
