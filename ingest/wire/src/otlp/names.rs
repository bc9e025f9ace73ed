//! OTLP names as Prometheus writes them (sources: opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics
//! and Prometheus' `otlptranslator`), by one of the four strategies of its `otlp.translation_strategy`.

use std::borrow::Cow;

/// What becomes of names: by the words that Prometheus has for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// Characters that older Prometheus had not become `_`; unit and type are appended.
    #[default]
    UnderscoreEscapingWithSuffixes,
    /// Names keep their characters; unit and type are appended.
    NoUtf8EscapingWithSuffixes,
    UnderscoreEscapingWithoutSuffixes,
    NoTranslation,
}

const STRATEGIES: [(&str, Strategy); 4] = [
    ("UnderscoreEscapingWithSuffixes", Strategy::UnderscoreEscapingWithSuffixes),
    ("NoUTF8EscapingWithSuffixes", Strategy::NoUtf8EscapingWithSuffixes),
    ("UnderscoreEscapingWithoutSuffixes", Strategy::UnderscoreEscapingWithoutSuffixes),
    ("NoTranslation", Strategy::NoTranslation),
];

impl std::str::FromStr for Strategy {
    type Err = String;

    fn from_str(text: &str) -> Result<Strategy, String> {
        let found = STRATEGIES.iter().find(|(word, _)| *word == text).map(|(_, strategy)| *strategy);
        found.ok_or_else(|| {
            let words: Vec<&str> = STRATEGIES.iter().map(|(word, _)| *word).collect();
            format!("{text:?} is no translation strategy; one of {}", words.join(", "))
        })
    }
}

/// What a name's suffix says of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Other,
}

impl Strategy {
    fn escapes(self) -> bool {
        matches!(self, Strategy::UnderscoreEscapingWithSuffixes | Strategy::UnderscoreEscapingWithoutSuffixes)
    }

    pub fn label(self, name: &str) -> Cow<'_, str> {
        if self.escapes() { metric_label(name) } else { name.into() }
    }

    /// `None` where nothing of the name is left.
    pub fn metric(self, name: &str, unit: &str, kind: Kind) -> Option<String> {
        let made = match self {
            Strategy::NoTranslation => name.to_owned(),
            Strategy::NoUtf8EscapingWithSuffixes => suffixed(name, unit, kind),
            Strategy::UnderscoreEscapingWithoutSuffixes => {
                digit_escaped(words(name, |c| legacy(c) || c == '_').join("_"))
            }
            Strategy::UnderscoreEscapingWithSuffixes => metric(name, unit, kind),
        };
        let is_empty = made.is_empty() || (made != name && made.bytes().all(|byte| byte == b'_'));
        (!is_empty).then_some(made)
    }
}

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

/// As [`label`]; names of metrics' labels that begin with one `_` get `key` before it.
fn metric_label(name: &str) -> Cow<'_, str> {
    let made = label(name);
    match made.starts_with('_') && !made.starts_with("__") {
        true => format!("key{made}").into(),
        false => made,
    }
}

fn legacy(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == ':'
}

fn words(name: &str, fine: impl Fn(char) -> bool) -> Vec<&str> {
    name.split(|c: char| !fine(c)).filter(|word| !word.is_empty()).collect()
}

fn digit_escaped(name: String) -> String {
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}

/// The words of a name, its unit, and what its kind appends, each once.
fn metric(name: &str, unit: &str, kind: Kind) -> String {
    let mut words: Vec<Cow<'_, str>> = words(name, legacy).into_iter().map(Cow::from).collect();
    let (main, per) = unit_words(unit);
    let (main, per) = (cleaned(&main), cleaned(&per));
    let per = if per == "per_" { "" } else { per.trim_end_matches('_') };
    let per = if words.iter().any(|word| word == per) { "" } else { per };
    let main = if words.iter().any(|word| *word == main) { "" } else { main.trim_end_matches('_') };
    words.extend([main, per].into_iter().filter(|word| !word.is_empty()).map(|word| word.to_owned().into()));
    let last = match kind {
        Kind::Counter => "total",
        Kind::Gauge if unit == "1" => "ratio",
        _ => return digit_escaped(words.join("_")),
    };
    words.retain(|word| word != last);
    words.push(last.into());
    digit_escaped(words.join("_"))
}

/// The name as it is with its unit and what its kind appends behind it, where it does not end so already.
fn suffixed(name: &str, unit: &str, kind: Kind) -> String {
    fn without<'a>(name: &'a str, suffix: &str) -> &'a str {
        let cut = name.strip_suffix(suffix).filter(|rest| rest.chars().count() > 1);
        cut.map_or(name, |rest| rest.char_indices().next_back().map_or("", |(at, _)| &rest[..at]))
    }
    let last = match kind {
        Kind::Counter => "total",
        Kind::Gauge if unit == "1" => "ratio",
        _ => "",
    };
    let mut made = if last.is_empty() { name } else { without(name, last) };
    let (main, per) = unit_words(unit);
    if !per.is_empty() {
        made = without(made, &per);
    }
    let main = if made.ends_with(main.as_ref()) { "" } else { main.as_ref() };
    let all = [made, main, per.as_ref(), last];
    all.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join("_")
}

