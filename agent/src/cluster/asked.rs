//! Lists and watches, and how they ended, under kube-state-metrics' own names: its mixin alerts on them.

use crate::samples::Samples;
use std::collections::BTreeMap;

/// Those that went well, and those that did not.
type Ends = (u64, u64);

#[derive(Clone, Default)]
pub struct Asked {
    lists: BTreeMap<String, Ends>,
    watches: BTreeMap<String, Ends>,
}

impl Asked {
    pub fn listed(&mut self, kind: &str, path: &str, went_well: bool) {
        count(&mut self.lists, kind, path, went_well);
    }

    pub fn watched(&mut self, kind: &str, path: &str, went_well: bool) {
        count(&mut self.watches, kind, path, went_well);
    }

    /// One agent of all tells the cluster's objects: one shard.
    pub fn tell(&self, out: &mut Samples) {
        for (name, help, all) in [
            (
                "kube_state_metrics_list_total",
                "Number of total resource list in kube-state-metrics",
                &self.lists,
            ),
            (
                "kube_state_metrics_watch_total",
                "Number of total resource watches in kube-state-metrics",
                &self.watches,
            ),
        ] {
            for (resource, (well, wrong)) in all {
                for (result, ends) in [("success", well), ("error", wrong)] {
                    out.counter(name, help, &[("resource", resource), ("result", result)], *ends as f64);
                }
            }
        }
        let help = "Current sharding ordinal/index of this instance";
        out.gauge("kube_state_metrics_shard_ordinal", help, &[("shard_ordinal", "0")], 0.0);
        let help = "Number of total shards this instance is aware of";
        out.gauge("kube_state_metrics_total_shards", help, &[], 1.0);
    }
}

fn count(all: &mut BTreeMap<String, Ends>, kind: &str, path: &str, went_well: bool) {
    // The version is behind `api`, or behind the group.
    let mut parts = path.split('/').skip_while(|part| part.is_empty());
    let version = match parts.next() {
        Some("apis") => parts.nth(1),
        _ => parts.next(),
    };
    let (well, wrong) = all.entry(format!("*{}.{kind}", version.unwrap_or("v1"))).or_default();
    *(if went_well { well } else { wrong }) += 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_watches_are_counted_by_how_they_ended() {
        let mut asked = Asked::default();
        asked.listed("Pod", "/api/v1/pods?fieldSelector=x", true);
        asked.listed("Pod", "/api/v1/pods?fieldSelector=x", false);
        asked.watched("HorizontalPodAutoscaler", "/apis/autoscaling/v2/horizontalpodautoscalers", true);
        let mut samples = Samples::new(0, "n", false);
        asked.tell(&mut samples);
        let all: Vec<String> = crate::tests::labels_and_values(&samples.finish())
            .into_iter()
            .map(|(labels, value)| {
                format!("{} {value}", labels.without(|name| matches!(name, "instance" | "job" | "node")))
            })
            .collect();
        for series in [
            "kube_state_metrics_list_total{resource=\"*v1.Pod\", result=\"success\"} 1",
            "kube_state_metrics_list_total{resource=\"*v1.Pod\", result=\"error\"} 1",
            "kube_state_metrics_watch_total{resource=\"*v2.HorizontalPodAutoscaler\", result=\"success\"} 1",
            "kube_state_metrics_watch_total{resource=\"*v2.HorizontalPodAutoscaler\", result=\"error\"} 0",
            "kube_state_metrics_total_shards{} 1",
        ] {
            let series = series.replace("{}", "");
            assert!(all.iter().any(|told| told.replace("{}", "") == series), "{series} is not in {all:#?}");
        }
    }
}
