//! [`Alerts`]: loads the files, runs a task for each group and each receiver, and keeps the states on disk.

use crate::config::Config;
use crate::disk::Saved;
use crate::duration;
use crate::files::{self, Loaded};
use crate::group::view::{AlertView, GroupView};
use crate::group::{Group, RuleState, World, check_query};
use crate::notify::Receivers;
use crate::notify::book::Pace;
use crate::ruler::{self, Language, Ruler, RulerError, Shelf};
use crate::slo::Slo;
use crate::slo::budget::{self, SloView};
use crate::slo::rules::Recorded;
use crate::state::State;
use crate::telemetry::Counters;
use anyhow::{Context, bail};
use model::{Ask, Clock, Reading, Sink, Tenant};
use parking_lot::RwLock;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, Notify, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// A restart within this is none: queries still see the samples from before it.
const OUTAGE_MS: i64 = 4 * 60_000;
/// How long after an outage fresh data may take to come.
const SPARED_MS: i64 = 60_000;
/// The states are written at most so often.
const SAVE_PAUSE: Duration = Duration::from_millis(200);
/// Without news the states are written so often.
const SIGN_OF_LIFE: Duration = Duration::from_secs(60);
/// First evaluations are spread over a few milliseconds each, so that a start is not one burst.
const STAGGER: Duration = Duration::from_millis(5);

/// Evaluates rules and objectives, and tells people.
pub struct Alerts {
    config: Config,
    world: World,
    clock: Arc<dyn Clock>,
    receivers: Receivers,
    counters: Arc<Counters>,
    stop: CancellationToken,
    in_force: RwLock<InForce>,
    /// Groups that were set over the API.
    ruler: RwLock<Ruler>,
    /// One change of what is in force at a time.
    changing: Mutex<()>,
    /// The tasks of the groups in force; a reload ends them and starts others.
    running: Mutex<Running>,
    /// Senders and the writer of states; they live as long as this.
    lasting: Mutex<JoinSet<()>>,
    turns: Arc<Semaphore>,
    /// Something that belongs on disk changed.
    changed: Arc<Notify>,
}

#[derive(Clone, Default)]
struct InForce {
    groups: Vec<Arc<Group>>,
    slos: Vec<(Slo, Recorded, Arc<Group>)>,
}

#[derive(Default)]
struct Running {
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

/// Who answers rules, by their language.
#[derive(Clone)]
pub struct Asks {
    pub metrics: Arc<dyn Ask>,
    pub logs: Arc<dyn Ask>,
}

impl Alerts {
    /// Reads rules, SLOs and states, then evaluates until `stop`. A file with a mistake ends the start.
    pub async fn start(
        config: Config,
        asks: Asks,
        sink: Arc<dyn Sink>,
        clock: Arc<dyn Clock>,
        stop: CancellationToken,
    ) -> anyhow::Result<Arc<Alerts>> {
        if config.evaluation_interval < Duration::from_millis(100) {
            bail!("the evaluation interval is shorter than 100ms");
        }
        std::fs::create_dir_all(&config.data_dir)
            .with_context(|| format!("making {} for alert states", config.data_dir.display()))?;
        let ruler = Ruler::open(&config.data_dir)?;
        let Saved { saved_ms, rules, told, .. } = Saved::read(&config.data_dir)?;
        let now_ms = clock.now_ms();
        let counters = Arc::new(Counters::default());
        let external_url = config.external_url.trim_end_matches('/').to_owned();
        let pace = Pace {
            group_by: config.group_by.clone(),
            wait_ms: duration::ms(config.group_wait),
            interval_ms: duration::ms(config.group_interval),
            repeat_ms: duration::ms(config.repeat_interval),
            alerts_max: config.alerts_max,
        };
        let receivers = Receivers::new(
            &config.webhooks,
            &config.alertmanagers,
            &pace,
            &external_url,
            told,
            now_ms,
            counters.clone(),
        );
        let world = World {
            tenant: config.tenant.clone(),
            ask: asks.metrics,
            ask_logs: asks.logs,
            sink,
            external_url,
            alerts_max: config.alerts_max,
            counters: counters.clone(),
        };
        let alerts = Arc::new(Alerts {
            turns: Arc::new(Semaphore::new(config.evaluations_max.max(1))),
            config,
            world,
            clock,
            receivers,
            counters,
            stop,
            in_force: RwLock::default(),
            ruler: RwLock::new(ruler),
            changing: Mutex::default(),
            running: Mutex::default(),
            lasting: Mutex::default(),
            changed: Arc::new(Notify::new()),
        });
        let in_force = alerts.load().await?;
        let mut states: HashMap<String, RuleState> = HashMap::new();
        for (key, mut alerts) in rules {
            if now_ms - saved_ms > OUTAGE_MS {
                alerts.after_outage(now_ms + SPARED_MS);
            }
            states.insert(key, RuleState { alerts, ..RuleState::default() });
        }
        for group in &in_force.groups {
            group.adopt(|key| states.remove(key));
        }
        alerts.begin().await?;
        alerts.run(in_force).await;
        Ok(alerts)
    }

