//! What is done with the lines of a container before they are sent: joined, dropped, redacted, sampled, limited. Rules
//! come from a file and name containers by globs; a pod's annotations add to them.
//!
//! ```yaml
//! rules:
//!   - match: { namespace: "shop-*", container: cart }   # globs; what is not named matches all
//!     multiline: java                                    # traces (default), java, node, dotnet, ruby, python, go, none, or {start: "^\\d{4}"}
//!     drop: ["GET /health"]                              # regexes; a line that matches one goes
//!     keep: ["order"]                                    # with these only lines that match one stay
//!     redact: [{ pattern: "\\d{16}", with: "****" }]
//!     sample: 0.1                                        # share that is kept
//!     script: |                                          # a program, see `script.rs`; what it leaves goes on to limit and redaction
//!       if matches(line, "GET /(health|ready)") { drop() }
//!     on_error: drop                                     # a line at which the script fails: keep (default) sends it as it was
//!     lines_per_second: 1000                             # of each namespace
//! ```

mod mistake;

use super::counts::Counts;
use super::find::{Container, matches};
use super::multiline::{Joining, Kind};
use super::script::{Mistake, OnError, Script, Scripts, Treated, mistake_in_regex};
use crate::pods::Pod;
use mistake::{Mistakes, Wrong};
use model::{Attributes, Labels};
use parking_lot::Mutex;
use regex::bytes::Regex;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tracing::warn;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    rules: Vec<Written>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    r#match: Names,
    multiline: Option<Multiline>,
    drop: Vec<String>,
    keep: Vec<String>,
    redact: Vec<WrittenRedaction>,
    sample: Option<f64>,
    script: Option<String>,
    on_error: Option<OnError>,
    lines_per_second: Option<f64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Names {
    namespace: Option<String>,
    pod: Option<String>,
    container: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "multiline is a language or {start: regex}")]
enum Multiline {
    Named(String),
    Start { start: String },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRedaction {
    pattern: String,
    with: String,
}

/// Compiled.
#[derive(Clone, Debug, Default)]
pub struct Rules(Vec<Rule>);

#[derive(Clone, Debug)]
struct Rule {
    names: Names,
    joining: Option<Joining>,
    drop: Vec<Regex>,
    keep: Vec<Regex>,
    redact: Vec<(Regex, Vec<u8>)>,
    sample: Option<f64>,
    script: Option<Arc<Script>>,
    lines_per_second: Option<f64>,
}

impl Rules {
    pub fn parse(text: &str) -> Result<Rules, Mistakes> {
        let file: File = serde_yaml_ng::from_str(text).map_err(|wrong| Mistakes::of_file(&wrong))?;
        let (mut rules, mut mistakes) = (vec![], vec![]);
        for (number, written) in (1..).zip(file.rules) {
            match written.compiled(number) {
                Ok(rule) => rules.push(rule),
                Err(wrong) => mistakes.extend(wrong.into_iter().map(|wrong| (number, wrong))),
            }
        }
        if mistakes.is_empty() { Ok(Rules(rules)) } else { Err(Mistakes::of_rules(text, mistakes)) }
    }

