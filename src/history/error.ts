// What cannot be debugged, and why.

export class DebugError extends Error {
  readonly code = 'EDEBUG';
  constructor(message: string) {
    super(message);
    this.name = 'DebugError';
  }
}
