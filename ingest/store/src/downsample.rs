//! Old metrics with fewer samples: past an age, of each series the last sample of every interval stays, as VictoriaMetrics'
//! `-downsampling.period` does it. Made physical day by day, as a rewriting of the day's parts; what comes late into such a
//! day is thinned with the next look.

use crate::limits::duration;
use crate::metrics::Run;
use crate::part::{Part, Signal};
use crate::store::Store;
use model::Tenant;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use tracing::{info, warn};

/// Which samples stay, by tenant.
#[derive(Clone, Debug, Default)]
pub struct Downsampling {
    all: Vec<Rule>,
    own: HashMap<Tenant, Vec<Rule>>,
}

/// Samples older than `age_ms` are one an interval.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rule {
    age_ms: i64,
    interval_ms: i64,
}

impl Downsampling {
    /// From `AGE:INTERVAL` (`30d:5m`) for all tenants and `TENANT/AGE:INTERVAL` for one, which then has its own alone.
    pub fn parse(lines: &[String]) -> Result<Downsampling, String> {
        let mut made = Downsampling::default();
        for line in lines {
            let (tenant, rule) = match line.rsplit_once('/') {
                None => (None, line.as_str()),
                Some((tenant, rule)) => (Some(tenant), rule),
            };
            let wrong = |what: &str| format!("{line:?}: {what}; write AGE:INTERVAL as 30d:5m");
            let (age, interval) = rule.split_once(':').ok_or_else(|| wrong("there is no colon"))?;
            let span = |text: &str| duration(text.trim()).map(|span| span.as_millis() as i64);
            let rule = match (span(age), span(interval)) {
                (Some(age_ms), Some(interval_ms)) if age_ms > 0 && interval_ms > 0 => {
                    Rule { age_ms, interval_ms }
                }
                _ => return Err(wrong("an age and an interval are durations above 0")),
            };
            match tenant {
                None => made.all.push(rule),
                Some(name) => {
                    let tenant = Tenant::new(name).map_err(|bad| wrong(&bad.to_string()))?;
                    made.own.entry(tenant).or_default().push(rule);
                }
            }
        }
        for rules in std::iter::once(&mut made.all).chain(made.own.values_mut()) {
            rules.sort_by_key(|rule| rule.age_ms);
            if let Some(pair) = rules.windows(2).find(|pair| pair[1].interval_ms % pair[0].interval_ms != 0) {
                return Err(format!(
                    "the interval after {} d is no multiple of the one before: it would begin from samples that are not there",
                    pair[1].age_ms / 86_400_000
                ));
            }
        }
        Ok(made)
    }

    /// The interval of samples that are all older than so much; 0 is every sample.
    fn interval_ms(&self, tenant: &Tenant, age_ms: i64) -> i64 {
        let rules = self.own.get(tenant).unwrap_or(&self.all);
        rules.iter().filter(|rule| age_ms > rule.age_ms).map(|rule| rule.interval_ms).max().unwrap_or(0)
    }
}

/// Keeps the last sample of each interval: intervals end at whole multiples, which belong to them. Times ascend.
pub fn thin(run: &mut Run, interval_ms: i64) {
    let of = |ts_ms: i64| ts_ms.saturating_add(interval_ms - 1).div_euclid(interval_ms);
    let mut kept = 0;
    for at in 0..run.ts_ms.len() {
        if run.ts_ms.get(at + 1).is_some_and(|next| of(*next) == of(run.ts_ms[at])) {
            continue;
        }
        (run.ts_ms[kept], run.values[kept]) = (run.ts_ms[at], run.values[at]);
        kept += 1;
    }
    run.ts_ms.truncate(kept);
    run.values.truncate(kept);
}

impl Store {
    /// Rewrites parts that are old enough to have fewer samples than they have. Returns how many.
    pub async fn downsample(&self) -> anyhow::Result<usize> {
        let (mut done, mut given_up) = (0, BTreeSet::new());
        loop {
            let _one = self.rewriting.lock().await;
            let Some((part, interval_ms)) = self.due(&given_up) else { return Ok(done) };
            let rows = part.meta.rows;
            match self.thin_part(&part, interval_ms).await {
                Ok(left) => {
                    done += 1;
                    let (tenant, window) = (&part.meta.tenant, part.meta.window);
                    info!(%tenant, window, interval_ms, rows, left, "downsampled");
                }
                Err(wrong) => {
                    warn!(error = format!("{wrong:#}"), "a part keeps all its samples");
                    given_up.insert(part.meta.id);
                }
            }
        }
    }

    fn due(&self, given_up: &BTreeSet<i64>) -> Option<(Arc<Part>, i64)> {
        let downsampling = self.downsampling.lock().clone();
        let now_ms = self.clock.now_ms();
        let parts = self.state.read().parts.clone();
        let metrics =
            parts.iter().filter(|((_, signal), _)| *signal == Signal::Metrics).flat_map(|(_, list)| list);
        metrics.filter(|part| !given_up.contains(&part.meta.id)).find_map(|part| {
            let age_ms = now_ms.saturating_sub(part.meta.last_ts);
            let interval_ms = downsampling.interval_ms(&part.meta.tenant, age_ms);
            (interval_ms > part.meta.interval_ms).then(|| (part.clone(), interval_ms))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Labels;

    #[test]
    fn the_last_sample_of_each_interval_stays() {
        let times = [-1, 0, 1, 299_999, 300_000, 300_001, 600_000, 900_001];
        let mut run = Run {
            labels: Labels::empty(),
            ts_ms: times.to_vec(),
            values: (0..times.len()).map(|n| n as f64).collect(),
        };
        thin(&mut run, 300_000);
        assert_eq!(run.ts_ms, [0, 300_000, 600_000, 900_001]);
        assert_eq!(run.values, [1.0, 4.0, 6.0, 7.0]);
        let before = run.ts_ms.clone();
        thin(&mut run, 300_000);
        assert_eq!(run.ts_ms, before, "what is thinned once stays");
    }

    #[test]
    fn rules_are_by_age_and_tenant() {
        let parse = |lines: &[&str]| {
            Downsampling::parse(&lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>())
        };
        let rules = parse(&["180d:1h", "30d:5m", "team/1d:1m"]).unwrap();
        let (team, other) = (Tenant::new("team").unwrap(), Tenant::default());
        let day = 86_400_000;
        let of = |tenant: &Tenant, days: i64| rules.interval_ms(tenant, days * day);
        assert_eq!((of(&other, 29), of(&other, 31), of(&other, 181)), (0, 300_000, 3_600_000));
        assert_eq!((of(&team, 1), of(&team, 200)), (0, 60_000));
        for (lines, told) in [
            (&["30d"][..], "there is no colon"),
            (&["30d:0s"][..], "durations above 0"),
            (&["soon:5m"][..], "durations above 0"),
            (&["30d:5m", "60d:7m"][..], "no multiple"),
        ] {
            assert!(parse(lines).unwrap_err().contains(told), "{lines:?}");
        }
    }
}