    /// What is done with a container's lines; `None` where the pod wants them left alone.
    pub fn treatment(&self, container: &Container, pod: Option<&Pod>, limits: &Limits) -> Option<Treatment> {
        let mut treatment = Treatment::default();
        let mut rate = None;
        for rule in self.0.iter().filter(|rule| rule.names.are_of(container)) {
            if let Some(joining) = &rule.joining {
                treatment.joining = joining.clone();
            }
            treatment.drop.extend(rule.drop.iter().cloned());
            treatment.keep.extend(rule.keep.iter().cloned());
            treatment.redact.extend(rule.redact.iter().cloned());
            rule.script.iter().for_each(|script| treatment.scripts.add(script));
            treatment.sample = rule.sample.or(treatment.sample);
            rate = rule.lines_per_second.or(rate);
        }
        let annotation = |name: &str| {
            let annotations = &pod?.metadata.annotations;
            let of_container = annotations.get(&format!("{name}.{}", container.name));
            of_container.or_else(|| annotations.get(name)).map(String::as_str)
        };
        let read = |name: &str, wanted: &str, is_known: &dyn Fn(&str) -> bool| {
            let value = annotation(name)?;
            if !is_known(value) {
                limits.refuse(container, name, value, wanted);
            }
            Some(value)
        };
        let is_word = |value: &str| matches!(value, "on" | "true" | "off" | "false");
        let logs = read("binnacle.io/logs", "on or off", &is_word);
        if matches!(logs, Some("off" | "false")) || annotation("fluentbit.io/exclude") == Some("true") {
            return None;
        }
        let joining = read("binnacle.io/logs-multiline", LANGUAGES, &|value| named(value).is_some());
        if let Some(joining) = joining.and_then(named) {
            treatment.joining = joining;
        }
        let sample =
            read("binnacle.io/logs-sample", "a share between 0 and 1", &|value| share(value).is_some());
        treatment.sample = sample.and_then(share).or(treatment.sample);
        treatment.limit = rate.map(|rate| limits.of(&container.namespace, rate));
        Some(treatment)
    }
}

impl Names {
    fn are_of(&self, container: &Container) -> bool {
        let is = |glob: &Option<String>, name: &str| glob.as_ref().is_none_or(|glob| matches(glob, name));
        is(&self.namespace, &container.namespace)
            && is(&self.pod, &container.pod)
            && is(&self.container, &container.name)
    }
}

impl Written {
    /// All that is wrong with it, else.
    fn compiled(self, number: usize) -> Result<Rule, Vec<Wrong>> {
        let mut wrong = vec![];
        let mut regex = |key: &'static str, text: &str| {
            let refused = |why: regex::Error| Wrong {
                key,
                value: text.to_owned(),
                within: None,
                text: mistake_in_regex(text, &why),
            };
            Regex::new(text).map_err(|why| wrong.push(refused(why))).ok()
        };
        let drop = self.drop.iter().filter_map(|text| regex("drop", text.as_str())).collect();
        let keep = self.keep.iter().filter_map(|text| regex("keep", text.as_str())).collect();
        let redact = self.redact.iter();
        let redact =
            redact.filter_map(|one| Some((regex("redact", &one.pattern)?, one.with.clone().into_bytes())));
        let redact = redact.collect();
        let start = match &self.multiline {
            Some(Multiline::Start { start }) => regex("multiline", start),
            _ => None,
        };
        let mut refuse = |key: &'static str, value: &str, text: String| {
            wrong.push(Wrong { key, value: value.to_owned(), within: None, text });
        };
        let joining = match self.multiline {
            Some(Multiline::Named(name)) => {
                let joining = named(&name);
                if joining.is_none() {
                    let text =
                        format!("multiline {name:?} is not known; use {LANGUAGES} or {{start: regex}}");
                    refuse("multiline", &name, text);
                }
                joining
            }
            _ => start.map(Joining::Starts),
        };
        if self.sample.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
            refuse("sample", "", "sample is a share between 0 and 1".into());
        }
        if self.lines_per_second.is_some_and(|rate| rate.is_nan() || rate < 0.0) {
            refuse("lines_per_second", "", "lines_per_second is a number of lines, 0 or more".into());
        }
        if self.on_error.is_some() && self.script.is_none() {
            refuse("on_error", "", "on_error is of a script, and there is none".into());
        }
        let script = self.script.and_then(|text| {
            let compiled = Script::compile(&text, number, self.on_error.unwrap_or_default());
            let mistake = |why: Mistake| Wrong {
                key: "script",
                value: text.trim_end().to_owned(),
                within: why.place(),
                text: why.to_string(),
            };
            compiled.map_err(|why| wrong.push(mistake(why))).ok()
        });
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let (names, sample, lines_per_second) = (self.r#match, self.sample, self.lines_per_second);
        Ok(Rule { names, joining, drop, keep, redact, sample, script, lines_per_second })
    }
}

