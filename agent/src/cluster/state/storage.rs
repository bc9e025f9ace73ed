//! Volumes: what asks for them, what they are, how they are made and where they are attached.

use super::{Of, conditions, texts};
use crate::objects::{self, quantity};
use serde_json::Value;

pub(super) fn claim(object: &Value, of: &mut Of<'_, '_>) {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or("");
    // The annotation is what there was before the field, and is preferred where there are both.
    let class = ["/metadata/annotations/volume.beta.kubernetes.io~1storage-class", "/spec/storageClassName"];
    let class = class.iter().find_map(|path| object.pointer(path)?.as_str());
    let info = [
        ("storageclass", class.unwrap_or("")),
        ("volumename", text("/spec/volumeName")),
        ("volumemode", text("/spec/volumeMode")),
    ];
    of.gauge("info", &info, 1.0);
    of.one_of("status_phase", "phase", &["Lost", "Bound", "Pending"], text("/status/phase"));
    if let Some(bytes) = quantity::parse(text("/spec/resources/requests/storage")) {
        of.gauge("resource_requests_storage_bytes", &[], bytes);
    }
    access_modes(object, of);
    conditions(object, of);
}

fn access_modes(object: &Value, of: &mut Of<'_, '_>) {
    for mode in object.pointer("/spec/accessModes").and_then(Value::as_array).into_iter().flatten() {
        of.gauge("access_mode", &[("access_mode", mode.as_str().unwrap_or(""))], 1.0);
    }
}

pub(super) fn volume(object: &Value, of: &mut Of<'_, '_>) {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or("");
    let info = [
        ("storageclass", text("/spec/storageClassName")),
        ("csi_driver", text("/spec/csi/driver")),
        ("csi_volume_handle", text("/spec/csi/volumeHandle")),
        ("local_path", text("/spec/local/path")),
        ("local_fs", text("/spec/local/fsType")),
        ("host_path", text("/spec/hostPath/path")),
        ("host_path_type", text("/spec/hostPath/type")),
        ("nfs_server", text("/spec/nfs/server")),
        ("nfs_path", text("/spec/nfs/path")),
        ("reclaim_policy", text("/spec/persistentVolumeReclaimPolicy")),
    ];
    of.gauge("info", &info, 1.0);
    access_modes(object, of);
    let mode = if text("/spec/volumeMode").is_empty() { "Filesystem" } else { text("/spec/volumeMode") };
    of.gauge("volume_mode", &[("volumemode", mode)], 1.0);
    let phases = ["Pending", "Available", "Bound", "Released", "Failed"];
    of.one_of("status_phase", "phase", &phases, text("/status/phase"));
    if let Some(bytes) = quantity::parse(text("/spec/capacity/storage")) {
        of.gauge("capacity_bytes", &[], bytes);
    }
    let (name, namespace) = (text("/spec/claimRef/name"), text("/spec/claimRef/namespace"));
    if !name.is_empty() {
        of.gauge("claim_ref", &[("name", name), ("claim_namespace", namespace)], 1.0);
    }
}

pub(super) fn class(object: &Value, of: &mut Of<'_, '_>) {
    let text = |path: &str, default| object.pointer(path).and_then(Value::as_str).unwrap_or(default);
    let info = [
        ("provisioner", text("/provisioner", "")),
        ("reclaim_policy", text("/reclaimPolicy", "Delete")),
        ("volume_binding_mode", text("/volumeBindingMode", "Immediate")),
    ];
    of.gauge("info", &info, 1.0);
}

/// Its labels are told whatever is allowed, as kube-state-metrics does of this kind alone.
pub(super) fn attachment(object: &Value, of: &mut Of<'_, '_>) {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or("");
    of.gauge("info", &[("attacher", text("/spec/attacher")), ("node", text("/spec/nodeName"))], 1.0);
    let volume = text("/spec/source/persistentVolumeName");
    if !volume.is_empty() {
        of.gauge("spec_source_persistentvolume", &[("volumename", volume)], 1.0);
    }
    for (name, path, prefix) in [
        ("labels", "/metadata/labels", "label"),
        ("status_attachment_metadata", "/status/attachmentMetadata", "metadata"),
    ] {
        let named = objects::named(prefix, texts(object.pointer(path).and_then(Value::as_object)));
        let labels: Vec<(&str, &str)> = named.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        of.gauge(name, &labels, 1.0);
    }
}
