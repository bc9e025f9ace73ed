//! A rule group at work: asks what its rules ask, steps its alerts, and hands out series and notifications.
//!
//! Rules of a group are evaluated one after the other, at one and the same time, so that a rule may build on the
//! series of the one before it. States are locked only while they change or are read, never while a query runs.

pub mod view;

use crate::duration;
use crate::notify;
use crate::ruler::Language;
use crate::rules::{self, Kind, Rule, SetBy};
use crate::state::{self, Found, Instance, State, Timing};
use crate::telemetry::Counters;
use crate::template::{self, Template};
use model::{
    Ask, AskError, Batch, Histogram, LabelSetBuilder, Labels, METRIC_NAME, MetricBatch, Sink, Tenant, Write,
    stale_marker,
};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::{debug, warn};

/// Series one rule may produce where its group sets no limit.
const SERIES_MAX: usize = 100_000;
/// Series of a recording rule kept in memory for whoever reads its newest values (SLOs).
const LATEST_MAX: usize = 1_000;
/// `query` in the templates of one alert; more make an evaluation wait on too much.
const TEMPLATE_QUERIES_MAX: usize = 10;

/// What an evaluation needs of the world.
#[derive(Clone)]
pub struct World {
    pub tenant: Tenant,
    /// In the language of the rules at hand.
    pub ask: Arc<dyn Ask>,
    pub ask_logs: Arc<dyn Ask>,
    pub sink: Arc<dyn Sink>,
    pub external_url: String,
    pub alerts_max: usize,
    pub counters: Arc<Counters>,
}

impl World {
    /// As a group sees it: its tenant's data, asked in its language.
    fn of(&self, group: &rules::Group) -> World {
        let Some(SetBy { tenant, language }) = &group.set_by else { return self.clone() };
        let ask = match language {
            Language::PromQl => self.ask.clone(),
            Language::LogQl => self.ask_logs.clone(),
        };
        World { tenant: tenant.clone(), ask, ..self.clone() }
    }
}

pub struct Group {
    pub spec: rules::Group,
    pub interval: Duration,
    rules: Vec<Prepared>,
    states: Mutex<Vec<RuleState>>,
    last: Mutex<(Option<i64>, Duration)>,
}

/// A rule with its templates parsed.
struct Prepared {
    rule: Rule,
    labels: Vec<(String, Text)>,
    annotations: Vec<(String, Text)>,
}

/// A label or annotation: most are plain.
enum Text {
    Plain(String),
    Template(Template),
    /// Cannot come from a checked file; kept so that a mistake is shown rather than hidden.
    Broken(String),
}

#[derive(Clone, Debug, Default)]
pub struct RuleState {
    pub alerts: state::Alerts,
    /// Series written by the last evaluation; those that are gone get a stale marker.
    pub written: HashSet<Labels>,
    /// A recording rule's newest values.
    pub latest: Vec<(Labels, f64)>,
    pub error: Option<String>,
    pub evaluated_ms: Option<i64>,
    pub took: Duration,
}

/// What an evaluation did.
#[derive(Debug, Default)]
pub struct Outcome {
    /// For the receivers: alerts that fire, and those that were resolved lately.
    pub alerts: Vec<notify::Alert>,
    /// An alert changed its state, so the states on disk are old.
    pub changed: bool,
}

impl Group {
    pub fn new(spec: rules::Group, interval_default: Duration) -> Group {
        let rules: Vec<Prepared> = spec.rules.iter().map(Prepared::new).collect();
        let states = vec![RuleState::default(); rules.len()];
        let interval = spec.interval.unwrap_or(interval_default);
        Group { spec, interval, rules, states: Mutex::new(states), last: Mutex::default() }
    }

