//! Quantities of the Kubernetes API: `250m`, `64Mi`, `1e3` (source: apimachinery, api/resource/quantity.go).

const SUFFIXES: [(&str, f64); 15] = [
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("Pi", 1_125_899_906_842_624.0),
    ("Ei", 1_152_921_504_606_846_976.0),
    ("n", 1e-9),
    ("u", 1e-6),
    ("m", 1e-3),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("P", 1e15),
    ("E", 1e18),
];

pub fn parse(text: &str) -> Option<f64> {
    if let Ok(number) = text.parse::<f64>() {
        return number.is_finite().then_some(number);
    }
    let (suffix, factor) = SUFFIXES.iter().find(|(suffix, _)| text.ends_with(suffix))?;
    let number: f64 = text.strip_suffix(suffix)?.parse().ok()?;
    // 250m is 0.25, and not what 250 times a thousandth comes to.
    let value = if *factor < 1.0 { number / (1.0 / factor).round() } else { number * factor };
    value.is_finite().then_some(value)
}

/// kube-state-metrics' label for a resource, and its unit.
pub fn resource(name: &str) -> (String, &'static str) {
    let unit = match name {
        "cpu" => "core",
        "memory" | "storage" | "ephemeral-storage" => "byte",
        other if other.starts_with("hugepages-") || other.starts_with("attachable-volumes-") => "byte",
        _ => "integer",
    };
    let name = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    (name, unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_have_their_suffixes() {
        for (text, value) in [
            ("250m", 0.25),
            ("2", 2.0),
            ("64Mi", 67_108_864.0),
            ("1e3", 1e3),
            ("5k", 5e3),
            ("100n", 1e-7),
            ("2E", 2e18),
        ] {
            assert_eq!(parse(text), Some(value), "{text}");
        }
        for text in ["", "Mi", "1x", "inf"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(resource("nvidia.com/gpu"), ("nvidia_com_gpu".into(), "integer"));
        assert_eq!(resource("ephemeral-storage"), ("ephemeral_storage".into(), "byte"));
    }
}
