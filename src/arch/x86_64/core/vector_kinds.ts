// The vector operations of the core, and the rare general ones: kinds from VECTOR (kinds.ts) on, executed behind the loop
// (vector.ts). Read by both sides.
//
// Operands: a is the destination, b and c the sources, each the address of 16 bytes or more in linear memory: a vector
// register, what was loaded (VECTOR_T0), or a cell. `disp` is the shape: how many 16-byte lanes, and CLEAR.
//
// Invariant: a family's numbers are dense, and its switch has a case of each.

/** Of a shape: what the register has above the lanes becomes 0, as VEX and EVEX have it. */
export const CLEAR = 0x100;
/** Of a shape: c is one count for all lanes. */
export const COUNT = 0x200;
/** Of a load or store: the address must be a multiple of its bytes. */
export const ALIGNED = 0x100;

/** Of a load or store under a mask: the address must be a multiple of all bytes, or all may be accessed whatever the mask. */
export const MASKED_ALIGNED = 0x10000;
export const MASKED_WHOLE = 0x20000;

// Of whole registers and memory: vector_move.ts, vector_permute.ts, vector_state.ts.
export const MOVES = 384;
/** a <- memory at b + disp: bytes in imm, and ALIGNED */
export const V_LOAD = 384;
/**
 * the same, again and again: 64 bytes. imm is its bytes | elements of the result << 8 | element bytes << 16; where c is a
 * mask register, only elements of memory that it has somewhere are accessed
 */
export const V_LOAD_BROADCAST = 385;
/** memory at b + disp <- a */
export const V_STORE = 386;
/** a <- c */
export const V_MOV = 387;
/** a <- the low bytes of c, as many as imm says, zeros above them */
export const V_MOVZ = 388;
/** a <- b, but its low bytes, as many as imm says, from c: MOVSS, MOVSD, MOVLPS */
export const V_MOV_LOW = 389;
/** a <- the low bytes of c, as many as imm says, again and again */
export const V_BROADCAST = 390;
/** a <- b, and in it c's low bytes: imm is their size | offset << 8: PINSRx, VINSERTI128 */
export const V_INSERT = 391;
/** a <- elements of c, made wider: imm is from bytes | to bytes << 8 | signed << 16: PMOVSX, PMOVZX */
export const V_EXTEND = 392;
/** a <- c where the sign of the element of the register in imm >> 32 is set, else b; element bytes in imm: PBLENDVB */
export const V_BLENDV = 393;
/** general register a <- the signs of c's elements of imm bytes: PMOVMSKB, MOVMSKPS */
export const V_MASK = 394;
/** ZF <- (c & b) is 0, CF <- (c & ~b) is 0: PTEST */
export const V_TEST = 395;
/** VPERM2I128; with 0x100 in imm VSHUFI64X2 and its like */
export const V_PERM128 = 396;
/** by the constant: VPERMQ, VPERMPD */
export const V_PERMQ = 397;
/** by the register b: VPERMD, VPERMPS; VPERMQ; element bytes in imm */
export const V_PERMD = 398;
/** VZEROUPPER, and with imm 1 VZEROALL */
export const V_ZERO_UPPER = 399;
/** MXCSR <- c. #GP for bits that are reserved. With imm 1 the control word of x87, which has none of those */
export const V_LDMXCSR = 400;
/** a <- MXCSR */
export const V_STMXCSR = 401;
/** memory at b + disp */
export const V_FXSAVE = 402;
/** and back */
export const V_FXRSTOR = 403;
/** components in edx:eax; imm 1 for XSAVEC, XSAVES */
export const V_XSAVE = 404;
/** and back */
export const V_XRSTOR = 405;
/** a <- b where the mask register c has a bit, else a or (imm >> 8: 1) 0; element bytes in imm */
export const V_MERGE = 406;
/** memory at b + disp <- a where the mask register c has a bit; imm is element bytes | bytes << 8 | MASKED_ */
export const V_STORE_MASKED = 407;
/** and back; what has no bit is not accessed, and 0 */
export const V_LOAD_MASKED = 408;
/** mask register a <- elements of b compared with c: imm is the predicate | element bytes << 8 | signed << 16 | mask register << 32 */
export const V_COMPARE = 409;
/** a <- elements of imm bytes, all ones or zeros by the mask register c: VPMOVM2B */
export const V_FROM_MASK = 410;
/** mask register a <- the signs of elements: VPMOVB2M */
export const V_TO_MASK = 411;
export const MOVES_END = 412;

