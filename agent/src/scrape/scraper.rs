//! One target's scrapes: what came in, labelled and relabelled, markers for what is gone, and the series that tell of
//! the scrape itself. It knows no network and no clock: both are handed in.

use super::client::{Fetched, Format};
use super::config::Job;
use super::relabel::relabelled;
use super::target::Target;
use model::{COMPONENT, is_meta, without_component};
use model::{Histogram, LabelSetBuilder, Labels, METRIC_NAME, MetricBatch, component_of, stale_marker};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use wire::exposition;

pub struct Scraper {
    job: Arc<Job>,
    target: Arc<Target>,
    /// What became of a series as it is exposed: nothing where a rule drops it. Rules are asked once a series.
    known: HashMap<Labels, Option<Labels>>,
    /// Series of the last scrape that end when they do not come again.
    alive: HashSet<Labels>,
    /// Metrics of which ingest was told what they are, and scrapes since it was told of all.
    described: HashSet<String>,
    scrapes: u32,
}

/// At every so manieth scrape it is told again: what was told may have been dropped, or ingest begun anew.
const DESCRIBE_EVERY: u32 = 100;

/// What a scrape came to, as the targets page shows it.
pub struct Outcome {
    pub batch: MetricBatch,
    pub error: Option<String>,
}

/// What is taken of a body.
#[derive(Default)]
struct Taken {
    batch: MetricBatch,
    scraped: usize,
    kept: usize,
    added: usize,
    alive: HashSet<Labels>,
    /// Why nothing of it is kept, though it was counted.
    error: Option<String>,
}

impl Scraper {
    pub fn new(job: Arc<Job>, target: Arc<Target>) -> Scraper {
        Scraper {
            job,
            target,
            known: HashMap::new(),
            alive: HashSet::new(),
            described: HashSet::new(),
            scrapes: 0,
        }
    }

    /// The samples of one scrape. `at_ms` is the time of those that say none.
    pub fn scraped(&mut self, at_ms: i64, took: Duration, fetched: Result<Fetched, String>) -> Outcome {
        let bytes = fetched.as_ref().map_or(0, |fetched| fetched.body.len());
        let taken = fetched.and_then(|fetched| self.take(at_ms, &fetched));
        let taken = taken.unwrap_or_else(|wrong| Taken { error: Some(wrong), ..Taken::default() });
        let Taken { mut batch, scraped, kept, added, alive, error } = taken;
        let before = std::mem::replace(&mut self.alive, alive);
        let gone: Vec<Labels> = before.difference(&self.alive).cloned().collect();
        end(&mut batch, at_ms, gone);
        self.report(&mut batch, at_ms, took, [usize::from(error.is_none()), scraped, kept, added, bytes]);
        Outcome { batch, error }
    }

    /// The target is gone: all its series end.
    pub fn ended(&mut self, at_ms: i64) -> MetricBatch {
        let mut batch = MetricBatch::default();
        end(&mut batch, at_ms, std::mem::take(&mut self.alive).into_iter().collect());
        for (name, _) in self.reports([0; 5], Duration::ZERO) {
            batch.push_sample(&self.of_report(name), at_ms, stale_marker());
        }
        batch
    }

    fn take(&mut self, at_ms: i64, fetched: &Fetched) -> Result<Taken, String> {
        let text =
            || std::str::from_utf8(&fetched.body).map_err(|wrong| format!("the body is not UTF-8: {wrong}"));
        let parsed = match fetched.format {
            Format::Text => exposition::parse(text()?, at_ms),
            Format::OpenMetrics => exposition::openmetrics::parse(text()?, at_ms),
            Format::Protobuf => {
                exposition::protobuf::parse(&fetched.body, at_ms, self.job.with_classic_histograms)
            }
        };
        let parsed = parsed.map_err(|wrong| wrong.0)?;
        if let Some(first) = parsed.rejected.0.first() {
            return Err(first.example.clone());
        }
        let mut parsed = self.histograms_as_wanted(parsed.batch)?;
        let mut taken = Taken::default();
        let mut first_seen: HashMap<Labels, Option<Labels>> = HashMap::new();
        for (bytes, ts_ms, values) in parsed.iter() {
            let exposed = Labels::from_bytes(bytes).map_err(|wrong| wrong.to_string())?;
            let counts = component_of(&exposed).is_none_or(is_meta);
            taken.scraped += if counts { ts_ms.len() } else { 0 };
            let labels = match self.known.get(&exposed) {
                Some(known) => known.clone(),
                None => {
                    let made = self.labelled(&exposed);
                    first_seen.insert(exposed, made.clone());
                    taken.added += usize::from(made.is_some() && counts);
                    made
                }
            };
            let Some(labels) = labels else { continue };
            if counts {
                if self.job.legacy_names && !has_legacy_names(&labels) {
                    return Err(format!("invalid metric name or label names: {labels}"));
                }
                self.within_limits(&labels)?;
                taken.kept += ts_ms.len();
            }
            // Samples with a time of their own are not ended by us: their source says when they are old.
            let timed = self.job.honor_timestamps && ts_ms.iter().any(|ts| *ts != at_ms);
            if !timed || self.job.track_timestamps {
                taken.alive.insert(labels.clone());
            }
            taken.batch.begin_labels(&labels);
            for (ts, value) in ts_ms.iter().zip(values) {
                taken.batch.push(if self.job.honor_timestamps { *ts } else { at_ms }, *value);
            }
        }
        if self.job.samples_max > 0 && taken.kept > self.job.samples_max {
            let error = format!(
                "sample limit exceeded: {} samples, the most is {}",
                taken.kept, self.job.samples_max
            );
            let Taken { scraped, kept, .. } = taken;
            return Ok(Taken { scraped, kept, error: Some(error), ..Taken::default() });
        }
        for mut exemplar in std::mem::take(&mut parsed.exemplars) {
            let made = self.known.get(&exemplar.series).or_else(|| first_seen.get(&exemplar.series));
            let series = match made {
                Some(known) => known.clone(),
                None => self.labelled(&exemplar.series),
            };
            if let Some(series) = series {
                exemplar.series = series;
                taken.batch.exemplars.push(exemplar);
            }
        }
        // What did not come again is forgotten, so that churn does not fill memory.
        let exposed: HashSet<&[u8]> = parsed.iter().map(|(bytes, _, _)| bytes).collect();
        self.known.retain(|labels, _| exposed.contains(labels.as_bytes()));
        self.known.extend(first_seen);
        self.scrapes = (self.scrapes + 1) % DESCRIBE_EVERY;
        if self.scrapes == 0 {
            self.described.clear();
        }
        let described = &mut self.described;
        let new = parsed.metadata.into_iter().filter(|metadata| described.insert(metadata.name.clone()));
        taken.batch.metadata.extend(new);
        Ok(taken)
    }

