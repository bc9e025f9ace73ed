//! Which traces are kept: policies as OpenTelemetry's tail sampling processor has them, by its names
//! (opentelemetry-collector-contrib, `processor/tailsamplingprocessor`), asked of a trace that is there as a whole.

use super::Part;
use super::condition::{About, Condition, Place};
use model::{StatusCode, TraceId, Value, attribute};
use regex::Regex;
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::time::Duration;

/// The file as written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub decision_wait: Option<String>,
    pub decision_wait_after_root_received: Option<String>,
    pub num_traces: Option<Count>,
    /// Sizes tables of the collector; those here grow as they have to.
    #[serde(default, rename = "expected_new_traces_per_sec")]
    _expected_new_traces_per_sec: IgnoredAny,
    #[serde(default)]
    pub decision_cache: Cache,
    pub policies: Vec<Written>,
}

/// A whole number as YAML 1.1 has them, and the collector's examples: `100_000`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(try_from = "WrittenCount")]
pub(super) struct Count(pub usize);

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a whole number")]
enum WrittenCount {
    Number(usize),
    Text(String),
}

impl TryFrom<WrittenCount> for Count {
    type Error = String;

    fn try_from(written: WrittenCount) -> Result<Count, String> {
        match written {
            WrittenCount::Number(number) => Ok(Count(number)),
            WrittenCount::Text(text) => {
                let number = text.replace('_', "").parse().map(Count);
                number.map_err(|_| format!("{text:?} is no whole number"))
            }
        }
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cache {
    pub sampled_cache_size: Option<Count>,
    pub non_sampled_cache_size: Option<Count>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    pub name: String,
    #[serde(rename = "type")]
    kind: String,
    latency: Option<Latency>,
    numeric_attribute: Option<NumericAttribute>,
    probabilistic: Option<Probabilistic>,
    status_code: Option<StatusCodes>,
    string_attribute: Option<StringAttribute>,
    boolean_attribute: Option<BooleanAttribute>,
    rate_limiting: Option<RateLimiting>,
    bytes_limiting: Option<BytesLimiting>,
    span_count: Option<SpanCount>,
    trace_state: Option<TraceState>,
    ottl_condition: Option<Conditions>,
    and: Option<And>,
    not: Option<Not>,
    drop: Option<Drop>,
    composite: Option<Composite>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Latency {
    threshold_ms: i64,
    #[serde(default)]
    upper_threshold_ms: i64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NumericAttribute {
    key: String,
    min_value: Option<i64>,
    max_value: Option<i64>,
    #[serde(default)]
    invert_match: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Probabilistic {
    sampling_percentage: f64,
    #[serde(default)]
    hash_salt: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StatusCodes {
    status_codes: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StringAttribute {
    key: String,
    values: Vec<String>,
    #[serde(default)]
    enabled_regex_matching: bool,
    /// Of the collector's cache of regex answers; there is none here.
    #[serde(default, rename = "cache_max_size")]
    _cache_max_size: usize,
    #[serde(default)]
    invert_match: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BooleanAttribute {
    key: String,
    value: bool,
    #[serde(default)]
    invert_match: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RateLimiting {
    spans_per_second: Count,
    #[serde(default)]
    burst_capacity: Count,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BytesLimiting {
    bytes_per_second: Count,
    #[serde(default)]
    burst_capacity: Count,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SpanCount {
    min_spans: usize,
    #[serde(default)]
    max_spans: usize,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TraceState {
    key: String,
    values: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Conditions {
    #[serde(default, rename = "error_mode")]
    _error_mode: Option<ErrorMode>,
    #[serde(default)]
    span: Vec<String>,
    #[serde(default)]
    spanevent: Vec<String>,
}

/// What the collector does where a condition fails; those that are read here do not, so that no mode differs from another.
/// A word that is none is a mistake all the same, there and here.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
struct ErrorMode;

impl TryFrom<String> for ErrorMode {
    type Error = String;

    fn try_from(written: String) -> Result<ErrorMode, String> {
        match written.to_ascii_lowercase().as_str() {
            "ignore" | "silent" | "propagate" => Ok(ErrorMode),
            _ => Err(format!("error_mode is {written:?}; use ignore, silent or propagate")),
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Not {
    not_sub_policy: Box<Written>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Composite {
    max_total_spans_per_second: Count,
    policy_order: Vec<String>,
    composite_sub_policy: Vec<Written>,
    #[serde(default)]
    rate_allocation: Vec<Allocation>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Allocation {
    policy: String,
    percent: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct And {
    and_sub_policy: Vec<Written>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Drop {
    drop_sub_policy: Vec<Written>,
}

/// Ready to be asked.
pub(super) struct Policy {
    pub name: String,
    rule: Rule,
}

enum Rule {
    Always,
    Latency { least_ns: i64, most_ns: Option<i64> },
    Numbers { key: String, least: i64, most: i64, invert: bool },
    Texts { key: String, values: Vec<String>, regexes: Vec<Regex>, invert: bool },
    Truth { key: String, value: bool, invert: bool },
    Status(Vec<StatusCode>),
    Share { highest: u64, salt: String },
    Spans(Bucket),
    Bytes(Bucket),
    Count { least: usize, most: Option<usize> },
    State { key: String, values: Vec<String> },
    Conditions { of_spans: Vec<Condition>, of_events: Vec<Condition> },
    All(Vec<Policy>),
    Not(Box<Policy>),
    Drop(Vec<Policy>),
    Composite(Vec<(Policy, Rate)>),
}

/// Is filled by so much a second, and holds so much at most.
struct Bucket {
    per_second: u64,
    most: u64,
    left: u64,
    filled_s: i64,
}

impl Bucket {
    /// A full one. Where it is not said what it holds, that is what two seconds bring.
    fn of(Count(per_second): Count, Count(burst_capacity): Count) -> Bucket {
        let (per_second, burst_capacity) = (per_second as u64, burst_capacity as u64);
        let most = if burst_capacity > 0 { burst_capacity } else { per_second.saturating_mul(2) };
        Bucket { per_second, most, left: most, filled_s: 0 }
    }

    /// Whether so much is left, which it takes then; else it takes nothing, so that a smaller trace may still be kept.
    fn takes(&mut self, amount: u64, now_s: i64) -> bool {
        let seconds = u64::try_from(now_s.saturating_sub(self.filled_s)).unwrap_or(0);
        // A clock that was set back fills nothing, and is followed.
        self.filled_s = now_s;
        self.left = self.left.saturating_add(seconds.saturating_mul(self.per_second)).min(self.most);
        let takes = amount <= self.left;
        self.left -= if takes { amount } else { 0 };
        takes
    }
}

/// So many spans in each second.
struct Rate {
    spans_per_second: u64,
    second: i64,
    spent: u64,
}

impl Rate {
    fn of(spans_per_second: u64) -> Rate {
        Rate { spans_per_second, second: 0, spent: 0 }
    }

    /// Whether there is room for so many more; what has none takes none, so that a smaller trace may still be kept.
    fn takes(&mut self, spans: u64, now_s: i64) -> bool {
        if self.second != now_s {
            (self.second, self.spent) = (now_s, 0);
        }
        let takes = self.spent.saturating_add(spans) <= self.spans_per_second;
        self.spent += if takes { spans } else { 0 };
        takes
    }
}

/// What a policy says of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    Keep,
    Nothing,
    /// Whatever the others say.
    Refuse,
}

/// Policies inside one another.
const DEPTH_MAX: usize = 4;

impl Written {
    pub fn policy(self, depth: usize) -> Result<Policy, String> {
        let name = self.name.clone();
        let rule = self.rule(depth).map_err(|wrong| format!("policy {name:?}: {wrong}"))?;
        Ok(Policy { name, rule })
    }

    fn rule(self, depth: usize) -> Result<Rule, String> {
        if depth > DEPTH_MAX {
            return Err(format!("policies are at most {DEPTH_MAX} inside one another"));
        }
        let kind = self.kind.as_str();
        let missing = || format!("type {kind} needs the key {kind:?}");
        let inner = |policies: Vec<Written>| -> Result<Vec<Policy>, String> {
            policies.into_iter().map(|policy| policy.policy(depth + 1)).collect()
        };
        Ok(match kind {
            "always_sample" => Rule::Always,
            "latency" => {
                let latency = self.latency.ok_or_else(missing)?;
                let ns = |ms: i64| ms.saturating_mul(1_000_000);
                let most_ns = (latency.upper_threshold_ms > 0).then(|| ns(latency.upper_threshold_ms));
                Rule::Latency { least_ns: ns(latency.threshold_ms), most_ns }
            }
            "numeric_attribute" => {
                let of = self.numeric_attribute.ok_or_else(missing)?;
                let (least, most) = (of.min_value.unwrap_or(i64::MIN), of.max_value.unwrap_or(i64::MAX));
                Rule::Numbers { key: of.key, least, most, invert: of.invert_match }
            }
            "string_attribute" => {
                let of = self.string_attribute.ok_or_else(missing)?;
                let regex = |text: &String| Regex::new(text).map_err(|wrong| format!("{text:?}: {wrong}"));
                let regexes = match of.enabled_regex_matching {
                    true => of.values.iter().map(regex).collect::<Result<_, _>>()?,
                    false => vec![],
                };
                Rule::Texts { key: of.key, values: of.values, regexes, invert: of.invert_match }
            }
            "boolean_attribute" => {
                let of = self.boolean_attribute.ok_or_else(missing)?;
                Rule::Truth { key: of.key, value: of.value, invert: of.invert_match }
            }
            "status_code" => {
                let codes = self.status_code.ok_or_else(missing)?.status_codes;
                let known = |code: &String| {
                    StatusCode::from_word(&code.to_ascii_lowercase())
                        .ok_or_else(|| format!("status code {code:?} is none; use OK, ERROR or UNSET"))
                };
                Rule::Status(codes.iter().map(known).collect::<Result<_, _>>()?)
            }
            "probabilistic" => {
                let of = self.probabilistic.ok_or_else(missing)?;
                if !(0.0..=100.0).contains(&of.sampling_percentage) {
                    return Err("sampling_percentage is from 0 to 100".to_owned());
                }
                let highest = (of.sampling_percentage / 100.0 * u64::MAX as f64) as u64;
                Rule::Share { highest, salt: of.hash_salt }
            }
            "rate_limiting" => {
                let of = self.rate_limiting.ok_or_else(missing)?;
                Rule::Spans(Bucket::of(of.spans_per_second, of.burst_capacity))
            }
            "bytes_limiting" => {
                let of = self.bytes_limiting.ok_or_else(missing)?;
                Rule::Bytes(Bucket::of(of.bytes_per_second, of.burst_capacity))
            }
            "span_count" => {
                let of = self.span_count.ok_or_else(missing)?;
                Rule::Count { least: of.min_spans, most: (of.max_spans > 0).then_some(of.max_spans) }
            }
            "trace_state" => {
                let TraceState { key, values } = self.trace_state.ok_or_else(missing)?;
                Rule::State { key, values }
            }
            "ottl_condition" => {
                let Conditions { span, spanevent, .. } = self.ottl_condition.ok_or_else(missing)?;
                if span.is_empty() && spanevent.is_empty() {
                    return Err("neither span nor spanevent has a condition".to_owned());
                }
                let read = |texts: Vec<String>, about| -> Result<Vec<Condition>, String> {
                    texts.iter().map(|text| Condition::read(text, about)).collect()
                };
                let (of_spans, of_events) = (read(span, About::Span)?, read(spanevent, About::Event)?);
                Rule::Conditions { of_spans, of_events }
            }
            "and" => Rule::All(inner(self.and.ok_or_else(missing)?.and_sub_policy)?),
            "not" => Rule::Not(Box::new(self.not.ok_or_else(missing)?.not_sub_policy.policy(depth + 1)?)),
            "drop" => Rule::Drop(inner(self.drop.ok_or_else(missing)?.drop_sub_policy)?),
            "composite" => Rule::Composite(self.composite.ok_or_else(missing)?.policies(depth + 1)?),
            other => {
                return Err(format!(
                    "type {other:?} is not known; use always_sample, latency, numeric_attribute, probabilistic, \
                     status_code, string_attribute, rate_limiting, bytes_limiting, boolean_attribute, span_count, \
                     trace_state, ottl_condition, and, not, drop, composite"
                ));
            }
        })
    }
}

impl Composite {
    /// In their order, each with its share of what a second may have; where none is given, all have the same.
    fn policies(self, depth: usize) -> Result<Vec<(Policy, Rate)>, String> {
        let Composite {
            max_total_spans_per_second: Count(most),
            policy_order,
            composite_sub_policy,
            rate_allocation,
        } = self;
        let most = most as u64;
        let same = most / composite_sub_policy.len().max(1) as u64;
        let mut policies: Vec<Policy> =
            composite_sub_policy.into_iter().map(|policy| policy.policy(depth)).collect::<Result<_, _>>()?;
        let ordered = policy_order.into_iter().map(|name| -> Result<(Policy, Rate), String> {
            let at = policies.iter().position(|policy| policy.name == name);
            let at = at.ok_or_else(|| format!("policy_order names {name:?}, which is no policy of it"))?;
            let share = rate_allocation.iter().find(|share| share.policy == name && share.percent > 0);
            let rate = share.map_or(same, |share| most.saturating_mul(share.percent) / 100);
            Ok((policies.swap_remove(at), Rate::of(rate)))
        });
        let ordered: Vec<_> = ordered.collect::<Result<_, _>>()?;
        match policies.first() {
            Some(left) => Err(format!("policy_order does not name {:?}", left.name)),
            None => Ok(ordered),
        }
    }
}

impl Policy {
    /// Of a whole trace, at a time in seconds.
    pub fn ask(&mut self, trace: &TraceId, parts: &[Part], now_s: i64) -> Says {
        let keep = |keeps: bool| if keeps { Says::Keep } else { Says::Nothing };
        // A match that is turned round keeps what does not match, and refuses what does.
        let turned = |invert: bool, found: bool| match (invert, found) {
            (false, found) => keep(found),
            (true, true) => Says::Refuse,
            (true, false) => Says::Keep,
        };
        let spans = || parts.iter().flat_map(|part| &part.spans);
        match &mut self.rule {
            Rule::Always => Says::Keep,
            Rule::Latency { least_ns, most_ns } => {
                let start = spans().map(|span| span.start_ns).min().unwrap_or(0);
                let end =
                    spans().map(|span| span.start_ns.saturating_add(span.duration_ns)).max().unwrap_or(0);
                let took = end.saturating_sub(start);
                keep(took >= *least_ns && most_ns.is_none_or(|most| took <= most))
            }
            Rule::Numbers { key, least, most, invert } => {
                let within = |number: f64| (*least as f64..=*most as f64).contains(&number);
                let fits = |value: &Value| match value {
                    Value::Int(number) => (*least..=*most).contains(number),
                    Value::Double(number) => within(*number),
                    _ => false,
                };
                turned(*invert, any_value(parts, key, fits))
            }
            Rule::Texts { key, values, regexes, invert } => {
                let fits = |value: &Value| match value.as_str() {
                    None => false,
                    Some(text) if regexes.is_empty() => values.iter().any(|wanted| wanted == text),
                    Some(text) => regexes.iter().any(|regex| regex.is_match(text)),
                };
                turned(*invert, any_value(parts, key, fits))
            }
            Rule::Truth { key, value, invert } => {
                let fits = |found: &Value| matches!(found, Value::Bool(truth) if truth == value);
                turned(*invert, any_value(parts, key, fits))
            }
            Rule::Status(codes) => keep(spans().any(|span| codes.contains(&span.status))),
            Rule::Share { highest, salt } => keep(hashed(salt, trace) <= *highest),
            Rule::Spans(bucket) => keep(bucket.takes(spans().count() as u64, now_s)),
            Rule::Bytes(bucket) => {
                keep(bucket.takes(parts.iter().map(crate::size::of_part).sum::<usize>() as u64, now_s))
            }
            Rule::Count { least, most } => {
                let count = spans().count();
                keep(count >= *least && most.is_none_or(|most| count <= most))
            }
            Rule::State { key, values } => {
                let mut members = spans().flat_map(|span| span.trace_state.split(','));
                keep(members.any(|member| match member.trim().split_once('=') {
                    Some((name, value)) => {
                        name == key.as_str() && values.iter().any(|wanted| wanted == value)
                    }
                    None => false,
                }))
            }
            Rule::Conditions { of_spans, of_events } => {
                let any = |of: &[Condition], place: Place<'_>| of.iter().any(|one| one.holds(place));
                let (of_spans, of_events) = (&of_spans[..], &of_events[..]);
                keep(parts.iter().any(|part| {
                    part.spans.iter().any(|span| {
                        let place = Place { part, span, event: None };
                        let mut events = span.events.iter();
                        any(of_spans, place)
                            || events.any(|event| any(of_events, Place { event: Some(event), ..place }))
                    })
                }))
            }
            Rule::Not(policy) => keep(policy.ask(trace, parts, now_s) != Says::Keep),
            Rule::Composite(policies) => {
                // The first that would keep it decides, even where it has no room left.
                let first = policies.iter_mut().find_map(|(policy, rate)| {
                    (policy.ask(trace, parts, now_s) == Says::Keep).then_some(rate)
                });
                keep(first.is_some_and(|rate| rate.takes(spans().count() as u64, now_s)))
            }
            Rule::All(policies) => {
                keep(policies.iter_mut().all(|p| p.ask(trace, parts, now_s) == Says::Keep))
            }
            Rule::Drop(policies) => {
                match policies.iter_mut().all(|p| p.ask(trace, parts, now_s) == Says::Keep) {
                    true => Says::Refuse,
                    false => Says::Nothing,
                }
            }
        }
    }
}

/// Of any span, or of its resource.
fn any_value(parts: &[Part], key: &str, fits: impl Fn(&Value) -> bool) -> bool {
    parts.iter().any(|part| {
        attribute(&part.resource, key).is_some_and(&fits)
            || part.spans.iter().any(|span| span.attributes.get(key).is_some_and(|value| fits(&value)))
    })
}

/// FNV-1a: the same for a trace wherever it is decided, and the collector's.
fn hashed(salt: &str, trace: &TraceId) -> u64 {
    let salt = if salt.is_empty() { "default-hash-seed" } else { salt };
    salt.bytes()
        .chain(*trace)
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// `10s`, `500ms`, `1m30s`.
pub(super) fn duration(key: &str, text: &str) -> Result<Duration, String> {
    let wrong = || format!("{key} is {text:?}; write a duration as 10s or 500ms");
    let (mut rest, mut sum) = (text, 0.0);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        sum += number
            * match &rest[..unit] {
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3_600.0,
                _ => return Err(wrong()),
            };
        rest = &rest[unit..];
    }
    if text.is_empty() || sum > 86_400.0 { Err(wrong()) } else { Ok(Duration::from_secs_f64(sum)) }
}
