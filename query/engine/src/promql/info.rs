//! `info(v, {…})`: series get the labels of the info metrics that describe their target: same `job`, same `instance`.

use super::matrix::{Matrix, Row, Sample, Series};
use super::node::{Node, same_labels};
use super::scan::Scan;
use crate::QueryError;
use crate::room::Room;
use model::{LabelSetBuilder, Labels, METRIC_NAME, Match, Matcher};
use std::collections::{BTreeMap, BTreeSet, HashMap};

const IDENTIFYING: [&str; 2] = ["instance", "job"];

/// Input: the vector. The info metrics are read when it is known which targets there are.
#[derive(Debug)]
pub(super) struct Info {
    /// Of the second argument; `None` where there is none.
    pub matchers: Option<Vec<Matcher>>,
    /// Reads the time of the last sample; its matchers are set here.
    pub scan: Scan,
}

#[async_trait::async_trait]
impl Node for Info {
    fn name(&self) -> &'static str {
        "PromInfo"
    }

    async fn evaluate(&self, inputs: Vec<Matrix>, room: &Room) -> Result<Matrix, QueryError> {
        let Some(base) = inputs.into_iter().next() else { return Ok(Matrix::default()) };
        let names = self.names()?;
        // What is an info metric itself stays as it is.
        let is_info = |series: &Series| names.iter().all(|name| name.matches(series.labels.metric_name()));
        let data: Vec<&Matcher> = self.data().collect();
        let info = self.info(&base, &names, &data, &is_info, room).await?;
        let infos = by_target(&info);
        let mut out: Vec<(Labels, bool, Row)> = vec![];
        let mut known: HashMap<Labels, usize> = HashMap::new();
        let steps = self.scan.times.count;
        for series in &base.0 {
            let as_it_is = is_info(series);
            let target = target_of(&series.labels);
            for step in 0..steps {
                let Some(sample) = series.at(step) else { continue };
                let labels = match as_it_is {
                    true => series.labels.clone(),
                    false => match enriched(&series.labels, infos.get(&target), &info, step, &data)? {
                        Some(labels) => labels,
                        None => continue,
                    },
                };
                let row = *known.entry(labels.clone()).or_insert_with(|| {
                    out.push((labels, series.drop_name, Row::new(steps)));
                    out.len() - 1
                });
                if out[row].2.is_set(step) {
                    return Err(same_labels());
                }
                out[row].2.set(step, sample);
            }
        }
        let series = out.into_iter().map(|(labels, drop_name, row)| row.series(labels, drop_name));
        Ok(Matrix(series.collect()).without_empty())
    }
}

impl Info {
    /// Which metrics are info metrics: `target_info` where nothing is said, any `…_info` where only exceptions are.
    fn names(&self) -> Result<Vec<Matcher>, QueryError> {
        let given = self.matchers.iter().flatten().filter(|matcher| matcher.name == METRIC_NAME);
        let given: Vec<Matcher> = given.cloned().collect();
        if given.is_empty() {
            return Ok(vec![Matcher::equal(METRIC_NAME, "target_info")]);
        }
        if given.iter().any(|matcher| matches!(matcher.op, Match::Equal | Match::Regex)) {
            return Ok(given);
        }
        Ok([vec![regex(METRIC_NAME, ".+_info")?], given].concat())
    }

    /// What is asked of the labels that info metrics give.
    fn data(&self) -> impl Iterator<Item = &Matcher> {
        self.matchers.iter().flatten().filter(|matcher| matcher.name != METRIC_NAME)
    }

    async fn info(
        &self,
        base: &Matrix,
        names: &[Matcher],
        data: &[&Matcher],
        is_info: &(impl Fn(&Series) -> bool + Sync),
        room: &Room,
    ) -> Result<Matrix, QueryError> {
        let mut targets: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for series in base.0.iter().filter(|series| !is_info(series)) {
            for name in IDENTIFYING {
                if let Some(value) = series.labels.get(name) {
                    targets.entry(name).or_default().insert(value);
                }
            }
        }
        if targets.is_empty() {
            return Ok(Matrix::default());
        }
        let mut matchers = names.to_vec();
        for (name, values) in targets {
            let values: Vec<String> = values.into_iter().map(regex::escape).collect();
            matchers.push(regex(name, &values.join("|"))?);
        }
        matchers.extend(data.iter().map(|matcher| (*matcher).clone()));
        let scan = Scan { matchers, ..self.scan.clone() };
        let found = scan.evaluate(vec![], room).await?;
        match found.0.iter().find(|series| !series.histograms.is_empty()) {
            Some(series) => Err(QueryError::Execution(format!(
                "this should be an info metric, with float samples: {}",
                series.labels
            ))),
            None => Ok(found),
        }
    }
}

fn regex(name: &str, value: &str) -> Result<Matcher, QueryError> {
    Matcher::new(name, Match::Regex, value).map_err(|wrong| QueryError::Execution(wrong.to_string()))
}

fn target_of(labels: &Labels) -> Labels {
    labels.without(|name| !IDENTIFYING.contains(&name))
}

/// By target, then by metric: the places of info series.
type Infos = HashMap<Labels, BTreeMap<String, Vec<usize>>>;

fn by_target(info: &Matrix) -> Infos {
    let mut infos = Infos::new();
    for (at, series) in info.0.iter().enumerate() {
        let of_target = infos.entry(target_of(&series.labels)).or_default();
        of_target.entry(series.labels.metric_name().to_owned()).or_default().push(at);
    }
    infos
}

/// `None` where the series has no info that is asked for.
fn enriched(
    labels: &Labels,
    infos: Option<&BTreeMap<String, Vec<usize>>>,
    info: &Matrix,
    step: usize,
    data: &[&Matcher],
) -> Result<Option<Labels>, QueryError> {
    let mut added = LabelSetBuilder::new();
    let mut any = false;
    for places in infos.into_iter().flat_map(BTreeMap::values) {
        let Some(newest) = newest(places, info, step)? else { continue };
        any = true;
        for (name, value) in newest.labels.iter().filter(|(name, _)| *name != METRIC_NAME) {
            if !data.is_empty() && !data.iter().any(|matcher| matcher.name == name) {
                continue;
            }
            if added.get(name).is_some_and(|known| known != value) {
                return Err(QueryError::Execution(format!("conflicting label: {name}")));
            }
            if labels.get(name).is_none() {
                added.set(name, value);
            }
        }
    }
    if !any && data.iter().any(|matcher| !matcher.matches("")) {
        return Ok(None);
    }
    let mut enriched = LabelSetBuilder::from_labels(labels);
    for (name, value) in added.build().iter() {
        enriched.set(name, value);
    }
    Ok(Some(enriched.build()))
}

/// Of the series of one info metric for one target the one whose sample is the newest.
fn newest<'m>(places: &[usize], info: &'m Matrix, step: usize) -> Result<Option<&'m Series>, QueryError> {
    let mut newest: Option<(&Series, f64)> = None;
    for series in places.iter().map(|at| &info.0[*at]) {
        let Some(Sample::Number(ts_ms)) = series.at(step) else { continue };
        match newest {
            Some((_, known)) if known > ts_ms => {}
            Some((other, known)) if known == ts_ms => {
                return Err(QueryError::Execution(format!(
                    "found duplicate series for info metric: existing {} @ {ts_ms}, new {} @ {ts_ms}",
                    other.labels, series.labels
                )));
            }
            _ => newest = Some((series, ts_ms)),
        }
    }
    Ok(newest.map(|(series, _)| series))
}
