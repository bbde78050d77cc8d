//! The processes at the ends of a connection, as JSON.

use super::{numeric, optional};
use crate::process::{Both, Process};

/// Appends `client_process` and `server_process`: objects of `pid`, `command`, `container` and `pod`, absent when unknown.
pub(crate) fn processes([client, server]: &Both, out: &mut Vec<u8>) {
    for (key, process) in [(&b",\"client_process\":"[..], client), (b",\"server_process\":", server)] {
        if let Some(process) = process.as_deref() {
            out.extend_from_slice(key);
            object(process, out);
        }
    }
}

fn object(process: &Process, out: &mut Vec<u8>) {
    let Process { pid, command, container, pod } = process;
    optional(b"{\"command\":", Some(command), out);
    numeric(b",\"pid\":", pid.map(u64::from), out);
    optional(b",\"container\":", container.as_deref().map(str::as_bytes), out);
    optional(b",\"pod\":", pod.as_deref().map(str::as_bytes), out);
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn any_command_is_a_line() {
        let command = b"a\n\"\xff\x1b[2J".as_slice().into();
        let process = Arc::new(Process { pid: Some(7), command, container: Some("0a".into()), pod: Some("u".into()) });
        let nameless = Process { pid: None, command: b"nginx".as_slice().into(), container: None, pod: None };
        let mut out = b"{\"a\":1".to_vec();
        processes(&[Some(process), Some(Arc::new(nameless))], &mut out);
        out.push(b'}');
        assert!(!out.contains(&b'\n') && !out.contains(&0x1b));
        let value: serde_json::Value = serde_json::from_slice(&out).expect("it is JSON");
        assert_eq!(value["client_process"]["pid"], 7);
        assert_eq!(value["client_process"]["container"], "0a");
        assert_eq!(value["client_process"]["pod"], "u");
        assert_eq!(value["server_process"].as_object().map(serde_json::Map::len), Some(1));
        let mut out = Vec::new();
        processes(&[None, None], &mut out);
        assert!(out.is_empty());
    }
}
