//! What there is to ask for: series, label names and values, metadata.

use crate::room::Held;
use crate::{Engine, QueryError};
use ::promql::{Expr, Modifiers, Node};
use model::{Labels, Matcher, Metadata, SeriesSelect, Tenant, TimeRange};
use std::collections::{BTreeSet, HashMap};
use store::SeriesInfo;

/// Names or label sets, and why they may not be all.
pub struct Found<T> {
    pub found: Vec<T>,
    pub warnings: Vec<String>,
    pub held: Held,
}

/// How many series there are, and what makes them many.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cardinality {
    pub series: u64,
    pub label_pairs: u64,
    /// Milliseconds of the oldest and the newest sample; 0 where there is none.
    pub first_ms: i64,
    pub last_ms: i64,
    /// The largest first.
    pub series_by_metric: Vec<(String, u64)>,
    pub values_by_label: Vec<(String, u64)>,
    pub bytes_by_label: Vec<(String, u64)>,
    pub series_by_pair: Vec<(String, u64)>,
}

impl Engine {
    /// Counts all series of a tenant; lists have `top` rows.
    pub async fn prom_cardinality(&self, tenant: &Tenant, top: usize) -> Result<Cardinality, QueryError> {
        let snapshot = self.source.snapshot(tenant).await?;
        let room = self.room();
        let all = SeriesSelect { matchers: vec![], range: TimeRange::ALL };
        let series = snapshot.series(&all, &room).await?;
        // Counting keeps about as much again: a place for each value of a label.
        room.take(room.bytes())?;
        self.off_thread(async move {
            let _until_counted = room;
            Ok(cardinality(&series, top))
        })
        .await
    }

    /// Label sets with samples in the range that pass one of the selectors (texts as `up{job="x"}`); all where there is
    /// none. Sorted, each once.
    pub async fn prom_series(
        &self,
        tenant: &Tenant,
        selectors: &[String],
        range: TimeRange,
    ) -> Result<Found<Labels>, QueryError> {
        let one = selectors.len() <= 1;
        let snapshot = self.source.snapshot(tenant).await?;
        let room = self.room();
        let mut found: Vec<SeriesInfo> = vec![];
        for matchers in selections(selectors)? {
            found.append(&mut snapshot.series(&SeriesSelect { matchers, range }, &room).await?);
            if found.len() > self.limits.rows_max {
                return Err(QueryError::TooMuch(format!(
                    "more than {} series (query.rows_max); narrow the selector or the range",
                    self.limits.rows_max
                )));
            }
        }
        // The parts of a histogram are one series to whoever asks.
        let in_parts = found.iter().any(|series| model::component_of(&series.labels).is_some());
        let labels = found.into_iter().map(|series| model::without_component(&series.labels));
        // Of one selection, series come sorted already.
        let labels = match one && !in_parts {
            true => labels.collect(),
            false => labels.collect::<BTreeSet<_>>().into_iter().collect(),
        };
        Ok(Found { found: labels, warnings: snapshot.warnings(), held: room.into() })
    }

    /// Names of labels of such series, sorted.
    pub async fn prom_label_names(
        &self,
        tenant: &Tenant,
        selectors: &[String],
        range: TimeRange,
    ) -> Result<Found<String>, QueryError> {
        let snapshot = self.source.snapshot(tenant).await?;
        let room = self.room();
        let mut found = BTreeSet::new();
        for matchers in selections(selectors)? {
            found.append(&mut snapshot.label_names(&SeriesSelect { matchers, range }, &room).await?);
        }
        found.remove(model::COMPONENT);
        Ok(Found { found: found.into_iter().collect(), warnings: snapshot.warnings(), held: room.into() })
    }

    /// Values of a label of such series, sorted.
    pub async fn prom_label_values(
        &self,
        tenant: &Tenant,
        name: &str,
        selectors: &[String],
        range: TimeRange,
    ) -> Result<Found<String>, QueryError> {
        let snapshot = self.source.snapshot(tenant).await?;
        let room = self.room();
        let mut found = BTreeSet::new();
        for matchers in selections(selectors)?.into_iter().filter(|_| name != model::COMPONENT) {
            found.append(&mut snapshot.label_values(name, &SeriesSelect { matchers, range }, &room).await?);
        }
        Ok(Found { found: found.into_iter().collect(), warnings: snapshot.warnings(), held: room.into() })
    }

    /// What senders said of metrics, by name.
    pub async fn prom_metadata(&self, tenant: &Tenant) -> Result<Vec<Metadata>, QueryError> {
        Ok(self.source.snapshot(tenant).await?.metadata().await?)
    }
}

/// Everything where there is no selector.
fn selections(selectors: &[String]) -> Result<Vec<Vec<Matcher>>, QueryError> {
    match selectors {
        [] => Ok(vec![vec![]]),
        texts => texts.iter().map(|text| selector_matchers(text)).collect(),
    }
}

fn cardinality(series: &[SeriesInfo], top: usize) -> Cardinality {
    let mut metrics: HashMap<&str, u64> = HashMap::new();
    let mut labels: HashMap<&str, HashMap<&str, u64>> = HashMap::new();
    let mut count = 0;
    // A histogram is one series, whatever it is stored as: the part that each has once stands for it.
    for info in series.iter().filter(|info| model::component_of(&info.labels).is_none_or(model::is_meta)) {
        count += 1;
        *metrics.entry(info.labels.metric_name()).or_default() += 1;
        for (name, value) in info.labels.iter().filter(|(name, _)| *name != model::COMPONENT) {
            *labels.entry(name).or_default().entry(value).or_default() += 1;
        }
    }
    let largest = |mut rows: Vec<(String, u64)>| {
        rows.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        rows.truncate(top);
        rows
    };
    let by_label = |of: &dyn Fn(&HashMap<&str, u64>) -> u64| {
        largest(labels.iter().map(|(name, values)| ((*name).to_owned(), of(values))).collect())
    };
    let pairs = labels.iter().flat_map(|(name, values)| {
        values.iter().map(move |(value, count)| (format!("{name}={value}"), *count))
    });
    Cardinality {
        series: count,
        label_pairs: labels.values().map(|values| values.len() as u64).sum(),
        first_ms: series.iter().map(|info| info.first_ms).min().unwrap_or(0),
        last_ms: series.iter().map(|info| info.last_ms).max().unwrap_or(0),
        series_by_metric: largest(
            metrics.into_iter().map(|(name, count)| (name.to_owned(), count)).collect(),
        ),
        values_by_label: by_label(&|values| values.len() as u64),
        bytes_by_label: by_label(&|values| values.keys().map(|value| value.len() as u64).sum()),
        series_by_pair: largest(pairs.collect()),
    }
}

/// What a text like `up{job="x"}` selects.
pub fn selector_matchers(selector: &str) -> Result<Vec<Matcher>, QueryError> {
    let parsed = ::promql::parse(selector);
    let parsed =
        parsed.map_err(|wrong| QueryError::Bad(format!("invalid parameter \"match[]\": {wrong}")))?;
    match parsed {
        Expr { node: Node::Selector(selector), .. } if selector.modifiers == Modifiers::default() => {
            Ok(selector.matchers)
        }
        _ => Err(QueryError::Bad(format!("{selector:?} is no series selector; write it as up{{job=\"x\"}}"))),
    }
}