    /// Reads rules and SLOs again. With any mistake, what was stays in force.
    pub async fn reload(self: &Arc<Self>) -> anyhow::Result<()> {
        let _one = self.changing.lock().await;
        let next = match self.load().await {
            Ok(next) => next,
            Err(wrong) => {
                self.counters.reload_failures.add(1);
                return Err(wrong);
            }
        };
        info!(groups = next.groups.len(), slos = next.slos.len(), "rules and SLOs are reloaded");
        self.put_in_force(next).await;
        Ok(())
    }

    /// Rules that are the same as before keep their states; of those that are gone, alerts are resolved and series end.
    async fn put_in_force(self: &Arc<Self>, next: InForce) {
        self.pause().await;
        let now_ms = self.clock.now_ms();
        let before = self.in_force.read().clone();
        let mut states: HashMap<String, (RuleState, Arc<Group>)> = HashMap::new();
        for group in &before.groups {
            states.extend(group.states().into_iter().map(|(key, state)| (key, (state, group.clone()))));
        }
        for group in &next.groups {
            group.adopt(|key| states.remove(key).map(|(state, _)| state));
        }
        for (key, (state, group)) in &states {
            let farewell = self.addressed(group, group.farewell(key, state, now_ms));
            self.receivers.update(&farewell, now_ms);
            group.end_series(&self.world, state, now_ms).await;
        }
        self.run(next).await;
        self.changed.notify_one();
    }

    /// Tenants share the receivers: alerts of another than the configuration's say whose they are.
    fn addressed(&self, group: &Group, mut alerts: Vec<crate::notify::Alert>) -> Vec<crate::notify::Alert> {
        let owner = group.spec.set_by.as_ref().map(|set_by| &set_by.tenant);
        if let Some(tenant) = owner.filter(|tenant| **tenant != self.config.tenant) {
            for alert in &mut alerts {
                let mut labels = model::LabelSetBuilder::from_labels(&alert.labels);
                labels.set("tenant", tenant.as_str());
                alert.labels = labels.build();
            }
        }
        alerts
    }

    /// Sets one group of a namespace, in place of the one of its name. It is on disk and in force when this returns.
    pub async fn set_rule_group(self: &Arc<Self>, shelf: &Shelf, text: &str) -> Result<(), RulerError> {
        let read = ruler::read(text, shelf).map_err(RulerError::Invalid)?;
        let ask = match shelf.language {
            Language::PromQl => &self.world.ask,
            Language::LogQl => &self.world.ask_logs,
        };
        let mut wrong = vec![];
        for (place, query) in read.expressions {
            if let Err(why) = check_query(ask.as_ref(), &query).await {
                wrong.push((place, why));
            }
        }
        if !wrong.is_empty() {
            return Err(RulerError::Invalid(ruler::placed(text, &wrong)));
        }
        self.change_ruler(|ruler| ruler.set(shelf, &read.group.name, text)).await
    }

    /// Takes one group of a namespace out of force, or all of them.
    pub async fn remove_rule_groups(
        self: &Arc<Self>,
        shelf: &Shelf,
        group: Option<&str>,
    ) -> Result<(), RulerError> {
        self.change_ruler(|ruler| ruler.remove(shelf, group)).await
    }

    async fn change_ruler(
        self: &Arc<Self>,
        change: impl FnOnce(&mut Ruler) -> Result<(), RulerError>,
    ) -> Result<(), RulerError> {
        let _one = self.changing.lock().await;
        let mut changed = self.ruler.read().clone();
        change(&mut changed)?;
        let (dir, written) = (self.config.data_dir.clone(), changed.clone());
        let written = tokio::task::spawn_blocking(move || written.write(&dir)).await;
        written.map_err(anyhow::Error::from).flatten()?;
        let before = self.in_force.read().clone();
        let (set, of_files): (Vec<_>, Vec<_>) =
            before.groups.into_iter().partition(|group| group.spec.set_by.is_some());
        let mut groups = of_files;
        for spec in changed.groups() {
            // One that stays as it was goes on with what it knows.
            let same = set.iter().find(|group| group.spec == spec).cloned();
            groups.push(same.unwrap_or_else(|| Arc::new(Group::new(spec, self.config.evaluation_interval))));
        }
        *self.ruler.write() = changed;
        self.put_in_force(InForce { groups, slos: before.slos }).await;
        Ok(())
    }