    /// Names the rules of this group across reloads and restarts; the same rule twice gets a number.
    pub fn rule_keys(&self) -> Vec<String> {
        let mut seen: HashMap<String, usize> = HashMap::new();
        self.rules
            .iter()
            .map(|prepared| {
                let mut identity =
                    format!("{}\n{}\n{}", self.spec.file, self.spec.name, prepared.rule.identity());
                if let Some(SetBy { tenant, language }) = &self.spec.set_by {
                    identity.insert_str(0, &format!("{tenant}\n{}\n", language.as_str()));
                }
                let number = seen.entry(identity.clone()).and_modify(|n| *n += 1).or_insert(0);
                format!("{:032x}-{number}", xxhash_rust::xxh3::xxh3_128(identity.as_bytes()))
            })
            .collect()
    }

    /// Takes over the states of rules that are the same as before.
    pub fn adopt(&self, mut take: impl FnMut(&str) -> Option<RuleState>) {
        let mut states = self.states.lock();
        for (key, state) in self.rule_keys().iter().zip(states.iter_mut()) {
            if let Some(earlier) = take(key) {
                *state = earlier;
            }
        }
    }

    pub fn states(&self) -> Vec<(String, RuleState)> {
        self.rule_keys().into_iter().zip(self.states.lock().iter().cloned()).collect()
    }

    /// The newest values of recording rule number `rule`, unless it failed.
    pub fn latest(&self, rule: usize) -> Option<Vec<(Labels, f64)>> {
        let states = self.states.lock();
        let state = states.get(rule)?;
        state.error.is_none().then(|| state.latest.clone())
    }

    pub fn count(&self, state: State) -> usize {
        let states = self.states.lock();
        states.iter().flat_map(|rule| rule.alerts.iter()).filter(|alert| alert.state == state).count()
    }

    /// How many alerts fire, and the first error of a rule.
    pub fn firing_and_error(&self) -> (usize, Option<String>) {
        let states = self.states.lock();
        let firing =
            |state: &RuleState| state.alerts.iter().filter(|alert| alert.state == State::Firing).count();
        (states.iter().map(firing).sum(), states.iter().find_map(|state| state.error.clone()))
    }

    /// Marks the series of a rule that is in force no more as ended.
    pub async fn end_series(&self, world: &World, state: &RuleState, now_ms: i64) {
        let mut unwritten = Unwritten::default();
        unwritten.add(state.written.iter().map(|gone| (gone.clone(), stale_marker())).collect(), now_ms);
        unwritten.write(&world.of(&self.spec)).await;
    }

    /// The end of rules that are in force no more: what fired is resolved.
    pub fn farewell(&self, rule_key: &str, state: &RuleState, now_ms: i64) -> Vec<notify::Alert> {
        let at = self.rule_keys().iter().position(|key| key == rule_key);
        let query = at.map(|at| self.rules[at].rule.expr.clone()).unwrap_or_default();
        state.alerts.clone().end(now_ms).iter().map(|alert| to_notify(alert, &query)).collect()
    }

    /// Evaluates all rules as of `now_ms`, which must grow from call to call.
    pub async fn evaluate(&self, world: &World, now_ms: i64) -> Outcome {
        let started = Instant::now();
        let world = &world.of(&self.spec);
        let mut outcome = Outcome::default();
        let mut unwritten = Unwritten::default();
        let at_ms = now_ms - duration::ms(self.spec.query_offset);
        for (i, prepared) in self.rules.iter().enumerate() {
            let rule_started = Instant::now();
            if unwritten.is_needed_by(&prepared.rule.expr) {
                unwritten.write(world).await;
            }
            world.counters.evaluations.add(1);
            let evaluated = prepared.evaluate(world, at_ms, now_ms, self.limit(world)).await;
            let mut states = self.states.lock();
            let state = &mut states[i];
            state.evaluated_ms = Some(now_ms);
            state.took = rule_started.elapsed();
            match evaluated {
                Ok(series) => {
                    state.error = None;
                    prepared.settle(state, series, now_ms, &mut unwritten, &mut outcome);
                }
                Err(why) => {
                    world.counters.evaluation_failures.add(1);
                    debug!(
                        group = self.spec.name,
                        rule = prepared.rule.name(),
                        error = why,
                        "rule is not evaluated"
                    );
                    state.error = Some(why);
                }
            }
        }
        unwritten.write(world).await;
        *self.last.lock() = (Some(now_ms), started.elapsed());
        outcome
    }

