//! The numbers of pcap and pcapng that their readers here and the writer of kept packets share (draft-ietf-opsawg-pcap,
//! draft-ietf-opsawg-pcapng).

/// How a pcap file begins: with stamps in microseconds, in nanoseconds, and in the form of Alexey Kuznetsov's patched libpcap.
pub(crate) const PCAP_MICROSECONDS: u32 = 0xa1b2_c3d4;
pub(crate) const PCAP_NANOSECONDS: u32 = 0xa1b2_3c4d;
pub(crate) const PCAP_MODIFIED: u32 = 0xa1b2_cd34;

/// Types of blocks of pcapng.
pub(crate) const SECTION_HEADER: u32 = 0x0a0d_0d0a;
pub(crate) const INTERFACE: u32 = 1;
pub(crate) const PACKET: u32 = 2;
pub(crate) const SIMPLE_PACKET: u32 = 3;
pub(crate) const ENHANCED_PACKET: u32 = 6;
pub(crate) const SECRETS: u32 = 10;

/// The word of a section header that says in which byte order the section is.
pub(crate) const BYTE_ORDER: u32 = 0x1a2b_3c4d;
/// A Decryption Secrets Block with a TLS key log ("TLSK").
pub(crate) const TLS_KEY_LOG: u32 = 0x544c_534b;

/// Options of blocks: end, name of the writing program, name of an interface, resolution and offset of its time stamps.
pub(crate) const OPTION_END: u16 = 0;
pub(crate) const OPTION_USER_APPLICATION: u16 = 4;
pub(crate) const OPTION_IF_NAME: u16 = 2;
pub(crate) const OPTION_IF_TSRESOL: u16 = 9;
pub(crate) const OPTION_IF_TSOFFSET: u16 = 14;