// A lane by itself: vector_integer.ts.
export const INTEGER = 412;
export const PADDB = 412;
export const PADDW = 413;
export const PADDD = 414;
export const PADDQ = 415;
export const PSUBB = 416;
export const PSUBW = 417;
export const PSUBD = 418;
export const PSUBQ = 419;
export const PADDSB = 420;
export const PADDSW = 421;
export const PADDUSB = 422;
export const PADDUSW = 423;
export const PSUBSB = 424;
export const PSUBSW = 425;
export const PSUBUSB = 426;
export const PSUBUSW = 427;
export const PAND = 428;
export const PANDN = 429;
export const POR = 430;
export const PXOR = 431;
export const PCMPEQB = 432;
export const PCMPEQW = 433;
export const PCMPEQD = 434;
export const PCMPEQQ = 435;
export const PCMPGTB = 436;
export const PCMPGTW = 437;
export const PCMPGTD = 438;
export const PCMPGTQ = 439;
export const PMINUB = 440;
export const PMINSW = 441;
export const PMAXUB = 442;
export const PMAXSW = 443;
export const PMINSB = 444;
export const PMINUW = 445;
export const PMINSD = 446;
export const PMINUD = 447;
export const PMAXSB = 448;
export const PMAXUW = 449;
export const PMAXSD = 450;
export const PMAXUD = 451;
export const PAVGB = 452;
export const PAVGW = 453;
export const PMULLW = 454;
export const PMULHW = 455;
export const PMULHUW = 456;
export const PMULLD = 457;
export const PMULUDQ = 458;
export const PMULDQ = 459;
export const PMADDWD = 460;
export const PMADDUBSW = 461;
export const PMULHRSW = 462;
export const PSADBW = 463;
export const PABSB = 464;
export const PABSW = 465;
export const PABSD = 466;
export const PSIGNB = 467;
export const PSIGNW = 468;
export const PSIGND = 469;
export const PHADDW = 470;
export const PHADDD = 471;
export const PHADDSW = 472;
export const PHSUBW = 473;
export const PHSUBD = 474;
export const PHSUBSW = 475;
export const PHMINPOSUW = 476;
export const MPSADBW = 477;
export const INTEGER_END = 478;

// A lane by itself: vector_shuffle.ts.
export const SHUFFLES = 478;
export const PUNPCKLBW = 478;
export const PUNPCKLWD = 479;
export const PUNPCKLDQ = 480;
export const PUNPCKLQDQ = 481;
export const PUNPCKHBW = 482;
export const PUNPCKHWD = 483;
export const PUNPCKHDQ = 484;
export const PUNPCKHQDQ = 485;
export const PACKSSWB = 486;
export const PACKSSDW = 487;
export const PACKUSWB = 488;
export const PACKUSDW = 489;
export const PSHUFB = 490;
export const PSHUFD = 491;
export const PSHUFLW = 492;
export const PSHUFHW = 493;
export const SHUFPS = 494;
export const SHUFPD = 495;
export const PALIGNR = 496;
export const PBLENDW = 497;
export const BLENDPS = 498;
export const BLENDPD = 499;
export const INSERTPS = 500;
export const MOVDDUP = 501;
export const MOVSLDUP = 502;
export const MOVSHDUP = 503;
export const VPERMILPS = 504;
export const VPERMILPD = 505;
export const PSLLW = 506;
export const PSLLD = 507;
export const PSLLQ = 508;
export const PSRLW = 509;
export const PSRLD = 510;
export const PSRLQ = 511;
export const PSRAW = 512;
export const PSRAD = 513;
export const PSLLDQ = 514;
export const PSRLDQ = 515;
export const PROLD = 516;
export const PROLQ = 517;
export const VPSLLVD = 518;
export const VPSLLVQ = 519;
export const VPSRLVD = 520;
export const VPSRLVQ = 521;
export const VPSRAVD = 522;
export const VPTERNLOG = 523;
export const SHUFFLES_END = 524;

