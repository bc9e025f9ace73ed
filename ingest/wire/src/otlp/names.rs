//! OTLP names as Prometheus writes them (source: opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics).

use std::borrow::Cow;

/// Resource attributes that also become labels of every series: the ones by which services and pods are found. The
/// whole resource is in `target_info`.
pub const PROMOTED: [&str; 20] = [
    "service.name",
    "service.namespace",
    "service.instance.id",
    "service.version",
    "deployment.environment",
    "deployment.environment.name",
    "host.name",
    "cloud.region",
    "cloud.availability_zone",
    "container.name",
    "k8s.cluster.name",
    "k8s.container.name",
    "k8s.cronjob.name",
    "k8s.daemonset.name",
    "k8s.deployment.name",
    "k8s.job.name",
    "k8s.namespace.name",
    "k8s.node.name",
    "k8s.pod.name",
    "k8s.statefulset.name",
];

/// Characters that a label name cannot have become `_`; a digit at the front gets `key_` before it.
pub fn label(name: &str) -> Cow<'_, str> {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let digit_first = name.as_bytes().first().is_some_and(u8::is_ascii_digit);
    if !digit_first && name.bytes().all(fine) {
        return name.into();
    }
    let prefix = if digit_first { "key_" } else { "" };
    let rest = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' });
    prefix.chars().chain(rest).collect::<String>().into()
}

/// A metric's name with its unit and, for a monotonic sum, `_total` at the end.
pub fn metric(name: &str, unit: &str, is_counter: bool, is_gauge: bool) -> String {
    let mut words: Vec<&str> = name
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == ':'))
        .filter(|word| !word.is_empty())
        .collect();
    let (main, per) = unit.split_once('/').map_or((unit, ""), |(main, per)| (main, per));
    let mut push_new = |word: &'static str| {
        if !word.is_empty() && !words.contains(&word) {
            words.push(word);
        }
    };
    let (main_word, per_word) = (unit_word(main.trim()), per_unit_word(per.trim()));
    let owned_main = unknown_unit(main.trim(), main_word);
    push_new(main_word);
    let mut words: Vec<Cow<'_, str>> = words.into_iter().map(Cow::from).collect();
    if let Some(unit) = owned_main
        && !words.contains(&Cow::from(unit.as_str()))
    {
        words.push(unit.into());
    }
    if !per_word.is_empty() && !words.contains(&Cow::from(per_word)) {
        words.extend([Cow::from("per"), Cow::from(per_word)]);
    }
    let ends = |words: &mut Vec<Cow<'_, str>>, word: &'static str| {
        words.retain(|known| known != word);
        words.push(word.into());
    };
    if is_gauge && unit.trim() == "1" {
        ends(&mut words, "ratio");
    }
    if is_counter {
        ends(&mut words, "total");
    }
    let name = words.join("_");
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}

fn unit_word(unit: &str) -> &'static str {
    match unit {
        "d" => "days",
        "h" => "hours",
        "min" => "minutes",
        "s" => "seconds",
        "ms" => "milliseconds",
        "us" => "microseconds",
        "ns" => "nanoseconds",
        "By" => "bytes",
        "KiBy" => "kibibytes",
        "MiBy" => "mebibytes",
        "GiBy" => "gibibytes",
        "TiBy" => "tibibytes",
        "KBy" => "kilobytes",
        "MBy" => "megabytes",
        "GBy" => "gigabytes",
        "TBy" => "terabytes",
        "m" => "meters",
        "V" => "volts",
        "A" => "amperes",
        "J" => "joules",
        "W" => "watts",
        "g" => "grams",
        "Cel" => "celsius",
        "Hz" => "hertz",
        "%" => "percent",
        _ => "",
    }
}

/// A unit that the table does not have is written as it is; annotations in braces and "1" are none.
fn unknown_unit(unit: &str, known: &str) -> Option<String> {
    if !known.is_empty() || unit.is_empty() || unit == "1" || unit.contains(['{', '}']) {
        return None;
    }
    let words: Vec<&str> =
        unit.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    (!words.is_empty()).then(|| words.join("_"))
}

fn per_unit_word(unit: &str) -> &'static str {
    match unit {
        "s" => "second",
        "m" | "min" => "minute",
        "h" => "hour",
        "d" => "day",
        "w" => "week",
        "mo" => "month",
        "y" => "year",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_prometheus_gives() {
        for (name, unit, counter, gauge, expected) in [
            ("http.server.request.duration", "s", false, false, "http_server_request_duration_seconds"),
            ("system.memory.usage", "By", false, true, "system_memory_usage_bytes"),
            ("shop.orders", "{order}", true, false, "shop_orders_total"),
            ("shop.revenue", "EUR", true, false, "shop_revenue_EUR_total"),
            ("requests_total", "1", true, false, "requests_total"),
            ("cpu.utilization", "1", false, true, "cpu_utilization_ratio"),
            ("disk.io", "By/s", false, true, "disk_io_bytes_per_second"),
            ("queue..depth", "", false, true, "queue_depth"),
            ("1st", "", false, true, "_1st"),
        ] {
            assert_eq!(metric(name, unit, counter, gauge), expected);
        }
        assert_eq!(label("http.route"), "http_route");
        assert_eq!(label("2xx"), "key_2xx");
    }
}
