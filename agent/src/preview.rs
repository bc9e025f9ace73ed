//! What an agent with this configuration would collect, without sending or writing anything: for `--dry-run`.

use crate::costs::Costs;
use crate::host::Host;
use crate::kubelet::client::Client;
use crate::measure::{Due, Left, Machine};
use crate::panics::Panics;
use crate::pods::{PodList, Pods};
use crate::samples::Samples;
use crate::{Config, cloud, kubelet, logs, node, oom, scrape, targets};
use model::MetricBatch;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;

/// Names told of each kind of series; the rest is counted.
const EXAMPLES: usize = 6;

/// Lines for people.
pub async fn preview(config: &Config) -> String {
    let host = Arc::new(Host::of(&config.host_root).in_cluster(config.cluster_name.clone()));
    let pods = Pods::default();
    let mut out = String::new();
    let line = |out: &mut String, what: &str, text: String| _ = writeln!(out, "{what:<12} {text}");
    line(&mut out, "node", format!("{} (root {})", host.name, config.host_root.display()));
    line(&mut out, "to", format!("{} as tenant {}", config.ingest, config.tenant.as_str()));
    line(
        &mut out,
        "queue",
        format!("{} up to {} MiB", config.data_dir.join("queue").display(), config.queue_bytes_max >> 20),
    );
    let said = match &config.kubelet {
        None => "not asked; pods are known by their log folders (--kubelet URL)".to_owned(),
        Some(settings) => match asked(settings, &pods).await {
            Ok(count) => format!("{}: {count} pods", settings.url),
            Err(why) => format!("{}: {why}", settings.url),
        },
    };
    line(&mut out, "kubelet", said);
    let cluster = match &config.cluster {
        None => "not watched (--kube-api auto)".to_owned(),
        Some(settings) => {
            let lead = if config.discover.control_plane {
                format!("; it then scrapes the API server, too (job {})", config.job_names.api_server)
            } else {
                String::new()
            };
            format!(
                "{}, if this agent ({}) gets the lease in {}{lead}",
                settings.url, settings.identity, settings.namespace
            )
        }
    };
    line(&mut out, "cluster", cluster);
    let (batch, wrong) = measured(config, &host, &pods);
    let mut by_kind: BTreeMap<String, (usize, BTreeSet<String>)> = BTreeMap::new();
    for (labels, _, _) in batch.iter() {
        let labels = model::Labels::from_bytes(labels).unwrap_or_default();
        let name = labels.metric_name();
        let kind = name.splitn(3, '_').take(2).collect::<Vec<_>>().join("_");
        let (count, names) = by_kind.entry(kind).or_default();
        *count += 1;
        names.insert(name.to_owned());
    }
    let every = config.interval.as_secs_f64();
    line(&mut out, "metrics", format!("{} series every {every} s", batch.series.len()));
    for (kind, (count, names)) in by_kind {
        let shown: Vec<&str> = names.iter().take(EXAMPLES).map(String::as_str).collect();
        let more = names.len().saturating_sub(EXAMPLES);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        line(&mut out, "", format!("{count:>6} {kind}_*: {}{more}", shown.join(", ")));
    }
    wrong.into_iter().for_each(|why| line(&mut out, "left out", why));
    let files = logs::found(config, &host, &pods);
    line(&mut out, "logs", format!("{} files", files.len()));
    for (path, whose) in files {
        line(
            &mut out,
            "",
            format!("/{path}{}", whose.map(|whose| format!(" ({whose})")).unwrap_or_default()),
        );
    }
    let mut jobs = config.scrape_jobs.clone();
    if let Some(settings) = &config.kubelet {
        jobs.extend(kubelet::scrape_jobs(settings, &host, config));
    }
    match targets::Finding::new(config, &host, pods, None) {
        Ok(finding) => {
            let (found, mistakes) = finding.once().await;
            jobs.extend(found);
            mistakes.into_iter().for_each(|mistake| line(&mut out, "mistake", mistake));
        }
        Err(wrong) => line(&mut out, "targets", format!("cannot be looked for: {wrong:#}")),
    }
    for job in &jobs {
        let urls = scrape::urls(job);
        let of_others =
            if job.http.is_empty() && job.dns.is_empty() { "" } else { ", and what a server names" };
        let every = job.interval.as_secs_f64();
        let count = format!("job {} every {every} s: {} targets{of_others}", job.name, urls.len());
        line(&mut out, "scrapes", count);
        urls.into_iter().for_each(|url| line(&mut out, "", url));
    }
    out
}

/// As the first collection of an agent does it, and which text files are left out of it.
fn measured(config: &Config, host: &Arc<Host>, pods: &Pods) -> (MetricBatch, Vec<String>) {
    let machine = Machine {
        cloud: cloud::Known::default(),
        config: config.clone(),
        host: host.clone(),
        pods: pods.clone(),
        kills: oom::Shared::default(),
        mounts: node::Mounts::default(),
        textfiles: node::Textfiles::of(config.textfile_dir.as_deref()),
        costs: Costs::default(),
        panics: Panics::default(),
    };
    let mut samples = Samples::new(0, &host.name, false).in_jobs(&config.job_names);
    let due = Due { dear: true, each_process: true };
    machine.measure(due, None, &mut Left::default(), &mut samples);
    (samples.finish(), machine.textfiles.wrong())
}

async fn asked(settings: &crate::kubelet::Settings, pods: &Pods) -> Result<usize, String> {
    let client = Client::new(settings).map_err(|wrong| format!("{wrong:#}"))?;
    let list: PodList =
        serde_json::from_slice(&client.get("/pods").await?).map_err(|wrong| wrong.to_string())?;
    let count = list.items.len();
    pods.replace(list.items);
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ClusterSettings, Discover};

    #[tokio::test]
    async fn what_only_the_elected_agent_scrapes_is_told() {
        let root = tempfile::tempdir().unwrap();
        let cluster = ClusterSettings {
            url: "https://10.0.0.1".into(),
            token_file: "/nowhere".into(),
            trust: kubelet::Trust::System,
            namespace: "binnacle".into(),
            identity: "n1".into(),
        };
        let config = Config {
            host_root: root.path().into(),
            log_files: vec![],
            cluster: Some(cluster),
            // The monitors are asked of the API server.
            discover: Discover { monitors: false, ..Discover::default() },
            ..Config::default()
        };
        let told = preview(&config).await;
        assert!(told.contains("it then scrapes the API server, too (job kube-apiserver)"), "{told}");
        let without = Config { discover: Discover::parse(&["none".to_owned()]).unwrap(), ..config };
        let told = preview(&without).await;
        assert!(told.contains("https://10.0.0.1") && !told.contains("API server"), "{told}");
    }
}