/// A unit as Prometheus words it, for the metadata of a metric.
pub fn unit(unit: &str) -> String {
    let (main, per) = unit_words(unit);
    let words = [cleaned(&main), cleaned(&per)];
    let words: Vec<&str> = words.iter().map(String::as_str).filter(|word| !word.is_empty()).collect();
    words.join("_").trim_matches('_').to_owned()
}

/// The unit and, with `per_` before it, what it is divided by. Annotations in braces are none; a unit that the table does not
/// have is written as it is.
fn unit_words(unit: &str) -> (Cow<'_, str>, Cow<'_, str>) {
    let (main, per) = unit.split_once('/').unwrap_or((unit, ""));
    let written = |text: &str| !text.is_empty() && !text.contains(['{', '}']);
    let (main, per) = (main.trim(), per.trim());
    let main = if written(main) { unit_word(main) } else { "" };
    let per = if written(per) { format!("per_{}", per_unit_word(per)).into() } else { "".into() };
    (main.into(), per)
}

/// Only what a name may have, `_` never twice and not at the front.
fn cleaned(unit: &str) -> String {
    let mut out = String::with_capacity(unit.len());
    for c in unit.chars() {
        match c {
            c if legacy(c) => out.push(c),
            _ if out.is_empty() || out.ends_with('_') => {}
            _ => out.push('_'),
        }
    }
    out
}

fn unit_word(unit: &str) -> &str {
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
        "1" => "",
        "%" => "percent",
        other => other,
    }
}

fn per_unit_word(unit: &str) -> &str {
    match unit {
        "s" => "second",
        "m" => "minute",
        "h" => "hour",
        "d" => "day",
        "w" => "week",
        "mo" => "month",
        "y" => "year",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_prometheus_gives() {
        for (name, unit, kind, expected) in [
            ("http.server.request.duration", "s", Kind::Other, "http_server_request_duration_seconds"),
            ("system.memory.usage", "By", Kind::Gauge, "system_memory_usage_bytes"),
            ("shop.orders", "{order}", Kind::Counter, "shop_orders_total"),
            ("shop.revenue", "EUR", Kind::Counter, "shop_revenue_EUR_total"),
            ("requests_total", "1", Kind::Counter, "requests_total"),
            ("cpu.utilization", "1", Kind::Gauge, "cpu_utilization_ratio"),
            ("disk.io", "By/s", Kind::Gauge, "disk_io_bytes_per_second"),
            ("fuel", "l/km", Kind::Gauge, "fuel_l_per_km"),
            ("queue..depth", "", Kind::Gauge, "queue_depth"),
            ("1st", "", Kind::Gauge, "_1st"),
            ("system.disk.bytes", "By", Kind::Gauge, "system_disk_bytes"),
            ("hw.speed", "m/{lap}", Kind::Gauge, "hw_speed_meters"),
        ] {
            let made = Strategy::default().metric(name, unit, kind);
            assert_eq!(made.as_deref(), Some(expected), "{name}");
        }
        assert_eq!(Strategy::default().metric("...", "", Kind::Other), None);
        for (name, made) in [
            ("http.route", "http_route"),
            ("2xx", "key_2xx"),
            ("_own", "key_own"),
            ("__reserved__", "__reserved__"),
            ("größe", "gr__e"),
        ] {
            assert_eq!(metric_label(name), made);
        }
        assert_eq!(
            (unit("By/s"), unit("{order}"), unit("%")),
            ("bytes_per_second".into(), "".into(), "percent".into())
        );
    }

    #[test]
    fn each_strategy_leaves_what_it_says() {
        let all = |name: &str, unit: &str, kind| {
            let made = ["NoUTF8EscapingWithSuffixes", "UnderscoreEscapingWithoutSuffixes", "NoTranslation"];
            made.map(|word| word.parse::<Strategy>().unwrap().metric(name, unit, kind).unwrap())
        };
        assert_eq!(
            all("http.server.duration", "ms", Kind::Other),
            ["http.server.duration_milliseconds", "http_server_duration", "http.server.duration"]
        );
        assert_eq!(all("orders.total", "1", Kind::Counter), ["orders_total", "orders_total", "orders.total"]);
        assert_eq!(
            all("io__rate", "By/s", Kind::Gauge),
            ["io__rate_bytes_per_second", "io__rate", "io__rate"]
        );
        assert_eq!(all("use", "1", Kind::Gauge), ["use_ratio", "use", "use"]);
        assert_eq!("NoTranslation".parse::<Strategy>().unwrap().label("http.route"), "http.route");
        assert!("None".parse::<Strategy>().unwrap_err().contains("NoUTF8EscapingWithSuffixes"));
    }
}
