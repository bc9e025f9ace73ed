//! What one receiver knows and should hear next: alerts in groups, and when each group is due. Plain values, no clock.
//!
//! A group is told a short while after its first alert, so that what breaks together comes together; again when an
//! alert joins or is resolved, not more often than `interval_ms`; and again after `repeat_ms` while it burns. What is
//! sent is built from the alerts as they are then, so a receiver that was away hears the present, not the past, and
//! the book never holds more than the alerts themselves.

use super::Alert;
use crate::state::State;
use model::Labels;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};

#[derive(Clone, Debug)]
pub struct Pace {
    pub group_by: Vec<String>,
    pub wait_ms: i64,
    pub interval_ms: i64,
    pub repeat_ms: i64,
    pub alerts_max: usize,
}

/// What was told last of a group; on disk, so that a restart neither repeats nor forgets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Told {
    pub group: Labels,
    pub at_ms: i64,
    /// Fingerprints of the alerts told as firing.
    pub firing: BTreeSet<u64>,
}

#[derive(Debug, Default)]
struct Group {
    alerts: BTreeMap<Labels, Alert>,
    told: Option<(i64, BTreeSet<u64>)>,
    /// When there was first something new to tell.
    news_ms: Option<i64>,
    failures: u32,
    retry_ms: i64,
}

pub struct Book {
    pace: Pace,
    groups: HashMap<Labels, Group>,
    alerts: usize,
}

/// What to send of a group: the alerts as they are now.
#[derive(Clone, Debug)]
pub struct Letter {
    pub group: Labels,
    pub alerts: Vec<Alert>,
}

/// What was told longer ago than this is forgotten: nobody resolved it, and nobody will.
const TOLD_KEPT_MS: i64 = 5 * 86_400_000;
const BACK_OFF_MS: i64 = 1_000;
const BACK_OFF_MAX_MS: i64 = 60_000;

impl Book {
    pub fn new(pace: Pace, told: Vec<Told>, now_ms: i64) -> Book {
        let fresh = told.into_iter().filter(|told| now_ms - told.at_ms < TOLD_KEPT_MS);
        let groups = fresh
            .map(|told| (told.group, Group { told: Some((told.at_ms, told.firing)), ..Group::default() }))
            .collect();
        Book { pace, groups, alerts: 0 }
    }

    /// Takes firing and resolved alerts as they are now. Gives how many found no room.
    pub fn update(&mut self, alerts: &[Alert], now_ms: i64) -> usize {
        let mut dropped = 0;
        for alert in alerts {
            let key = self.group_of(&alert.labels);
            if alert.state != State::Firing && !self.groups.contains_key(&key) {
                continue;
            }
            let group = self.groups.entry(key).or_default();
            let known = group.alerts.contains_key(&alert.labels);
            let told_firing = group.told_firing(alert);
            if alert.state != State::Firing && !told_firing {
                // Nobody heard of it, so nobody needs to hear that it is over.
                self.alerts -= usize::from(group.alerts.remove(&alert.labels).is_some());
                continue;
            }
            if !known && self.alerts >= self.pace.alerts_max {
                dropped += 1;
                continue;
            }
            self.alerts += usize::from(!known);
            if (alert.state == State::Firing) != told_firing {
                group.news_ms.get_or_insert(now_ms);
            }
            group.alerts.insert(alert.labels.clone(), alert.clone());
        }
        self.groups.retain(|_, group| {
            !group.alerts.is_empty()
                || group
                    .told
                    .as_ref()
                    .is_some_and(|(at_ms, firing)| !firing.is_empty() && now_ms - at_ms < TOLD_KEPT_MS)
        });
        dropped
    }

    fn group_of(&self, labels: &Labels) -> Labels {
        Labels::from_pairs(
            self.pace.group_by.iter().filter_map(|name| labels.get(name).map(|value| (name, value))),
        )
    }

    pub fn next_due_ms(&self) -> Option<i64> {
        self.groups.values().filter_map(|group| group.due_ms(&self.pace)).min()
    }