/// Words for [`named`].
const LANGUAGES: &str = "traces, java, node, dotnet, ruby, python, go, none";

fn share(text: &str) -> Option<f64> {
    text.parse().ok().filter(|share| (0.0..=1.0).contains(share))
}

fn named(name: &str) -> Option<Joining> {
    match name {
        "traces" | "auto" => Some(Joining::Traces),
        "java" | "node" | "dotnet" | "ruby" => Some(Joining::Only(Kind::Java)),
        "python" => Some(Joining::Only(Kind::Python)),
        "go" => Some(Joining::Only(Kind::Go)),
        "none" | "off" => Some(Joining::None),
        _ => None,
    }
}

/// What is done with the lines of one container.
#[derive(Debug, Default)]
pub struct Treatment {
    pub joining: Joining,
    drop: Vec<Regex>,
    keep: Vec<Regex>,
    redact: Vec<(Regex, Vec<u8>)>,
    sample: Option<f64>,
    scripts: Scripts,
    limit: Option<Arc<Mutex<Bucket>>>,
}

/// Why a line is not sent; the label of the counter.
pub type Reason = &'static str;

impl Treatment {
    /// Lines as they are.
    pub fn none() -> Treatment {
        Treatment { joining: Joining::None, ..Treatment::default() }
    }

    /// What a script can ask about the container, by stream.
    pub fn name(&mut self, streams: &[(Labels, Attributes)], namespace: &str, counts: &Arc<Counts>) {
        self.scripts.name(streams, namespace, counts);
    }

    /// The line as it is sent, or why it is not.
    pub fn of<'l>(
        &self,
        stream: usize,
        line: &'l [u8],
        ts_ns: i64,
        now_ns: i64,
    ) -> Result<Treated<'l>, Reason> {
        if self.drop.iter().any(|regex| regex.is_match(line))
            || !self.keep.is_empty() && !self.keep.iter().any(|regex| regex.is_match(line))
        {
            return Err("rule");
        }
        if let Some(share) = self.sample {
            // By what it is and not by chance: read again, the same lines stay.
            let hash = xxhash_rust::xxh3::xxh3_64_with_seed(line, ts_ns as u64);
            if hash as f64 >= share * u64::MAX as f64 {
                return Err("sampled");
            }
        }
        // What it drops is not counted as sent.
        let mut treated = self.scripts.of(stream, line)?;
        if self.limit.as_ref().is_some_and(|bucket| !bucket.lock().take(now_ns)) {
            return Err("rate_limited");
        }
        for (regex, with) in &self.redact {
            if let Cow::Owned(changed) = regex.replace_all(&treated.line, with.as_slice()) {
                treated.line = Cow::Owned(changed);
            }
        }
        Ok(treated)
    }
}

/// Lines that a namespace may send: as many as a second has, saved up for no longer than that or one line takes.
#[derive(Debug)]
pub struct Bucket {
    rate: f64,
    lines: f64,
    filled_ns: i64,
}

impl Bucket {
    fn take(&mut self, now_ns: i64) -> bool {
        let passed = (now_ns - self.filled_ns).max(0) as f64 / 1e9;
        self.filled_ns = now_ns;
        let max = if self.rate > 0.0 { self.rate.max(1.0) } else { 0.0 };
        self.lines = (self.lines + passed * self.rate).min(max);
        let is_enough = self.lines >= 1.0;
        self.lines -= f64::from(u8::from(is_enough));
        is_enough
    }
}

/// One bucket a namespace, whatever number of containers it has.
#[derive(Debug, Default)]
pub struct Limits {
    buckets: Mutex<BTreeMap<String, Arc<Mutex<Bucket>>>>,
    /// Annotations that were refused: a workload's pods have them all, and each is looked at often.
    refused: Mutex<BTreeSet<[String; 3]>>,
}

