//! The filter that runs in the kernel: libpcap's program, which also says how much of a frame is kept.

use std::io;

use libc::sock_filter;
use pcap::{Capture, Linktype};

use super::super::config::{LiveConfig, MAX_SNAPLEN};
use super::LINK;

/// "Return a constant": how many bytes of the frame are kept.
const RETURN: u16 = 0x06;

/// The program of a capture; none if all of all frames is wanted.
///
/// # Errors
/// The expression does not compile: libpcap, asked again, says why.
pub(super) fn for_kernel(config: &LiveConfig) -> io::Result<Option<Vec<sock_filter>>> {
    let kept = config.kept();
    if config.filter.is_empty() {
        let keep = sock_filter { code: RETURN, jt: 0, jf: 0, k: kept };
        return Ok((kept < MAX_SNAPLEN).then(|| vec![keep]));
    }
    let mut program = compile(config)?;
    for one in &mut program {
        if one.code == RETURN && one.k != 0 {
            one.k = kept;
        }
    }
    Ok(Some(program))
}

fn compile(config: &LiveConfig) -> io::Result<Vec<sock_filter>> {
    let compiled = if config.filter.contains("vlan") {
        // The kernel takes tags out of frames. Only of an open interface does libpcap know that, and look for them elsewhere.
        // No frame is read from it: it has the smallest ring, for a moment.
        let inactive = Capture::from_device(config.interface.as_str()).map_err(io::Error::other)?;
        let open = inactive.promisc(false).buffer_size(1 << 18).timeout(100).open().map_err(io::Error::other)?;
        open.compile(&config.filter, true)
    } else {
        Capture::dead(Linktype(LINK)).and_then(|dead| dead.compile(&config.filter, true))
    };
    let compiled = compiled.map_err(io::Error::other)?;
    // The binding shows an instruction as its four numbers, and gives no other access to them.
    let instructions = compiled.get_instructions().iter().map(|one| instruction(&one.to_string()));
    instructions.collect::<Option<_>>().ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// An instruction from its numbers.
fn instruction(text: &str) -> Option<sock_filter> {
    let mut numbers = text.split(' ').map(str::parse::<u32>);
    let mut next = || numbers.next()?.ok();
    let (code, jt, jf, k) = (next()?, next()?, next()?, next()?);
    Some(sock_filter { code: code.try_into().ok()?, jt: jt.try_into().ok()?, jf: jf.try_into().ok()?, k })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(filter: &str, snaplen: u32) -> Option<Vec<(u16, u8, u8, u32)>> {
        let config = LiveConfig { filter: filter.into(), snaplen, ..LiveConfig::new("lo") };
        let program = for_kernel(&config).unwrap()?;
        Some(program.iter().map(|one| (one.code, one.jt, one.jf, one.k)).collect())
    }

    #[test]
    fn the_program_keeps_as_much_of_a_frame_as_is_wanted() {
        assert_eq!(program("", 0), None);
        assert_eq!(program("", 96), Some(vec![(6, 0, 0, 96)]));
        // Load the protocol; if it is IPv6's go on, otherwise skip one; keep; keep nothing.
        let wanted = |kept| Some(vec![(0x28, 0, 0, 12), (0x15, 0, 1, 0x86dd), (6, 0, 0, kept), (6, 0, 0, 0)]);
        assert_eq!(program("ip6", 96), wanted(96));
        assert_eq!(program("ip6", 0), wanted(MAX_SNAPLEN));
    }

    #[test]
    fn what_is_no_expression_is_an_error() {
        let config = LiveConfig { filter: "port and port".into(), ..LiveConfig::new("lo") };
        assert!(for_kernel(&config).is_err());
        assert!(instruction("6 0 0").is_none() && instruction("6 0 256 1").is_none() && instruction("").is_none());
    }
}
