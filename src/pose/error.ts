// Why no task can stand in a chain of functions: which of them, and where.

export class PoseError extends Error {
  readonly code = 'EPOSE';
  constructor(message: string) {
    super(message);
    this.name = 'PoseError';
  }
}