    /// YAML of one group that was set.
    pub fn rule_group(&self, shelf: &Shelf, group: &str) -> Result<String, RulerError> {
        self.ruler.read().group(shelf, group)
    }

    /// YAML of a tenant's groups that were set, by namespace; `None` where there are none.
    pub fn rule_groups(
        &self,
        tenant: &Tenant,
        language: Language,
        namespace: Option<&str>,
    ) -> Result<Option<String>, RulerError> {
        self.ruler.read().list(tenant, language, namespace)
    }

    /// Returns when all tasks have ended after `stop`, and the states are on disk.
    pub async fn join(&self) {
        self.pause().await;
        let mut lasting = self.lasting.lock().await;
        while lasting.join_next().await.is_some() {}
        drop(lasting);
        self.save().await;
    }

    pub fn tenant(&self) -> &Tenant {
        &self.config.tenant
    }

    /// A tenant's groups: those of files in their order, those of objectives, those that were set over the API.
    pub fn groups(&self, tenant: &Tenant) -> Vec<GroupView> {
        let owner = |group: &Group| match &group.spec.set_by {
            Some(set_by) => set_by.tenant == *tenant,
            None => self.config.tenant == *tenant,
        };
        self.groups_in_force().iter().filter(|group| owner(group)).map(|group| group.view()).collect()
    }

    /// Pending and firing alerts of all of a tenant's rules.
    pub fn active(&self, tenant: &Tenant) -> Vec<AlertView> {
        let rules = self.groups(tenant).into_iter().flat_map(|group| group.rules);
        rules.filter_map(|rule| rule.alerting).flat_map(|alerting| alerting.alerts).collect()
    }

    pub fn slos(&self) -> Vec<SloView> {
        let in_force = self.in_force.read().clone();
        in_force.slos.iter().map(|(slo, recorded, group)| budget::view(slo, recorded, group)).collect()
    }

    pub fn readings(&self) -> Vec<Reading> {
        let mut readings = self.counters.readings();
        let groups = self.groups_in_force();
        let rules: usize = groups.iter().map(|group| group.spec.rules.len()).sum();
        readings.push(Reading::gauge(
            "binnacle_alerts_rule_groups",
            "Rule groups in force",
            groups.len() as f64,
        ));
        readings.push(Reading::gauge("binnacle_alerts_rules", "Rules in force", rules as f64));
        for state in [State::Pending, State::Firing] {
            let count: usize = groups.iter().map(|group| group.count(state)).sum();
            readings.push(
                Reading::gauge("binnacle_alerts_active", "Alerts by state", count as f64)
                    .with("state", state.as_str()),
            );
        }
        readings.extend(self.receivers.readings());
        readings
    }

    fn groups_in_force(&self) -> Vec<Arc<Group>> {
        self.in_force.read().groups.clone()
    }

    /// What the configuration names now, checked down to the queries.
    async fn load(&self) -> anyhow::Result<InForce> {
        let config = self.config.clone();
        let read = move || -> anyhow::Result<Loaded> {
            let mut loaded = files::load(&config.rules, &config.slos)?;
            if config.with_demo_slos {
                let wrong = loaded.add(DEMO_SLOS.0, DEMO_SLOS.1, true);
                anyhow::ensure!(wrong.is_empty(), "{}", files::in_one_line(&wrong));
            }
            Ok(loaded)
        };
        let loaded = tokio::task::spawn_blocking(read).await.context("reading rules")??;
        let mut wrong = vec![];
        for query in &loaded.queries {
            if let Err(why) = check_query(self.world.ask.as_ref(), &query.text).await {
                wrong.push(query.mistake(why));
            }
        }
        if !wrong.is_empty() {
            bail!("{}", files::in_one_line(&wrong));
        }
        let interval = self.config.evaluation_interval;
        let mut next = InForce::default();
        for spec in loaded.groups {
            next.groups.push(Arc::new(Group::new(spec, interval)));
        }
        for slo in loaded.slos {
            let (spec, recorded) = crate::slo::rules::group(&slo, interval);
            let group = Arc::new(Group::new(spec, interval));
            next.groups.push(group.clone());
            next.slos.push((slo, recorded, group));
        }
        for spec in self.ruler.read().groups() {
            next.groups.push(Arc::new(Group::new(spec, interval)));
        }
        Ok(next)
    }

