//! Exemplars: the newest of them, within a bound of bytes for all tenants together. They are few beside samples and are
//! asked for by series and time, so they live in memory; the log has those that are new, the catalog the others.
//!
//! Where the bound is passed, the oldest of the tenant that holds most goes: one tenant's many push out its own.

use model::{Exemplar, Labels, SeriesSelect, Tenant};
use std::collections::{HashMap, HashSet, VecDeque};

pub struct ExemplarBook {
    tenants: HashMap<Tenant, OfTenant>,
    bytes: usize,
    bytes_max: usize,
    next_id: i64,
    /// Those from here on are not in the catalog.
    unsaved_from: i64,
    /// Up to which id, by tenant, the catalog may have exemplars that are gone here.
    gone: HashMap<Tenant, i64>,
}

#[derive(Default)]
struct OfTenant {
    series: HashMap<Labels, VecDeque<Kept>>,
    /// The series of each, oldest first.
    order: VecDeque<(i64, Labels)>,
    /// Fingerprints: a sender that sends a batch again must not double it.
    known: HashSet<u64>,
    bytes: usize,
}

struct Kept {
    id: i64,
    labels: Labels,
    ts_ms: i64,
    value: f64,
}

/// An exemplar as the catalog has it.
#[derive(Clone, Debug)]
pub struct Row {
    pub id: i64,
    pub tenant: Tenant,
    pub exemplar: Exemplar,
}

/// What a flush makes true in the catalog.
#[derive(Default)]
pub struct Changes {
    pub added: Vec<Row>,
    /// Of each tenant, exemplars up to this id are gone.
    pub gone: Vec<(Tenant, i64)>,
    next_id: i64,
}

/// Beside its labels, what an exemplar costs: places in three collections.
const EXEMPLAR_BYTES: usize = 150;

fn bytes_of(series: &Labels, labels: &Labels) -> usize {
    EXEMPLAR_BYTES + series.as_bytes().len() + labels.as_bytes().len()
}

fn fingerprint(series: &Labels, labels: &Labels, ts_ms: i64, value: f64) -> u64 {
    let mut bytes = Vec::with_capacity(32);
    for number in [series.fingerprint(), labels.fingerprint(), ts_ms as u64, value.to_bits()] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    xxhash_rust::xxh3::xxh3_64(&bytes)
}

impl ExemplarBook {
    /// From the catalog's rows, by ascending id.
    pub fn load(rows: Vec<Row>, bytes_max: usize) -> ExemplarBook {
        let mut book = ExemplarBook {
            tenants: HashMap::new(),
            bytes: 0,
            bytes_max,
            next_id: 0,
            unsaved_from: 0,
            gone: HashMap::new(),
        };
        for Row { id, tenant, exemplar } in rows {
            book.next_id = id;
            book.add(&tenant, &[exemplar]);
        }
        book.unsaved_from = book.next_id;
        book
    }

    /// What is there already is not added again.
    pub fn add(&mut self, tenant: &Tenant, exemplars: &[Exemplar]) {
        for Exemplar { series, labels, ts_ms, value } in exemplars {
            let of_tenant = self.tenants.entry(tenant.clone()).or_default();
            if !of_tenant.known.insert(fingerprint(series, labels, *ts_ms, *value)) {
                continue;
            }
            let kept = Kept { id: self.next_id, labels: labels.clone(), ts_ms: *ts_ms, value: *value };
            of_tenant.order.push_back((kept.id, series.clone()));
            of_tenant.series.entry(series.clone()).or_default().push_back(kept);
            of_tenant.bytes += bytes_of(series, labels);
            self.bytes += bytes_of(series, labels);
            self.next_id += 1;
            while self.bytes > self.bytes_max && self.drop_oldest() {}
        }
    }

    fn drop_oldest(&mut self) -> bool {
        let Some((tenant, most)) = self.tenants.iter_mut().max_by_key(|(_, of_tenant)| of_tenant.bytes)
        else {
            return false;
        };
        let Some((id, freed)) = most.pop_oldest() else { return false };
        self.bytes -= freed;
        self.gone.insert(tenant.clone(), id);
        true
    }

