//! What a query holds, told to the pool that all queries share before it is held.

use crate::QueryError;
use crate::logql::broken;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use std::sync::Arc;
use store::{Allowance, ReadError};

/// What one piece of a query's work holds. It is given back when this goes.
#[derive(Debug)]
pub(crate) struct Room(MemoryReservation);

impl Room {
    /// Nothing is held yet. `what` is named where there is no room.
    pub fn of(what: &str, pool: &Arc<dyn MemoryPool>) -> Room {
        Room(MemoryConsumer::new(what).register(pool))
    }

    pub fn bytes(&self) -> usize {
        self.0.size()
    }

    /// Room for so much more; refused where all queries together would hold more than they may.
    pub fn take(&self, bytes: usize) -> Result<(), QueryError> {
        self.0.try_grow(bytes).map_err(broken)
    }

    pub fn give_back(&self, bytes: usize) {
        self.0.shrink(bytes.min(self.bytes()));
    }

    /// What is held turned out to be this.
    pub fn settle(&self, bytes: usize) -> Result<(), QueryError> {
        self.0.try_resize(bytes).map_err(broken)
    }
}

impl Allowance for Room {
    fn take(&self, bytes: usize) -> Result<(), ReadError> {
        Room::take(self, bytes).map_err(|refused| ReadError::TooMuch(refused.to_string()))
    }

    fn give_back(&self, bytes: usize) {
        Room::give_back(self, bytes);
    }
}

/// Keeps the room of an answer as long as the answer is somewhere. It says nothing of what is answered: any two are
/// equal.
#[derive(Clone, Debug, Default)]
pub struct Held(Option<Arc<Room>>);

impl Held {
    pub fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |room| room.bytes())
    }
}

impl From<Room> for Held {
    fn from(room: Room) -> Held {
        Held(Some(Arc::new(room)))
    }
}

impl PartialEq for Held {
    fn eq(&self, _: &Held) -> bool {
        true
    }
}