    /// Starts what lives as long as this: senders, and the writer of states.
    async fn begin(self: &Arc<Self>) -> anyhow::Result<()> {
        let mut lasting = self.lasting.lock().await;
        self.receivers.run(&self.clock, &self.changed, &self.stop, &mut lasting)?;
        let alerts = self.clone();
        lasting.spawn(async move {
            loop {
                tokio::select! {
                    () = alerts.stop.cancelled() => return,
                    () = alerts.changed.notified() => alerts.save().await,
                    // Says that we were still here, so that a kill is not taken for a long outage.
                    () = tokio::time::sleep(SIGN_OF_LIFE) => alerts.save().await,
                }
                tokio::select! {
                    () = alerts.stop.cancelled() => return,
                    () = tokio::time::sleep(SAVE_PAUSE) => {}
                }
            }
        });
        Ok(())
    }

    async fn run(self: &Arc<Self>, next: InForce) {
        let mut running = self.running.lock().await;
        let stop = self.stop.child_token();
        *running = Running { stop: stop.clone(), tasks: JoinSet::new() };
        for (i, group) in next.groups.iter().enumerate() {
            let (alerts, group, stop) = (self.clone(), group.clone(), stop.clone());
            running.tasks.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = alerts.evaluate_for_ever(&group, STAGGER * (i % 200) as u32) => {}
                }
            });
        }
        *self.in_force.write() = next;
    }

    /// Ends the groups' tasks and waits for them.
    async fn pause(&self) {
        let mut running = self.running.lock().await;
        running.stop.cancel();
        while running.tasks.join_next().await.is_some() {}
    }

    /// Once now, then at each multiple of the interval (shifted by the group's own offset, to spread the load).
    async fn evaluate_for_ever(&self, group: &Group, stagger: Duration) {
        tokio::time::sleep(stagger).await;
        let interval_ms = duration::ms(group.interval).max(1);
        let name = format!("{}\n{}", group.spec.file, group.spec.name);
        let offset_ms = (xxhash_rust::xxh3::xxh3_64(name.as_bytes()) % interval_ms as u64) as i64;
        let mut at_ms = self.clock.now_ms();
        loop {
            let outcome = {
                // The semaphore is never closed; without a turn there is nothing to evaluate.
                let Ok(_turn) = self.turns.acquire().await else { return };
                group.evaluate(&self.world, at_ms).await
            };
            let changed = outcome.changed;
            self.receivers.update(&self.addressed(group, outcome.alerts), at_ms);
            if changed {
                self.changed.notify_one();
            }
            let due_ms = slot_after(at_ms, interval_ms, offset_ms);
            let latest_ms = slot_after(self.clock.now_ms() - interval_ms, interval_ms, offset_ms);
            at_ms = due_ms.max(latest_ms);
            if at_ms > due_ms {
                let missed = (at_ms - due_ms) / interval_ms;
                self.counters.evaluations_missed.add(missed as u64);
                warn!(
                    group = group.spec.name,
                    missed, "evaluations are left out: the last one took too long"
                );
            }
            let wait_ms = (at_ms - self.clock.now_ms()).max(0) as u64;
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        }
    }

    async fn save(&self) {
        let mut rules = BTreeMap::new();
        for group in self.groups_in_force() {
            let with_alerts =
                group.states().into_iter().filter(|(_, state)| state.alerts.iter().next().is_some());
            rules.extend(with_alerts.map(|(key, state)| (key, state.alerts)));
        }
        let saved = Saved::new(self.clock.now_ms(), rules, self.receivers.to_disk());
        let dir = self.config.data_dir.clone();
        let written = tokio::task::spawn_blocking(move || saved.write(&dir)).await;
        if let Err(wrong) = written.map_err(anyhow::Error::from).flatten() {
            self.counters.state_write_failures.add(1);
            error!(
                error = format!("{wrong:#}"),
                "alert states are not on disk; a restart would begin with older ones"
            );
        }
    }
}

/// The objectives of the demo shop: the name they show as their file, and their text.
const DEMO_SLOS: (&str, &str) = ("demo-slos.yaml (built in)", include_str!("demo_slos.yaml"));

/// The first slot after `at_ms`.
fn slot_after(at_ms: i64, interval_ms: i64, offset_ms: i64) -> i64 {
    at_ms - (at_ms - offset_ms).rem_euclid(interval_ms) + interval_ms
}

#[cfg(test)]
mod tests;
