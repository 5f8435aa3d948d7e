// Error numbers by name and back. Mirrors include/uapi/asm-generic/errno*.h and lib/errname.c.

const DEBUG = Boolean(process.env.KLPEMU_DEBUG);
/** From 1 on; `-` is no error. */
const NAMES_0 = [
  'PERM NOENT SRCH INTR IO NXIO 2BIG NOEXEC BADF CHILD AGAIN NOMEM ACCES FAULT NOTBLK BUSY EXIST XDEV NODEV NOTDIR ISDIR',
  'INVAL NFILE MFILE NOTTY TXTBSY FBIG NOSPC SPIPE ROFS MLINK PIPE DOM RANGE DEADLK NAMETOOLONG NOLCK NOSYS NOTEMPTY LOOP',
  '- NOMSG IDRM CHRNG L2NSYNC L3HLT L3RST LNRNG UNATCH NOCSI L2HLT BADE BADR XFULL NOANO BADRQC BADSLT - BFONT NOSTR',
  'NODATA TIME NOSR NONET NOPKG REMOTE NOLINK ADV SRMNT COMM PROTO MULTIHOP DOTDOT BADMSG OVERFLOW NOTUNIQ BADFD REMCHG',
  'LIBACC LIBBAD LIBSCN LIBMAX LIBEXEC ILSEQ RESTART STRPIPE USERS NOTSOCK DESTADDRREQ MSGSIZE PROTOTYPE NOPROTOOPT',
  'PROTONOSUPPORT SOCKTNOSUPPORT OPNOTSUPP PFNOSUPPORT AFNOSUPPORT ADDRINUSE ADDRNOTAVAIL NETDOWN NETUNREACH NETRESET',
  'CONNABORTED CONNRESET NOBUFS ISCONN NOTCONN SHUTDOWN TOOMANYREFS TIMEDOUT CONNREFUSED HOSTDOWN HOSTUNREACH ALREADY',
  'INPROGRESS STALE UCLEAN NOTNAM NAVAIL ISNAM REMOTEIO DQUOT NOMEDIUM MEDIUMTYPE CANCELED NOKEY KEYEXPIRED KEYREVOKED',
  'KEYREJECTED OWNERDEAD NOTRECOVERABLE RFKILL HWPOISON',
].flatMap((names) => names.split(' '));
/** Of the kernel alone, from 512 on. */
const NAMES_512 = [
  'RESTARTSYS RESTARTNOINTR RESTARTNOHAND NOIOCTLCMD RESTART_RESTARTBLOCK PROBE_DEFER OPENSTALE NOPARAM - BADHANDLE',
  'NOTSYNC BADCOOKIE NOTSUPP TOOSMALL SERVERFAULT BADTYPE JUKEBOX IOCBQUEUED RECALLCONFLICT',
].flatMap((names) => names.split(' '));
const numbered = (names: readonly string[], from: number): [number, string][] =>
  names.flatMap((name, i) => (name === '-' ? [] : [[from + i, `E${name}`]]));
const NAMES = new Map([...numbered(NAMES_0, 1), ...numbered(NAMES_512, 512)]);

/** The name of a positive error number (22 is EINVAL); undefined for none. */
export function errnoName(errno: number): string | undefined {
  return NAMES.get(errno);
}

/**
 * An error that a system call hands to its caller as -errno. Guests get thousands of them: where in klpemu each came from
 * is noted only for whoever debugs it.
 */
export class KernelError extends Error {
  readonly code: string;
  readonly errno: number;

  /** @param errno positive */
  constructor(errno: number, what: string) {
    const code = errnoName(errno) ?? `errno ${errno}`;
    const limit = Error.stackTraceLimit;
    if (!DEBUG) Error.stackTraceLimit = 0;
    super(`${what}: ${code}`);
    Error.stackTraceLimit = limit;
    this.name = 'KernelError';
    this.code = code;
    this.errno = errno;
  }
}