// A lane by itself: crypto.ts.
export const CRYPTO = 524;
export const AESENC = 524;
export const AESENCLAST = 525;
export const AESDEC = 526;
export const AESDECLAST = 527;
export const AESIMC = 528;
export const AESKEYGENASSIST = 529;
export const PCLMULQDQ = 530;
export const SHA1RNDS4 = 531;
export const SHA1NEXTE = 532;
export const SHA1MSG1 = 533;
export const SHA1MSG2 = 534;
export const SHA256MSG1 = 535;
export const SHA256MSG2 = 536;
export const SHA256RNDS2 = 537;
export const CRYPTO_END = 538;

// Numbers with a point: vector_float.ts. imm: constant | element bytes << 8 | scalar << 16.
export const FLOATS = 538;
export const FADD = 538;
export const FMUL = 539;
export const FSUB = 540;
export const FMIN = 541;
export const FDIV = 542;
export const FMAX = 543;
export const FSQRT = 544;
/** CMPPS and its like: all ones or zeros by the predicate in the constant */
export const FCMP = 545;
/** ROUNDPS: to an integer, by the constant */
export const FROUND = 546;
/** HADDPS */
export const FHADD = 547;
export const FHSUB = 548;
export const FADDSUB = 549;
/** DPPS, DPPD */
export const FDP = 550;
/** RCPPS */
export const FRCP = 551;
/** RSQRTPS */
export const FRSQRT = 552;
/** flags of b compared with c; the constant is 1 for UCOMISS */
export const FCOMI = 553;
/** the integer in cell c, of so many bytes as the constant says: CVTSI2SD */
export const F_FROM_INT = 554;
/** general register a <- c's low element: constant is bytes | truncate << 7: CVTSD2SI */
export const F_TO_INT = 555;
/** low element of another size: CVTSS2SD, CVTSD2SS; element bytes are those of the source */
export const F_RESIZE = 556;
/** packed: CVTDQ2PS, CVTDQ2PD; element bytes are those of the result */
export const F_FROM_INTS = 557;
/** packed: CVTPS2DQ, CVTPD2DQ; constant 0x80 truncates */
export const F_TO_INTS = 558;
/** packed: CVTPS2PD, CVTPD2PS */
export const F_RESIZES = 559;
export const FLOATS_END = 560;

// Strings in vector registers: vector_string.ts. imm: constant | whether lengths are of 64 bits << 8.
export const STRINGS = 560;
export const PCMPESTRM = 560;
export const PCMPESTRI = 561;
export const PCMPISTRM = 562;
export const PCMPISTRI = 563;
export const STRINGS_END = 564;

// General registers: bmi.ts. imm: log2 of the operand's bytes.
export const GENERAL = 564;
/** a <- ~b & c */
export const ANDN = 564;
export const BEXTR = 565;
export const BLSI = 566;
export const BLSR = 567;
export const BLSMSK = 568;
export const BZHI = 569;
export const PDEP = 570;
export const PEXT = 571;
/** a, b <- rdx * c: high, low */
export const MULX = 572;
export const SARX = 573;
export const SHLX = 574;
export const SHRX = 575;
/** a <- c rotated right by imm >> 8 */
export const RORX = 576;
/** a <- a + c + CF */
export const ADCX = 577;
/** a <- a + c + OF */
export const ADOX = 578;
/** a <- a and the bytes of c */
export const CRC32 = 579;
export const GENERAL_END = 580;
