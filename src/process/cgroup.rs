//! The path of a cgroup → the container and the pod that it is of, by the names that Docker, containerd, CRI-O, Podman and the kubelet
//! give to theirs.
//!
//! The innermost counts. Whoever may make cgroups may name them so: it is as true as the host's owner lets it be.

/// Length of a container's identifier, in hexadecimal digits.
const CONTAINER: usize = 64;
/// The same of a pod that the kubelet reads from a file: a hash instead of a UUID.
const STATIC_POD: usize = 32;

/// Container and pod of a process, of what `/proc/PID/cgroup` says: a line `number:controllers:path` for each hierarchy.
pub(super) fn identifiers(text: &[u8]) -> (Option<Box<str>>, Option<Box<str>>) {
    let paths = text.split(|byte| *byte == b'\n').filter_map(|line| line.splitn(3, |byte| *byte == b':').nth(2));
    let (mut container, mut pod) = (None, None);
    for path in paths.filter_map(|path| std::str::from_utf8(path).ok()) {
        for part in path.split('/').rev() {
            if container.is_none() {
                container = container_of(part);
            }
            if pod.is_none() {
                pod = pod_of(part);
            }
        }
        if container.is_some() {
            // The other hierarchies say the same, or nothing.
            break;
        }
    }
    (container, pod)
}

/// `ID`, `docker-ID.scope`, `cri-containerd-ID.scope`, `crio-ID.scope`, `libpod-ID.scope`. Not `crio-conmon-ID.scope`: what
/// watches a container is outside of it.
fn container_of(part: &str) -> Option<Box<str>> {
    let name = part.strip_suffix(".scope").unwrap_or(part);
    // containerd's shims under systemd's driver: `PARENT:cri-containerd:ID`.
    let (before, id) = name.rsplit_once(['-', ':']).unwrap_or(("", name));
    let is_id = id.len() == CONTAINER && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (is_id && !before.ends_with("conmon")).then(|| id.into())
}

/// `podUID`, `kubepods-podUID.slice`, `kubepods-burstable-podUID.slice`, where systemd's names have `_` for `-`.
fn pod_of(part: &str) -> Option<Box<str>> {
    let name = part.strip_suffix(".slice").unwrap_or(part);
    let at = name.rfind("pod")?;
    let (before, uid) = (name.get(..at)?, name.get(at + 3..)?);
    if !(before.is_empty() || before.starts_with("kubepods-") && before.ends_with('-') || before == "kubepods-") {
        return None;
    }
    let is_uuid = uid.len() == 36
        && uid.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => matches!(byte, b'-' | b'_'),
            _ => byte.is_ascii_hexdigit(),
        });
    let is_hash = uid.len() == STATIC_POD && uid.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_uuid || is_hash).then(|| uid.replace('_', "-").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const UID: &str = "9b1c0e2f-6a4d-4a51-8d2e-0f6d3c9b7a10";

    fn found(text: &str) -> (Option<String>, Option<String>) {
        let (container, pod) = identifiers(text.as_bytes());
        (container.map(String::from), pod.map(String::from))
    }

    #[test]
    fn the_names_of_the_usual_runtimes_are_known() {
        let underscores = UID.replace('-', "_");
        let (id, uid) = (Some(ID.to_owned()), Some(UID.to_owned()));
        for (path, wanted) in [
            (format!("/docker/{ID}"), (id.clone(), None)),
            (format!("/system.slice/docker-{ID}.scope"), (id.clone(), None)),
            (format!("/machine.slice/libpod-{ID}.scope/container"), (id.clone(), None)),
            (format!("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope"), (id.clone(), None)),
            (format!("/kubepods/burstable/pod{UID}/{ID}"), (id.clone(), uid.clone())),
            (format!("/kubepods/pod{UID}/crio-{ID}"), (id.clone(), uid.clone())),
            (
                format!(
                    "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{underscores}.slice/cri-containerd-{ID}.scope"
                ),
                (id.clone(), uid.clone()),
            ),
            (format!("/kubepods.slice/kubepods-pod{underscores}.slice/crio-{ID}.scope"), (id.clone(), uid.clone())),
            (format!("/kubepods.slice/kubepods-pod{underscores}.slice:cri-containerd:{ID}"), (id.clone(), None)),
            (format!("/kubepods.slice/kubepods-pod{underscores}.slice/crio-conmon-{ID}.scope"), (None, uid.clone())),
            (
                format!("/kubepods/besteffort/pod0123456789abcdef0123456789abcdef/{ID}"),
                (id.clone(), Some("0123456789abcdef0123456789abcdef".to_owned())),
            ),
            (format!("/ecs/f2e1/{ID}"), (id.clone(), None)),
            (
                format!("/docker/{}/kubelet.slice/kubepods/pod{UID}/{ID}", ID.replace('0', "f")),
                (id.clone(), uid.clone()),
            ),
            ("/system.slice/nginx.service".to_owned(), (None, None)),
            ("/".to_owned(), (None, None)),
            (format!("/tripod{UID}/x-{}", &ID[1..]), (None, None)),
        ] {
            assert_eq!(found(&format!("0::{path}\n")), wanted, "{path}");
        }
    }

    #[test]
    fn of_several_hierarchies_the_first_that_says_it_counts() {
        let text = format!("12:cpu,cpuacct:/docker/{ID}\n1:name=systemd:/init.scope\n0::/\n");
        assert_eq!(found(&text), (Some(ID.to_owned()), None));
        let text = format!("2:pids:/\n1:name=systemd:/docker/{ID}\n0::/\n");
        assert_eq!(found(&text), (Some(ID.to_owned()), None));
    }

    #[test]
    fn what_is_no_such_file_says_nothing() {
        for text in [&b""[..], b"\n", b"::", b"0::/\xff\xfe/x", b"0::/pod", b"0::/pod\xc3\xa9", b"0::////"] {
            assert_eq!(identifiers(text), (None, None));
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read(text: Vec<u8>) {
            let (container, pod) = identifiers(&text);
            assert!(container.is_none_or(|id| id.len() == CONTAINER));
            assert!(pod.is_none_or(|uid| matches!(uid.len(), STATIC_POD | 36)));
        }
    }
}