    fn histograms_as_wanted(&self, mut batch: MetricBatch) -> Result<MetricBatch, String> {
        let Job { classic_to_native, with_classic_histograms, buckets_max, bucket_factor_min, .. } =
            &*self.job;
        if *classic_to_native {
            batch = exposition::native::classic_to_native(batch, *with_classic_histograms);
        }
        if *buckets_max > 0 || *bucket_factor_min > 1.0 {
            batch = exposition::native::coarser(batch, *buckets_max, *bucket_factor_min)?;
        }
        Ok(batch)
    }

    /// With the target's labels and through the rules; the part of a histogram that it is stays as it is.
    fn labelled(&self, exposed: &Labels) -> Option<Labels> {
        let part = component_of(exposed);
        let mut labels = LabelSetBuilder::from_labels(&without_component(exposed));
        for (name, value) in self.target.labels.iter() {
            match labels.get(name).map(str::to_owned) {
                Some(_) if self.job.honor_labels => {}
                Some(theirs) => {
                    let mut renamed = format!("exported_{name}");
                    while labels.get(&renamed).is_some() || self.target.labels.get(&renamed).is_some() {
                        renamed = format!("exported_{renamed}");
                    }
                    labels.set(&renamed, &theirs).set(name, value);
                }
                None => _ = labels.set(name, value),
            }
        }
        let made = relabelled(&self.job.metric_relabel, labels.build())?;
        made.get(METRIC_NAME)?;
        let Some(part) = part else { return Some(made) };
        let mut with_part = LabelSetBuilder::from_labels(&made);
        with_part.set(COMPONENT, part);
        Some(with_part.build())
    }

    fn within_limits(&self, labels: &Labels) -> Result<(), String> {
        let Job { labels_max, label_name_bytes_max, label_value_bytes_max, .. } = &*self.job;
        let passed = |what: &str, found: usize, max: usize| {
            Err(format!("{what} limit exceeded ({found}, the most is {max}) by {labels}"))
        };
        if *labels_max > 0 && labels.len() > *labels_max {
            return passed("label", labels.len(), *labels_max);
        }
        for (name, value) in labels.iter() {
            if *label_name_bytes_max > 0 && name.len() > *label_name_bytes_max {
                return passed("label name length", name.len(), *label_name_bytes_max);
            }
            if *label_value_bytes_max > 0 && value.len() > *label_value_bytes_max {
                return passed("label value length", value.len(), *label_value_bytes_max);
            }
        }
        Ok(())
    }

    fn of_report(&self, name: &str) -> Labels {
        let mut labels = LabelSetBuilder::from_labels(&self.target.labels);
        labels.set(METRIC_NAME, name);
        labels.build()
    }

    fn reports(&self, counts: [usize; 5], took: Duration) -> Vec<(&'static str, f64)> {
        let [up, scraped, kept, added, bytes] = counts;
        let mut reports = vec![
            ("up", up as f64),
            ("scrape_duration_seconds", took.as_secs_f64()),
            ("scrape_samples_scraped", scraped as f64),
            ("scrape_samples_post_metric_relabeling", kept as f64),
            ("scrape_series_added", added as f64),
        ];
        if self.job.extra_metrics {
            reports.extend([
                ("scrape_timeout_seconds", self.target.timeout.as_secs_f64()),
                ("scrape_sample_limit", self.job.samples_max as f64),
                ("scrape_body_size_bytes", bytes as f64),
            ]);
        }
        reports
    }

    fn report(&self, batch: &mut MetricBatch, at_ms: i64, took: Duration, counts: [usize; 5]) {
        for (name, value) in self.reports(counts, took) {
            batch.push_sample(&self.of_report(name), at_ms, value);
        }
    }
}

fn has_legacy_names(labels: &Labels) -> bool {
    let fine = |name: &str, colon: bool| {
        let fine = |c: char| c.is_ascii_alphanumeric() || c == '_' || (colon && c == ':');
        !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(fine)
    };
    labels.iter().all(|(name, value)| match name {
        METRIC_NAME => fine(value, true),
        name => fine(name, false),
    })
}

/// Markers that these series have ended.
fn end(batch: &mut MetricBatch, at_ms: i64, mut gone: Vec<Labels>) {
    gone.sort_unstable();
    for labels in gone {
        match component_of(&labels) {
            None => batch.push_sample(&labels, at_ms, stale_marker()),
            Some(part) if is_meta(part) => {
                batch.push_histograms(&without_component(&labels), &[(at_ms, Histogram::stale())]);
            }
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
