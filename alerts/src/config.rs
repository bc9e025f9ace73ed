//! What the binary hands in.

use model::Tenant;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Config {
    /// Rule files; a `*` in the file name matches many.
    pub rules: Vec<String>,
    /// OpenSLO files; as `rules`.
    pub slos: Vec<String>,
    /// Where alert states are kept.
    pub data_dir: PathBuf,
    /// URLs that take Alertmanager's webhook, v4.
    pub webhooks: Vec<String>,
    /// Base URLs of Alertmanagers.
    pub alertmanagers: Vec<String>,
    /// How people reach the page, for links.
    pub external_url: String,
    /// For groups that do not say.
    pub evaluation_interval: Duration,
    /// Adds the built-in objectives of the demo shop.
    pub with_demo_slos: bool,
    /// Whose data the rules read and write.
    pub tenant: Tenant,
    /// Alerts that share the values of these labels come in one notification.
    pub group_by: Vec<String>,
    /// From the first alert of a group to its notification.
    pub group_wait: Duration,
    /// Between two notifications of a group that has news.
    pub group_interval: Duration,
    /// Between two notifications of a group that has none and still burns.
    pub repeat_interval: Duration,
    /// Most alerts of one rule, and most that wait for one receiver.
    pub alerts_max: usize,
    /// Groups evaluated at once; others wait their turn.
    pub evaluations_max: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            rules: vec![],
            slos: vec![],
            data_dir: PathBuf::from("binnacle-data/alerts"),
            webhooks: vec![],
            alertmanagers: vec![],
            external_url: "http://127.0.0.1:7400".into(),
            evaluation_interval: Duration::from_secs(60),
            with_demo_slos: false,
            tenant: Tenant::default(),
            group_by: vec!["alertname".into(), "slo".into()],
            // Alertmanager waits 30 s and 5 min because many Prometheus servers report to it; here one evaluation
            // brings all alerts of a rule at once, so a short wait gathers what belongs together.
            group_wait: Duration::from_secs(2),
            group_interval: Duration::from_secs(15),
            repeat_interval: Duration::from_secs(4 * 3600),
            alerts_max: 10_000,
            evaluations_max: 4,
        }
    }
}