    fn limit(&self, world: &World) -> Limit {
        match self.spec.limit {
            0 => Limit { alerts: world.alerts_max, series: SERIES_MAX, key: "the built-in limit" },
            limit => Limit { alerts: limit, series: limit, key: "the group's `limit`" },
        }
    }
}

struct Limit {
    alerts: usize,
    series: usize,
    key: &'static str,
}

/// A rule's answer, as the rule wants it.
enum Answered {
    Series(Vec<(Labels, f64)>, Vec<(Labels, Arc<Histogram>)>),
    Alerts(Vec<Found>),
}

impl Prepared {
    fn new(rule: &Rule) -> Prepared {
        let prepare = |texts: &[(String, String)]| {
            texts.iter().map(|(name, text)| (name.clone(), Text::new(text))).collect::<Vec<_>>()
        };
        let plain = |texts: &[(String, String)]| {
            texts.iter().map(|(name, text)| (name.clone(), Text::Plain(text.clone()))).collect::<Vec<_>>()
        };
        let (labels, annotations) = match &rule.kind {
            Kind::Alert { annotations, .. } => (prepare(&rule.labels), prepare(annotations)),
            Kind::Record { .. } => (plain(&rule.labels), vec![]),
        };
        Prepared { rule: rule.clone(), labels, annotations }
    }

    async fn evaluate(
        &self,
        world: &World,
        at_ms: i64,
        now_ms: i64,
        limit: Limit,
    ) -> Result<Answered, String> {
        let answer =
            world.ask.instant(&world.tenant, &self.rule.expr, at_ms).await.map_err(|e| e.to_string())?;
        let histograms = answer.histograms;
        let series = answer.series.into_iter().filter_map(|series| {
            let value = series.points.last()?.value;
            Some((series.labels, value))
        });
        let series: Vec<(Labels, f64)> = series.collect();
        let (max, what) = match self.rule.kind {
            Kind::Alert { .. } => (limit.alerts, "alerts"),
            Kind::Record { .. } => (limit.series, "series"),
        };
        let count = series.len() + histograms.len();
        if count > max {
            return Err(format!("the rule gives {count} {what}; {} is {max}", limit.key));
        }
        match &self.rule.kind {
            Kind::Record { name } => {
                let mut seen = HashSet::new();
                let numbers = self.recorded(name, series, &mut seen)?;
                Ok(Answered::Series(numbers, self.recorded(name, histograms, &mut seen)?))
            }
            Kind::Alert { name, .. } => self.found(world, name, series, now_ms).await.map(Answered::Alerts),
        }
    }

    fn recorded<T>(
        &self,
        name: &str,
        series: Vec<(Labels, T)>,
        seen: &mut HashSet<Labels>,
    ) -> Result<Vec<(Labels, T)>, String> {
        let mut recorded = vec![];
        for (labels, value) in series {
            let mut builder = LabelSetBuilder::from_labels(&labels);
            builder.set(METRIC_NAME, name);
            for (label, text) in &self.labels {
                builder.set(label, text.plain());
            }
            let labels = builder.build();
            if !seen.insert(labels.clone()) {
                return Err(format!(
                    "two series of the answer become one, {labels}; aggregate or keep a label"
                ));
            }
            recorded.push((labels, value));
        }
        Ok(recorded)
    }

