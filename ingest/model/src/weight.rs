//! How many requests a span stands for: a sender that keeps one in eight says so in `tracestate`, and counts stay true.
//!
//! OpenTelemetry's key is `ot`, with `th` (the threshold below which ids were left out, in up to 14 hex digits) and `rv`
//! (the random value it was held against); older senders write `p`, the power of two. See opentelemetry.io,
//! "TraceState: Probability Sampling".

/// 2^56: thresholds and random values are below it.
const RANDOM_MAX: u64 = 1 << 56;

/// 1 where nothing is said. With the random value at hand it is a whole number whose mean is the true one, as Tempo has it.
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
        let weight = RANDOM_MAX as f64 / (RANDOM_MAX - threshold) as f64;
        let random = field("rv").filter(|(_, text)| text.len() == 14).and_then(|(_, text)| hex(text));
        return random.map_or(weight, |random| whole(weight, random));
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

fn whole(weight: f64, random: u64) -> f64 {
    // The part of the random value that did not decide whether the span was kept is still random.
    let drawn = (random >> 3) as f64 / (1u64 << 53) as f64;
    weight.floor() + f64::from(drawn < weight.fract())
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
        // One in 1.5: half of the spans stand for two.
        let threshold = "55555555555555";
        assert!((of(&format!("ot=th:{threshold}")) - 1.5).abs() < 1e-9);
        assert_eq!(of(&format!("ot=th:{threshold};rv:60000000000000")), 2.0);
        assert_eq!(of(&format!("ot=th:{threshold};rv:f0000000000000")), 1.0);
    }
}