    /// By series in the order of their labels, then by time.
    pub fn select(&self, tenant: &Tenant, select: &SeriesSelect) -> Vec<Exemplar> {
        let Some(of_tenant) = self.tenants.get(tenant) else { return vec![] };
        let mut found = vec![];
        for (series, kept) in &of_tenant.series {
            if !select.matchers.iter().all(|matcher| matcher.matches_labels(series)) {
                continue;
            }
            found.extend(kept.iter().filter(|kept| select.range.contains(kept.ts_ms)).map(|kept| Exemplar {
                series: series.clone(),
                labels: kept.labels.clone(),
                ts_ms: kept.ts_ms,
                value: kept.value,
            }));
        }
        found.sort_by(|a, b| a.series.cmp(&b.series).then(a.ts_ms.cmp(&b.ts_ms)));
        found
    }

    /// Removes what is older than `before_ms`. The catalog is told by time.
    pub fn expire(&mut self, before_ms: i64) {
        for of_tenant in self.tenants.values_mut() {
            let (freed, _) = of_tenant.remove(|_, kept| kept.ts_ms < before_ms);
            self.bytes -= freed;
        }
        self.tenants.retain(|_, of_tenant| !of_tenant.order.is_empty());
    }

    /// Removes a tenant's of such series in the range; hands back their ids, which the catalog may have.
    pub fn remove(&mut self, tenant: &Tenant, select: &SeriesSelect) -> Vec<i64> {
        let Some(of_tenant) = self.tenants.get_mut(tenant) else { return vec![] };
        let (freed, ids) = of_tenant.remove(|series, kept| {
            select.range.contains(kept.ts_ms)
                && select.matchers.iter().all(|matcher| matcher.matches_labels(series))
        });
        self.bytes -= freed;
        ids.into_iter().collect()
    }

    /// What the catalog does not have yet, and what it has too many.
    pub fn changes(&self) -> Changes {
        let mut added = vec![];
        for (tenant, of_tenant) in &self.tenants {
            let unsaved = of_tenant.order.iter().rev().take_while(|(id, _)| *id >= self.unsaved_from);
            added.extend(unsaved.filter_map(|(id, series)| {
                let exemplar = of_tenant.get(*id, series)?;
                Some(Row { id: *id, tenant: tenant.clone(), exemplar })
            }));
        }
        added.sort_unstable_by_key(|row| row.id);
        let gone = self.gone.iter().map(|(tenant, id)| (tenant.clone(), *id)).collect();
        Changes { added, gone, next_id: self.next_id }
    }

    /// The catalog has them.
    pub fn saved(&mut self, changes: &Changes) {
        self.unsaved_from = changes.next_id;
        for (tenant, id) in &changes.gone {
            if self.gone.get(tenant) == Some(id) {
                self.gone.remove(tenant);
            }
        }
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn len(&self) -> usize {
        self.tenants.values().map(|of_tenant| of_tenant.order.len()).sum()
    }
}

impl OfTenant {
    fn get(&self, id: i64, series: &Labels) -> Option<Exemplar> {
        let of_series = self.series.get(series)?;
        let kept = &of_series[of_series.binary_search_by_key(&id, |kept| kept.id).ok()?];
        let (series, labels) = (series.clone(), kept.labels.clone());
        Some(Exemplar { series, labels, ts_ms: kept.ts_ms, value: kept.value })
    }

    /// Its id, and the bytes that are free now.
    fn pop_oldest(&mut self) -> Option<(i64, usize)> {
        let (id, series) = self.order.pop_front()?;
        // Of one series, too, the oldest stands first.
        let of_series = self.series.get_mut(&series)?;
        let kept = of_series.pop_front()?;
        if of_series.is_empty() {
            self.series.remove(&series);
        }
        self.known.remove(&fingerprint(&series, &kept.labels, kept.ts_ms, kept.value));
        let freed = bytes_of(&series, &kept.labels);
        self.bytes -= freed;
        Some((id, freed))
    }