    /// The letters that should go out at `now_ms`.
    pub fn due(&self, now_ms: i64) -> Vec<Letter> {
        let due =
            self.groups.iter().filter(|(_, group)| group.due_ms(&self.pace).is_some_and(|due| due <= now_ms));
        due.map(|(key, group)| Letter {
            group: key.clone(),
            alerts: group.alerts.values().cloned().collect(),
        })
        .collect()
    }

    /// The receiver has the letter (or will never take it).
    pub fn told(&mut self, letter: &Letter, now_ms: i64) {
        let Some(group) = self.groups.get_mut(&letter.group) else { return };
        let (firing, over): (Vec<_>, Vec<_>) =
            letter.alerts.iter().partition(|alert| alert.state == State::Firing);
        group.told = Some((now_ms, firing.iter().map(|alert| alert.fingerprint()).collect()));
        for alert in over {
            // Unless it came back while the letter was on its way.
            if group.alerts.get(&alert.labels).is_some_and(|now| now.state != State::Firing) {
                group.alerts.remove(&alert.labels);
                self.alerts -= 1;
            }
        }
        (group.failures, group.retry_ms, group.news_ms) = (0, 0, None);
        if group.has_news() {
            group.news_ms = Some(now_ms);
        } else if group.alerts.is_empty() {
            self.groups.remove(&letter.group);
        }
    }

    /// The receiver could not be reached: once more, later each time.
    pub fn failed(&mut self, letter: &Letter, now_ms: i64) {
        let Some(group) = self.groups.get_mut(&letter.group) else { return };
        group.retry_ms = now_ms + (BACK_OFF_MS << group.failures.min(10)).min(BACK_OFF_MAX_MS);
        group.failures += 1;
    }

    pub fn to_disk(&self) -> Vec<Told> {
        let told = |(key, group): (&Labels, &Group)| {
            let (at_ms, firing) = group.told.clone()?;
            Some(Told { group: key.clone(), at_ms, firing })
        };
        self.groups.iter().filter_map(told).collect()
    }

    /// Groups with something to tell, and alerts held.
    pub fn waiting(&self) -> (usize, usize) {
        (self.groups.values().filter(|group| group.news_ms.is_some()).count(), self.alerts)
    }
}

impl Group {
    fn told_firing(&self, alert: &Alert) -> bool {
        self.told.as_ref().is_some_and(|(_, firing)| firing.contains(&alert.fingerprint()))
    }

    fn has_news(&self) -> bool {
        self.alerts.values().any(|alert| (alert.state == State::Firing) != self.told_firing(alert))
    }

