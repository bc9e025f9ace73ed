//! What one key of a row says of several fields: that of its resource of all attributes there, that of its root of two. It is counted
//! how often each key occurs, and then what it says. Where a field has more values than there is room for, those of the first steps
//! of a batch come first.

use super::known::KnownKeys;
use super::rows::{One, Rows};
use super::table::{Place, Table};
use crate::QueryError;
use crate::traceql::spans::{Keyed, Resources};
use traceql::Scope;

/// Where what keys say is counted, as long as they are those of the same dictionary.
#[derive(Default)]
pub(super) struct KnownShared {
    known: KnownKeys,
    /// Of each key that was seen the columns and the places there.
    places: Vec<Option<Vec<(usize, Place)>>>,
    /// Bytes that these take, and the most so far, which were asked for.
    taken: usize,
    asked_for: usize,
}

impl KnownShared {
    /// `places` tells what a key says; rows with other keys are of none.
    pub fn count(
        &mut self,
        keyed: &Keyed<'_>,
        rows: &Rows,
        table: &mut Table,
        places: impl Fn(usize, &mut Table) -> Vec<(usize, Place)>,
    ) -> Result<(), QueryError> {
        if self.known.keep(keyed) {
            self.places.clear();
            self.places.resize(keyed.words, None);
            self.taken = size_of_val(&self.places[..]);
        }
        let (of_keys, taken) = (&mut self.places, &mut self.taken);
        let count = |(row, one): (usize, One)| {
            let key = keyed.keys[row] as usize;
            if let Some(own) = of_keys.get_mut(key) {
                let own = own.get_or_insert_with(|| {
                    let own = places(key, table);
                    *taken += size_of_val(&own[..]);
                    own
                });
                own.iter().for_each(|(column, place)| table.count_at(*column, *place, one));
            }
            table.held.ask_if_much()
        };
        match self.known.tally(keyed, rows) {
            Some(tallied) => {
                let counted = tallied.iter().try_for_each(count);
                self.known.give_back(tallied);
                counted?;
            }
            None => rows.iter().try_for_each(count)?,
        }
        table.held.grown += self.taken.saturating_sub(self.asked_for);
        self.asked_for = self.asked_for.max(self.taken);
        table.held.ask_if_much()
    }
}

/// Of the resource with this key.
pub(super) fn places_of_resource(
    resources: &Resources<'_>,
    key: usize,
    table: &mut Table,
) -> Vec<(usize, Place)> {
    let entries = resources.maps.entries(key);
    entries.map(|(name, text, kind)| table.place(Scope::Resource, name, (text, kind))).collect()
}
