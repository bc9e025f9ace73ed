//! What resources are counted as. Rows have the number of theirs, so that it is counted how often each occurs, and then what it has.

use super::known::KnownKeys;
use super::rows::{One, Rows};
use super::table::{Place, Table};
use crate::QueryError;
use crate::traceql::spans::Resources;
use traceql::Scope;

/// Where the attributes of resources are counted, as long as the dictionary is the same.
#[derive(Default)]
pub(super) struct KnownResources {
    known: KnownKeys,
    /// Of each resource that was seen its columns and the places there.
    places: Vec<Option<Vec<(usize, Place)>>>,
}

impl KnownResources {
    pub fn count(
        &mut self,
        resources: &Resources<'_>,
        rows: &Rows,
        table: &mut Table,
    ) -> Result<(), QueryError> {
        let keyed = resources.keyed();
        if self.known.keep(&keyed) {
            self.places.clear();
            self.places.resize(keyed.words, None);
        }
        let places = &mut self.places;
        let count = |(row, one): (usize, One)| {
            let key = resources.keys[row] as usize;
            if let Some(own) = places.get_mut(key) {
                let own = own.get_or_insert_with(|| places_of(resources, key, table));
                own.iter().for_each(|(column, place)| table.count_at(*column, *place, one));
            }
            table.held.ask_if_much()
        };
        match self.known.tally(&keyed, rows) {
            Some(tallied) => {
                let counted = tallied.iter().try_for_each(count);
                self.known.give_back(tallied);
                counted
            }
            None => rows.iter().try_for_each(count),
        }
    }
}

fn places_of(resources: &Resources<'_>, key: usize, table: &mut Table) -> Vec<(usize, Place)> {
    let entries = resources.maps.entries(key);
    let places: Vec<(usize, Place)> =
        entries.map(|(name, text, kind)| table.place(Scope::Resource, name, (text, kind))).collect();
    table.held.grown += places.len() * size_of::<(usize, Place)>() + size_of::<Vec<(usize, Place)>>();
    places
}
