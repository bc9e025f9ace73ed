//! How many requests a span stands for: a sender that keeps one in eight says so in `tracestate`, and counts stay true.
//!
//! OpenTelemetry's key is `ot`, with `th`: the threshold below which random values were left out, in up to 14 hex digits. Older
//! senders write `p`, the power of two. See opentelemetry.io, "TraceState: Probability Sampling". The random value (`rv`) is
//! above the threshold and so says nothing of how many were left out.

/// 2^56: thresholds and random values are below it.
const RANDOM_MAX: u64 = 1 << 56;

/// 1 where nothing is said; a fraction where the sender keeps two in three, as Tempo's metrics-generator counts it.
pub fn sampling_weight(trace_state: &str) -> f64 {
    if trace_state.is_empty() {
        return 1.0;
    }
    let members = trace_state.split(',').map(str::trim);
    let Some(fields) = members.filter_map(|member| member.strip_prefix("ot=")).next() else { return 1.0 };
    let field = |name: &str| {
        fields.split(';').filter_map(|field| field.split_once(':')).find(|(key, _)| *key == name)
    };
    if let Some((_, threshold)) = field("th") {
        let Some(threshold) = hex(threshold) else { return 1.0 };
        return RANDOM_MAX as f64 / (RANDOM_MAX - threshold) as f64;
    }
    match field("p").and_then(|(_, power)| power.parse::<u32>().ok()) {
        Some(power) if power < 63 => (1u64 << power) as f64,
        _ => 1.0,
    }
}

/// Zeros at the end may be left out.
fn hex(text: &str) -> Option<u64> {
    let digits = text.len();
    if !(1..=14).contains(&digits) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    Some(u64::from_str_radix(text, 16).ok()? << (4 * (14 - digits)))
}

#[cfg(test)]
mod tests {
    use super::sampling_weight as of;

    #[test]
    fn a_span_stands_for_as_many_as_its_sender_says() {
        for (state, weight) in [
            ("", 1.0),
            ("vendor=x", 1.0),
            ("ot=th:0", 1.0),
            ("ot=th:8", 2.0),
            ("a=b, ot=rv:ffffffffffffff;th:c", 4.0),
            ("ot=th:e", 8.0),
            ("ot=p:3;r:7", 8.0),
            ("ot=th:xyz", 1.0),
            ("ot=th:123456789012345", 1.0),
            ("ot=p:63", 1.0),
        ] {
            assert_eq!(of(state), weight, "{state}");
        }
    }

    #[test]
    fn of_a_hundred_requests_whose_sender_keeps_some_a_hundred_are_counted() {
        for percent in [1, 30, 50, 67, 75, 99, 100] {
            let threshold = super::RANDOM_MAX / 100 * (100 - percent);
            // Those of a hundred random values, one beside the other, that are kept.
            let kept = (0..100).map(|at| super::RANDOM_MAX / 100 * at).filter(|random| *random >= threshold);
            let told = kept.map(|random| of(&format!("ot=th:{threshold:014x};rv:{random:014x}")));
            let sum: f64 = told.sum();
            assert!((sum - 100.0).abs() < 1e-9, "{percent} % are kept: {sum}");
        }
    }
}