    async fn found(
        &self,
        world: &World,
        name: &str,
        series: Vec<(Labels, f64)>,
        now_ms: i64,
    ) -> Result<Vec<Found>, String> {
        let mut seen = HashSet::new();
        let mut queries = HashMap::new();
        let mut all = vec![];
        for (metric, value) in series {
            let mut writer = Writer { world, metric: &metric, value, now_ms, queries: &mut queries };
            let mut builder = LabelSetBuilder::from_labels(&metric);
            builder.remove(METRIC_NAME);
            for (label, text) in &self.labels {
                builder.set(label, &writer.write(text).await);
            }
            builder.set("alertname", name);
            let mut annotations = Vec::with_capacity(self.annotations.len());
            for (annotation, text) in &self.annotations {
                annotations.push((annotation.clone(), writer.write(text).await));
            }
            let labels = builder.build();
            if !seen.insert(labels.clone()) {
                return Err(format!(
                    "two series of the answer become one alert, {labels}; aggregate or keep a label"
                ));
            }
            all.push(Found { labels, annotations, value });
        }
        Ok(all)
    }

    /// Puts an answer into the rule's state, and what follows from it into series and notifications.
    fn settle(
        &self,
        state: &mut RuleState,
        answered: Answered,
        now_ms: i64,
        unwritten: &mut Unwritten,
        outcome: &mut Outcome,
    ) {
        let mut histograms = vec![];
        let mut series = match answered {
            Answered::Series(series, with_histograms) => {
                state.latest = series.iter().take(LATEST_MAX).cloned().collect();
                histograms = with_histograms;
                series
            }
            Answered::Alerts(found) => {
                outcome.changed |= state.alerts.step(now_ms, self.timing(), found);
                let told = state.alerts.iter().filter(|alert| alert.state != State::Pending);
                outcome.alerts.extend(told.map(|alert| to_notify(alert, &self.rule.expr)));
                state.alerts.active().flat_map(alert_series).collect()
            }
        };
        let labels =
            series.iter().map(|(labels, _)| labels).chain(histograms.iter().map(|(labels, _)| labels));
        let written: HashSet<Labels> = labels.cloned().collect();
        series.extend(state.written.difference(&written).map(|gone| (gone.clone(), stale_marker())));
        state.written = written;
        unwritten.add(series, now_ms);
        unwritten.add_histograms(histograms, now_ms);
    }

    fn timing(&self) -> Timing {
        match &self.rule.kind {
            Kind::Alert { hold, keep_firing, .. } => {
                Timing { hold_ms: duration::ms(*hold), keep_firing_ms: duration::ms(*keep_firing) }
            }
            Kind::Record { .. } => Timing { hold_ms: 0, keep_firing_ms: 0 },
        }
    }
}

fn to_notify(alert: &Instance, query: &str) -> notify::Alert {
    notify::Alert {
        labels: alert.labels.clone(),
        annotations: alert.annotations.clone(),
        state: alert.state,
        value: alert.value,
        starts_at_ms: alert.fired_at_ms.unwrap_or(alert.active_at_ms),
        ends_at_ms: alert.resolved_at_ms,
        query: query.to_owned(),
        values: alert.values.iter().copied().collect(),
    }
}

/// The two series Prometheus writes of an alert.
fn alert_series(alert: &Instance) -> [(Labels, f64); 2] {
    let mut state = LabelSetBuilder::from_labels(&alert.labels);
    state.set(METRIC_NAME, "ALERTS").set("alertstate", alert.state.as_str());
    let mut since = LabelSetBuilder::from_labels(&alert.labels);
    since.set(METRIC_NAME, "ALERTS_FOR_STATE");
    [(state.build(), 1.0), (since.build(), (alert.active_at_ms as f64 / 1e3).floor())]
}

impl Text {
    fn new(text: &str) -> Text {
        if !text.contains("{{") {
            return Text::Plain(text.to_owned());
        }
        match Template::parse(text) {
            Ok(template) => Text::Template(template),
            Err(wrong) => Text::Broken(wrong),
        }
    }