    /// The bytes that are free now, and the ids of those that are gone.
    fn remove(&mut self, mut goes: impl FnMut(&Labels, &Kept) -> bool) -> (usize, HashSet<i64>) {
        let (mut freed, mut gone) = (0, HashSet::new());
        self.series.retain(|series, of_series| {
            of_series.retain(|kept| {
                let stays = !goes(series, kept);
                if !stays {
                    gone.insert(kept.id);
                    freed += bytes_of(series, &kept.labels);
                    self.known.remove(&fingerprint(series, &kept.labels, kept.ts_ms, kept.value));
                }
                stays
            });
            !of_series.is_empty()
        });
        self.order.retain(|(id, _)| !gone.contains(id));
        self.bytes -= freed;
        (freed, gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Matcher, TimeRange};

    fn exemplar(series: &str, trace: i64) -> Exemplar {
        Exemplar {
            series: Labels::from_pairs([("__name__", series)]),
            labels: Labels::from_pairs([("trace_id", format!("{trace:05}"))]),
            ts_ms: trace,
            value: trace as f64,
        }
    }

    fn book(exemplars_max: usize) -> ExemplarBook {
        let one = exemplar("a", 1);
        ExemplarBook::load(vec![], exemplars_max * bytes_of(&one.series, &one.labels))
    }

    fn times(book: &ExemplarBook, tenant: &str) -> Vec<i64> {
        let everything = SeriesSelect { matchers: vec![], range: TimeRange::ALL };
        let found = book.select(&Tenant::new(tenant).unwrap(), &everything);
        found.iter().map(|exemplar| exemplar.ts_ms).collect()
    }

    #[test]
    fn the_tenant_with_most_loses_its_oldest() {
        let (small, large) = (Tenant::new("small").unwrap(), Tenant::new("large").unwrap());
        let mut book = book(10);
        book.add(&small, &[exemplar("a", 1), exemplar("a", 2)]);
        book.add(&large, &(1..=100).map(|n| exemplar("b", n)).collect::<Vec<_>>());
        assert_eq!(times(&book, "small"), [1, 2]);
        assert_eq!(times(&book, "large"), (93..=100).collect::<Vec<_>>());
        assert_eq!((book.len(), book.bytes() <= book.bytes_max), (10, true));
        let changes = book.changes();
        assert_eq!((changes.added.len(), changes.gone.len()), (10, 1), "only what stays is saved");
    }

    #[test]
    fn what_is_sent_again_is_there_once() {
        let tenant = Tenant::default();
        let mut book = book(10);
        for _ in 0..3 {
            book.add(&tenant, &[exemplar("a", 1), Exemplar { value: f64::NAN, ..exemplar("a", 1) }]);
        }
        assert_eq!(book.len(), 2);
        let changes = book.changes();
        book.saved(&changes);
        assert!(book.changes().added.is_empty());
        let mut again = ExemplarBook::load(changes.added, 1 << 20);
        again.add(&tenant, &[exemplar("a", 1)]);
        assert_eq!((again.len(), again.changes().added.len()), (2, 0));
        again.add(&tenant, &[exemplar("a", 2)]);
        assert!(again.changes().added[0].id > 1, "ids go on");
    }

    #[test]
    fn a_selection_is_by_labels_and_time_and_old_ones_go() {
        let tenant = Tenant::default();
        let mut book = book(100);
        book.add(&tenant, &[exemplar("b", 5), exemplar("a", 9), exemplar("a", 3), exemplar("c", 4)]);
        let matchers = vec![Matcher::new("__name__", model::Match::Regex, "a|b").unwrap()];
        let found = book.select(&tenant, &SeriesSelect { matchers, range: TimeRange { start: 3, end: 5 } });
        assert_eq!(found, [exemplar("a", 3), exemplar("b", 5)]);
        book.expire(5);
        assert_eq!(times(&book, "default"), [9, 5]);
        book.expire(100);
        assert_eq!((book.len(), book.bytes()), (0, 0));
    }
}
