//! What a group is, by its name: the kubelet's two drivers and the runtimes behind them each have their own.
//!
//! cgroupfs: `kubepods/burstable/pod<uid>/<id>`. systemd:
//! `kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid with _ for ->.slice/cri-containerd-<id>.scope`,
//! where CRI-O writes `crio-<id>.scope` and the Docker shim `docker-<id>.scope`.

#[derive(Debug, PartialEq)]
pub enum Place {
    /// A pod's uid as the API writes it; of a static pod the hash of its file.
    Pod(String),
    /// A container's id.
    Container(String),
    Other,
}

/// A slice of kubelets, also of one below another slice (`kubelet-kubepods.slice`, as kind has it).
pub fn is_kubepods(name: &str) -> bool {
    let name = name.strip_suffix(".slice").unwrap_or(name);
    name == "kubepods" || name.ends_with("-kubepods") || name == "kubelet"
}

pub fn place(name: &str, in_pod: bool) -> Place {
    match (in_pod, container(name), pod(name)) {
        (true, Some(id), _) => Place::Container(id),
        (false, _, Some(uid)) => Place::Pod(uid),
        _ => Place::Other,
    }
}

fn pod(name: &str) -> Option<String> {
    let name = name.strip_suffix(".slice").unwrap_or(name);
    let uid = name.rsplit_once("pod").map(|(_, uid)| uid.replace('_', "-"))?;
    (uid.len() >= 32 && uid.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')).then_some(uid)
}

/// CRI-O has a group for its monitor beside each container (`crio-conmon-<id>.scope`): not a container.
fn container(name: &str) -> Option<String> {
    let bare = name.strip_suffix(".scope").unwrap_or(name);
    let id = match bare.rsplit_once('-') {
        Some((runtime, _)) if runtime.ends_with("conmon") => return None,
        Some((_, id)) => id,
        None => bare,
    };
    (id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_drivers_and_all_runtimes_are_known() {
        let uid = "0f8fad5b-d9cb-469f-a165-70867728950e";
        let id = "8bf60f676daa9b8ba8118641aa7ceb8888a2de0fc4ffecc60bf9d85b794ccb4d";
        let under = uid.replace('-', "_");
        for name in [
            format!("pod{uid}"),
            format!("kubepods-burstable-pod{under}.slice"),
            format!("kubepods-pod{under}.slice"),
        ] {
            assert_eq!(place(&name, false), Place::Pod(uid.into()), "{name}");
        }
        // A static pod's is a hash without dashes.
        let hash = "bc9cf8ac60b99e98935556b80a496543";
        assert_eq!(place(&format!("pod{hash}"), false), Place::Pod(hash.into()));
        for name in [id.to_owned(), format!("cri-containerd-{id}.scope"), format!("crio-{id}.scope")] {
            assert_eq!(place(&name, true), Place::Container(id.into()), "{name}");
        }
        for name in [format!("crio-conmon-{id}.scope"), "init.scope".into(), "podman".into(), "pod".into()] {
            assert_eq!(place(&name, true), Place::Other, "{name}");
            assert_eq!(place(&name, false), Place::Other, "{name}");
        }
        for name in ["kubepods", "kubepods.slice", "kubelet-kubepods.slice"] {
            assert!(is_kubepods(name));
        }
        assert!(!is_kubepods("system.slice"));
    }
}