/// Past it, what was told is forgotten and told again.
const REFUSED_MAX: usize = 1_000;

impl Limits {
    fn refuse(&self, container: &Container, name: &str, value: &str, wanted: &str) {
        let Container { namespace, pod, .. } = container;
        let mut refused = self.refused.lock();
        if refused.len() >= REFUSED_MAX {
            refused.clear();
        }
        if refused.insert([namespace.as_str(), name, value].map(str::to_owned)) {
            warn!(
                namespace,
                pod,
                annotation = name,
                value,
                wanted,
                "an annotation is not understood and not used"
            );
        }
    }

    fn of(&self, namespace: &str, rate: f64) -> Arc<Mutex<Bucket>> {
        let mut buckets = self.buckets.lock();
        let new = || Arc::new(Mutex::new(Bucket { rate, lines: rate, filled_ns: 0 }));
        let bucket = buckets.entry(namespace.to_owned()).or_insert_with(new).clone();
        bucket.lock().rate = rate;
        bucket
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container() -> Container {
        Container { namespace: "shop-a".into(), pod: "p".into(), uid: "u".into(), name: "cart".into() }
    }

    fn treatment(text: &str) -> Treatment {
        Rules::parse(text).unwrap().treatment(&container(), None, &Limits::default()).unwrap()
    }

    #[test]
    fn lines_are_dropped_kept_and_redacted() {
        let rules = "rules: [{match: {namespace: 'shop-*'}, drop: [health], keep: [order], redact: [{pattern: '\\d{4}', with: '#'}]}]";
        let treatment = treatment(rules);
        assert_eq!(treatment.of(0, b"order 1234 5678", 0, 0).unwrap().line.as_ref(), b"order # #");
        assert_eq!(treatment.of(0, b"order health", 0, 0), Err("rule"));
        assert_eq!(treatment.of(0, b"other", 0, 0), Err("rule"));
        let other = "rules: [{match: {namespace: 'bank'}, drop: ['.*']}]";
        assert!(self::treatment(other).of(0, b"x", 0, 0).is_ok());
    }

    #[test]
    fn samples_and_rates_keep_their_share() {
        let sampled = treatment("rules: [{sample: 0.25}]");
        let kept = (0..4_000).filter(|ts| sampled.of(0, b"line", *ts, 0).is_ok()).count();
        assert!((900..1_100).contains(&kept), "{kept}");
        assert_eq!(
            sampled.of(0, b"line", 7, 0),
            sampled.of(0, b"line", 7, 99),
            "the same line, the same fate"
        );
        let limited = treatment("rules: [{lines_per_second: 10}]");
        let at = |now_ns: i64| (0..50).filter(|_| limited.of(0, b"x", 0, now_ns).is_ok()).count();
        assert_eq!((at(1_000_000_000), at(1_500_000_000), at(9_000_000_000)), (10, 5, 10));
        let rare = treatment("rules: [{lines_per_second: 0.5}]");
        let at = |now_ns: i64| (0..50).filter(|_| rare.of(0, b"x", 0, now_ns).is_ok()).count();
        assert_eq!((at(9_000_000_000), at(10_000_000_000), at(11_000_000_000)), (1, 0, 1));
    }

    #[test]
    fn a_pod_says_for_itself() {
        let pod = |annotations: &str| -> Pod {
            serde_json::from_str(&format!(r#"{{"metadata":{{"annotations":{annotations}}}}}"#)).unwrap()
        };
        let of = |annotations| {
            Rules::default().treatment(&container(), Some(&pod(annotations)), &Limits::default())
        };
        assert!(of(r#"{"binnacle.io/logs":"off"}"#).is_none());
        assert!(of(r#"{"binnacle.io/logs.other":"off"}"#).is_some());
        assert!(of(r#"{"fluentbit.io/exclude":"true"}"#).is_none());
        let go = of(r#"{"binnacle.io/logs-multiline.cart":"go","binnacle.io/logs-sample":"0"}"#).unwrap();
        assert!(matches!(go.joining, Joining::Only(Kind::Go)));
        assert_eq!(go.of(0, b"x", 0, 0), Err("sampled"));
        // What is not understood is not used, and told once for all pods that have it.
        let limits = Limits::default();
        let wrong = pod(
            r#"{"binnacle.io/logs":"no","binnacle.io/logs-multiline":"perl","binnacle.io/logs-sample":"10"}"#,
        );
        for _ in 0..2 {
            let treatment = Rules::default().treatment(&container(), Some(&wrong), &limits).unwrap();
            assert!(matches!(treatment.joining, Joining::Traces) && treatment.sample.is_none());
        }
        let refused: Vec<String> = limits.refused.lock().iter().map(|told| told[1..].join("=")).collect();
        let names = ["binnacle.io/logs=no", "binnacle.io/logs-multiline=perl", "binnacle.io/logs-sample=10"];
        assert_eq!(refused, names);
    }

    #[test]
    fn mistakes_name_their_rule() {
        for (text, place) in [
            ("rules: [{}, {drop: ['(']}]", "rule 2: regex \"(\""),
            ("rules: [{multiline: perl}]", "rule 1: multiline \"perl\" is not known"),
            ("rules: [{multiline: {begin: x}}]", "multiline is a language or {start: regex}"),
            ("rules: [{sample: 2}]", "between 0 and 1"),
            ("rules: [{}, {script: \"let a = 1;\\n  a = ;\"}]", "rule 2: script line 2, column 7: "),
            ("rules: [{on_error: drop}]", "rule 1: on_error is of a script"),
            ("rules: [{script: 'drop()', on_error: explode}]", "unknown variant `explode`"),
            ("rules: [{dorp: []}]", "unknown field `dorp`"),
        ] {
            let wrong = Rules::parse(text).unwrap_err().to_string();
            assert!(wrong.contains(place), "{wrong}");
        }
    }

    #[test]
    fn all_mistakes_are_told_where_they_stand() {
        let text = "# ours\nrules:\n  - match: { namespace: a }\n    drop: [\"(abc\", x, \"y[\"]\n    sample: 7\n\
            \n  - match: { pod: b }\n    redact: [{ pattern: \"\\\\d{1\", with: x }]\n    script: |\n      let a = ;\n\
            \n  - { multiline: perl, on_error: drop }\n";
        let wrong = Rules::parse(text).unwrap_err();
        let told: Vec<(usize, usize, &str)> = wrong
            .all()
            .iter()
            .map(|one| (one.line, one.column, one.text.get(..14).unwrap_or(&one.text)))
            .collect();
        let expected = [
            (4, 13, "rule 1: regex "),
            (4, 24, "rule 1: regex "),
            (5, 5, "rule 1: sample"),
            (8, 27, "rule 2: regex "),
            (10, 15, "rule 2: script"),
            (12, 18, "rule 3: multil"),
            (12, 24, "rule 3: on_err"),
        ];
        assert_eq!(told, expected, "{wrong:?}");
        assert_eq!(wrong.all()[0].text, "rule 1: regex \"(abc\": unclosed group", "in one line");
        let wrong = Rules::parse("rules: [{script: 'let a = mathces(line)'}]").unwrap_err().to_string();
        assert_eq!(wrong, "1:27: rule 1: script line 1, column 9: there is no function mathces");
        let wrong = Rules::parse("rules:\n  - match: { a: b").unwrap_err();
        assert_eq!(wrong.all().len(), 1);
        let wrong = Rules::parse("rules:\n  - match: { namespac: b }").unwrap_err().to_string();
        assert!(wrong.starts_with("2:14: rules[0].match: unknown field `namespac`"), "{wrong}");
        assert!(!wrong.contains("at line"), "{wrong}");
    }
}
