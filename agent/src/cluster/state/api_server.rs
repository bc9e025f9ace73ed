//! What the API server itself works with: leases, requests for certificates, and whom it asks about objects.

use super::{Of, list, version};
use serde_json::Value;

pub(super) fn lease(object: &Value, of: &mut Of<'_, '_>) {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or("");
    let holder = ("lease_holder", text("/spec/holderIdentity"));
    let mut owners = list(object, "/metadata/ownerReferences").peekable();
    if owners.peek().is_none() {
        of.gauge("owner", &[holder], 1.0);
    }
    for owner in owners {
        let text = |name: &str| owner[name].as_str().unwrap_or("");
        of.gauge("owner", &[("owner_kind", text("kind")), ("owner_name", text("name")), holder], 1.0);
    }
    of.time("renew_time", object.pointer("/spec/renewTime"));
}

pub(super) fn certificate_request(object: &Value, of: &mut Of<'_, '_>) {
    for (condition, kind) in [("approved", "Approved"), ("denied", "Denied"), ("failed", "Failed")] {
        let count = list(object, "/status/conditions").filter(|one| one["type"] == kind).count();
        of.gauge("condition", &[("condition", condition)], count as f64);
    }
    // In base64: four characters are three bytes, and the last of them may be none.
    let certificate = object.pointer("/status/certificate").and_then(Value::as_str).unwrap_or("");
    let filled = certificate.trim_end_matches('=').len();
    of.gauge("cert_length", &[], (filled * 3 / 4) as f64);
}

pub(super) fn webhooks(object: &Value, of: &mut Of<'_, '_>) {
    of.gauge("info", &[], 1.0);
    version(object, of);
    for webhook in list(object, "/webhooks") {
        let text = |path: &str| webhook.pointer(path).and_then(Value::as_str).unwrap_or("");
        let labels = [
            ("webhook_name", text("/name")),
            ("service_name", text("/clientConfig/service/name")),
            ("service_namespace", text("/clientConfig/service/namespace")),
        ];
        of.gauge("webhook_clientconfig_service", &labels, 1.0);
    }
}

/// The mutating ones say too whether they are asked again.
pub(super) fn policy(object: &Value, of: &mut Of<'_, '_>) {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or("");
    let info = [
        ("param_api_version", text("/spec/paramKind/apiVersion")),
        ("param_kind", text("/spec/paramKind/kind")),
        ("failure_policy", text("/spec/failurePolicy")),
        ("reinvocation_policy", text("/spec/reinvocationPolicy")),
    ];
    of.gauge("info", &info, 1.0);
}

pub(super) fn policy_binding(object: &Value, of: &mut Of<'_, '_>) {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or("");
    let info = [
        ("policy_name", text("/spec/policyName")),
        ("param_name", text("/spec/paramRef/name")),
        ("param_namespace", text("/spec/paramRef/namespace")),
        ("param_not_found_action", text("/spec/paramRef/parameterNotFoundAction")),
    ];
    of.gauge("info", &info, 1.0);
    for action in list(object, "/spec/validationActions").filter_map(Value::as_str) {
        of.gauge("validation_action", &[("action", action)], 1.0);
    }
}