    fn plain(&self) -> &str {
        match self {
            Text::Plain(text) | Text::Broken(text) => text,
            Text::Template(_) => "",
        }
    }
}

/// Writes the texts of one alert.
struct Writer<'w> {
    world: &'w World,
    metric: &'w Labels,
    value: f64,
    now_ms: i64,
    /// Answers so far; shared by the alerts of a rule, whose templates ask the same.
    queries: &'w mut HashMap<String, Vec<(Labels, f64)>>,
}

impl Writer<'_> {
    async fn write(&mut self, text: &Text) -> String {
        let template = match text {
            Text::Plain(text) => return text.clone(),
            Text::Broken(why) => return format!("<error expanding template: {why}>"),
            Text::Template(template) => template,
        };
        for _ in 0..=TEMPLATE_QUERIES_MAX {
            let context = template::Context {
                labels: self.metric,
                value: self.value,
                external_url: &self.world.external_url,
                queries: self.queries,
                now_ms: self.now_ms,
            };
            let query = match template.run(&context) {
                Ok(text) => return text,
                Err(template::Failed::Wrong(why)) => return format!("<error expanding template: {why}>"),
                Err(template::Failed::Query(query)) => query,
            };
            match self.world.ask.instant(&self.world.tenant, &query, self.now_ms).await {
                Ok(answer) => {
                    let points =
                        answer.series.into_iter().filter_map(|s| Some((s.labels, s.points.last()?.value)));
                    self.queries.insert(query, points.collect());
                }
                Err(why) => return format!("<error expanding template: {why}>"),
            }
        }
        format!("<error expanding template: more than {TEMPLATE_QUERIES_MAX} queries>")
    }
}

/// Series on their way to the store, gathered so that a group costs one write and not one a rule.
#[derive(Default)]
struct Unwritten {
    batch: MetricBatch,
    names: HashSet<String>,
}

impl Unwritten {
    fn add(&mut self, series: Vec<(Labels, f64)>, now_ms: i64) {
        for (labels, value) in series {
            if !self.names.contains(labels.metric_name()) {
                self.names.insert(labels.metric_name().to_owned());
            }
            self.batch.push_sample(&labels, now_ms, value);
        }
    }

    fn add_histograms(&mut self, series: Vec<(Labels, Arc<Histogram>)>, now_ms: i64) {
        for (labels, histogram) in series {
            self.names.insert(labels.metric_name().to_owned());
            self.batch.push_histograms(&labels, &[(now_ms, (*histogram).clone())]);
        }
    }

    /// Whether a query may read what is not written yet. Rather once too often: a name in a text is enough.
    fn is_needed_by(&self, expr: &str) -> bool {
        !self.names.is_empty()
            && (expr.contains(METRIC_NAME) || self.names.iter().any(|name| expr.contains(name.as_str())))
    }

    /// What is refused is lost, as with a scrape that failed: the next evaluation writes again.
    async fn write(&mut self, world: &World) {
        if self.batch.is_empty() {
            return;
        }
        self.names.clear();
        let batch = std::mem::take(&mut self.batch);
        let samples = batch.samples() as u64;
        let write = Write { tenant: world.tenant.clone(), batch: Batch::Metrics(batch), origin: None };
        match world.sink.write(write).await {
            Ok(receipt) => {
                world.counters.samples_written.add(receipt.accepted);
                if let Some(rejection) = receipt.rejected.first() {
                    warn!(
                        example = rejection.example,
                        count = receipt.rejected_count(),
                        "results of rules are rejected"
                    );
                }
            }
            Err(refused) => {
                world.counters.write_failures.add(1);
                warn!(error = %refused, samples, "results of rules are not written");
            }
        }
    }
}

/// Checks a query for a file that is being loaded. A query role that cannot be reached finds no fault.
pub async fn check_query(ask: &dyn Ask, query: &str) -> Result<(), String> {
    match ask.check(query).await {
        Err(AskError::BadQuery(why)) => Err(why),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
