//! From what discovery names to what is scraped: labels, relabelled, and the URL that they make.

use super::config::{Group, Job, duration, duration_text};
use super::relabel::relabelled;
use model::{LabelSetBuilder, Labels};
use std::time::Duration;

#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    pub url: String,
    /// Before relabelling: what the targets page shows.
    pub discovered: Labels,
    /// What its samples get.
    pub labels: Labels,
    pub interval: Duration,
    pub timeout: Duration,
}

/// What becomes of one address.
#[derive(Debug, PartialEq)]
pub enum Found {
    Target(Box<Target>),
    /// By a rule.
    Dropped(Labels),
    Wrong(String),
}

/// All addresses of a group.
pub fn targets<'a>(
    job: &'a Job,
    group: &'a Group,
    place: Option<&'a (&'static str, String)>,
) -> impl Iterator<Item = Found> + 'a {
    group.targets.iter().map(move |address| target(job, address, group, place))
}

fn target(job: &Job, address: &str, group: &Group, place: Option<&(&'static str, String)>) -> Found {
    let mut labels = LabelSetBuilder::new();
    labels.set("job", &job.name);
    labels.set("__scheme__", &job.scheme);
    labels.set("__metrics_path__", &job.metrics_path);
    labels.set("__scrape_interval__", &duration_text(job.interval));
    labels.set("__scrape_timeout__", &duration_text(job.timeout));
    for (name, values) in &job.params {
        if let Some(first) = values.first() {
            labels.set(&format!("__param_{name}"), first);
        }
    }
    group.labels.iter().for_each(|(name, value)| _ = labels.set(name, value));
    labels.set("__address__", address);
    if let Some((name, value)) = place {
        labels.set(name, value);
    }
    let discovered = labels.build();
    let Some(made) = relabelled(&job.relabel, discovered.clone()) else { return Found::Dropped(discovered) };
    let get = |name: &str| made.get(name).unwrap_or("");
    let address = get("__address__");
    if address.is_empty() || address.contains('/') {
        return Found::Wrong(format!("{address:?} is not a valid hostname; __address__ is host:port"));
    }
    let span = |name: &str| duration(get(name)).filter(|span| !span.is_zero());
    let (Some(interval), Some(timeout)) = (span("__scrape_interval__"), span("__scrape_timeout__")) else {
        return Found::Wrong(format!("{address}: relabelling made no durations of interval and timeout"));
    };
    if timeout > interval {
        return Found::Wrong(format!("{address}: scrape timeout cannot be greater than scrape interval"));
    }
    let url = match url(job, &made) {
        Ok(url) => url,
        Err(wrong) => return Found::Wrong(wrong),
    };
    let mut labels = LabelSetBuilder::from_labels(&made.without(|name| name.starts_with("__")));
    if made.get("instance").is_none() {
        labels.set("instance", address);
    }
    Found::Target(Box::new(Target { url, discovered, labels: labels.build(), interval, timeout }))
}

/// The first value of a parameter may be relabelled, the others are as configured.
fn url(job: &Job, made: &Labels) -> Result<String, String> {
    let get = |name: &str| made.get(name).unwrap_or("");
    let scheme = get("__scheme__");
    if scheme != "http" && scheme != "https" {
        return Err(format!("scheme {scheme:?} is neither http nor https"));
    }
    let path = get("__metrics_path__");
    let slash = if path.starts_with('/') { "" } else { "/" };
    let text = format!("{scheme}://{}{slash}{path}", get("__address__"));
    let mut url = reqwest::Url::parse(&text).map_err(|wrong| format!("{text}: {wrong}"))?;
    let of_labels = made.iter().filter_map(|(name, value)| Some((name.strip_prefix("__param_")?, value)));
    let others =
        job.params.iter().flat_map(|(name, values)| values.iter().skip(1).map(move |v| (&**name, &**v)));
    let pairs: Vec<(&str, &str)> = of_labels.chain(others).collect();
    if !pairs.is_empty() {
        url.query_pairs_mut().extend_pairs(pairs);
    }
    Ok(url.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn found(options: &str) -> Found {
        let text = format!(
            "scrape_configs:\n- job_name: j\n  static_configs: [{{targets: ['h:1'], labels: {{env: test}}}}]\n{options}"
        );
        let job = super::super::config::parse(&text, Path::new("/")).unwrap().jobs.remove(0);
        let group = job.groups[0].clone();
        targets(&job, &group, Some(&("__meta_filepath", "/a.json".into()))).next().unwrap()
    }

    fn made(options: &str) -> (String, String) {
        match found(options) {
            Found::Target(target) => (target.url, target.labels.to_string()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn labels_make_the_url_and_stay_where_they_are_no_mere_means() {
        let plain = "{env=\"test\", instance=\"h:1\", job=\"j\"}";
        assert_eq!(made(""), ("http://h:1/metrics".into(), plain.into()));
        let options = "  scheme: https\n  metrics_path: x/y\n  params: {a: [b, c], d: ['e f']}\n";
        assert_eq!(made(options), ("https://h:1/x/y?a=b&d=e+f&a=c".into(), plain.into()));
        let rules = "  relabel_configs:\n  - {source_labels: [__address__], target_label: __param_target}\n  \
            - {target_label: __address__, replacement: 'probe:9'}\n  - {target_label: instance, replacement: n}\n  \
            - {source_labels: [__meta_filepath], target_label: file}\n";
        let labels = "{env=\"test\", file=\"/a.json\", instance=\"n\", job=\"j\"}";
        assert_eq!(made(rules), ("http://probe:9/metrics?target=h%3A1".into(), labels.into()));
    }

    #[test]
    fn what_is_dropped_or_wrong_is_no_target() {
        let dropped = found("  relabel_configs: [{source_labels: [env], regex: test, action: drop}]\n");
        assert!(matches!(dropped, Found::Dropped(labels) if labels.get("env") == Some("test")));
        for (rule, place) in [
            ("{target_label: __address__, replacement: 'http://x'}", "not a valid hostname"),
            ("{target_label: __scheme__, replacement: ftp}", "neither http nor https"),
            ("{target_label: __scrape_timeout__, replacement: 2h}", "cannot be greater"),
            ("{target_label: __scrape_interval__, replacement: soon}", "no durations"),
        ] {
            let wrong = found(&format!("  relabel_configs: [{rule}]\n"));
            assert!(matches!(&wrong, Found::Wrong(why) if why.contains(place)), "{rule}: {wrong:?}");
        }
    }
}
