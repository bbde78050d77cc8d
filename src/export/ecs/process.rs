//! The server's process in the Elastic Common Schema: `process`, `container` and, of a pod, `orchestrator.resource`.
//!
//! The schema has one process for an event; both ends stand under `picotap`, as in the JSON log.

use crate::export::json::{numeric, optional};
use crate::process::Process;

/// Appends them.
pub(super) fn objects(server: Option<&Process>, out: &mut Vec<u8>) {
    let Some(Process { pid, command, container, pod }) = server else { return };
    optional(b",\"process\":{\"name\":", Some(command), out);
    numeric(b",\"pid\":", pid.map(u64::from), out);
    out.push(b'}');
    if let Some(container) = container {
        optional(b",\"container\":{\"id\":", Some(container.as_bytes()), out);
        out.push(b'}');
    }
    if let Some(pod) = pod {
        out.extend_from_slice(b",\"orchestrator\":{\"type\":\"kubernetes\",\"resource\":{\"type\":\"pod\"");
        optional(b",\"id\":", Some(pod.as_bytes()), out);
        out.extend_from_slice(b"}}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_has_the_schema_s_names() {
        let process = Process {
            pid: Some(7),
            command: b"nginx\n".as_slice().into(),
            container: Some("0a".into()),
            pod: Some("u".into()),
        };
        let mut out = b"{\"a\":1".to_vec();
        objects(Some(&process), &mut out);
        out.push(b'}');
        let value: serde_json::Value = serde_json::from_slice(&out).expect("it is JSON");
        assert_eq!((&value["process"]["pid"], &value["container"]["id"]), (&7.into(), &"0a".into()));
        assert_eq!(value["orchestrator"]["resource"], serde_json::json!({"type": "pod", "id": "u"}));
        let mut out = Vec::new();
        objects(None, &mut out);
        assert!(out.is_empty());
    }
}