    fn due_ms(&self, pace: &Pace) -> Option<i64> {
        let told_ms = self.told.as_ref().map(|(at_ms, _)| *at_ms);
        let due_ms = if self.has_news() {
            let waited = self.news_ms? + pace.wait_ms;
            told_ms.map_or(waited, |at_ms| waited.max(at_ms + pace.interval_ms))
        } else if self.alerts.values().any(|alert| alert.state == State::Firing) {
            told_ms? + pace.repeat_ms
        } else {
            return None;
        };
        Some(due_ms.max(self.retry_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace() -> Pace {
        Pace {
            group_by: vec!["alertname".into()],
            wait_ms: 10,
            interval_ms: 100,
            repeat_ms: 1000,
            alerts_max: 3,
        }
    }

    fn alert(name: &str, pod: &str, state: State) -> Alert {
        Alert { labels: Labels::from_pairs([("alertname", name), ("pod", pod)]), state, ..Alert::default() }
    }

    fn tell(book: &mut Book, now_ms: i64) -> Vec<String> {
        let mut told = vec![];
        for letter in book.due(now_ms) {
            told.push(
                letter
                    .alerts
                    .iter()
                    .map(|a| format!("{}{}", a.labels.get("pod").unwrap(), a.state.as_str()))
                    .collect(),
            );
            book.told(&letter, now_ms);
        }
        told
    }

    #[test]
    fn a_group_is_told_once_then_of_news_then_again() {
        let mut book = Book::new(pace(), vec![], 0);
        let none = Vec::<String>::new();
        book.update(&[alert("A", "1", State::Firing)], 0);
        assert_eq!(book.next_due_ms(), Some(10));
        book.update(&[alert("A", "2", State::Firing)], 5);
        assert_eq!(tell(&mut book, 9), none);
        assert_eq!(tell(&mut book, 10), ["1firing2firing"]);
        book.update(&[alert("A", "1", State::Firing), alert("A", "2", State::Resolved)], 20);
        assert_eq!(tell(&mut book, 109), none);
        assert_eq!(tell(&mut book, 110), ["1firing2resolved"]);
        assert_eq!(tell(&mut book, 1109), none);
        assert_eq!(tell(&mut book, 1110), ["1firing"], "it still burns");
        book.update(&[alert("A", "1", State::Resolved)], 1200);
        assert_eq!(tell(&mut book, 1210), ["1resolved"]);
        book.update(&[alert("A", "1", State::Resolved)], 1300);
        assert_eq!((tell(&mut book, 99_999), book.waiting()), (none, (0, 0)));
    }

    #[test]
    fn what_nobody_heard_of_is_not_told_as_resolved() {
        let mut book = Book::new(pace(), vec![], 0);
        book.update(&[alert("A", "1", State::Firing)], 0);
        book.update(&[alert("A", "1", State::Resolved)], 5);
        assert_eq!(book.next_due_ms(), None);
        assert_eq!(book.waiting(), (0, 0));
    }

    #[test]
    fn a_restart_neither_repeats_nor_forgets() {
        let mut book = Book::new(pace(), vec![], 0);
        book.update(&[alert("A", "1", State::Firing)], 0);
        tell(&mut book, 10);
        let told = serde_json::from_str(&serde_json::to_string(&book.to_disk()).unwrap()).unwrap();
        let mut book = Book::new(pace(), told, 50);
        book.update(&[alert("A", "1", State::Firing)], 60);
        assert_eq!(book.next_due_ms(), Some(1010), "only the repetition");
        book.update(&[alert("A", "1", State::Resolved)], 70);
        assert_eq!(tell(&mut book, 200), ["1resolved"]);
    }

    #[test]
    fn a_receiver_that_is_away_is_tried_later_each_time_and_hears_the_present() {
        let mut book = Book::new(pace(), vec![], 0);
        book.update(&[alert("A", "1", State::Firing)], 0);
        let mut at = 10;
        for wait in [1_000, 2_000, 4_000] {
            let letters = book.due(at);
            book.failed(&letters[0], at);
            assert_eq!(book.next_due_ms(), Some(at + wait));
            at += wait;
        }
        for _ in 0..40 {
            let letters = book.due(at);
            book.failed(&letters[0], at);
            at = book.next_due_ms().unwrap();
        }
        assert!(at - 7_010 <= 41 * 60_000, "the back-off has an end");
        book.update(&[alert("A", "2", State::Firing)], at);
        assert_eq!(tell(&mut book, at), ["1firing2firing"]);
    }

    #[test]
    fn an_alert_that_comes_back_while_the_letter_travels_is_kept() {
        let mut book = Book::new(pace(), vec![], 0);
        book.update(&[alert("A", "1", State::Firing)], 0);
        tell(&mut book, 10);
        book.update(&[alert("A", "1", State::Resolved)], 20);
        let letter = book.due(200).remove(0);
        book.update(&[alert("A", "1", State::Firing)], 205);
        book.told(&letter, 210);
        assert_eq!(book.next_due_ms(), Some(310), "it fires again, and that is news");
    }

    #[test]
    fn the_book_has_a_bound() {
        let mut book = Book::new(pace(), vec![], 0);
        let many: Vec<Alert> = (0..5).map(|i| alert("A", &i.to_string(), State::Firing)).collect();
        assert_eq!(book.update(&many, 0), 2);
        assert_eq!(book.waiting(), (1, 3));
    }
}
