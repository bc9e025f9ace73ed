//! Resources that came lately, by their bytes: senders tell theirs again with every request, and spans of many of them share
//! one in memory.

use crate::Malformed;
use model::Attributes;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// Of the messages; what they become is some times as large.
const BYTES_MAX: usize = 1 << 20;
/// A larger one is decoded each time.
const MESSAGE_BYTES_MAX: usize = 16 << 10;

/// Attributes, and how many the sender left out.
pub type Resource = (Arc<Attributes>, u32);

#[derive(Default)]
pub struct Resources(Mutex<Known>);

#[derive(Default)]
struct Known {
    by_message: HashMap<Box<[u8]>, Resource>,
    bytes: usize,
}

impl Resources {
    /// The resource of a message, which is decoded where it is not known.
    pub(super) fn of(
        &self,
        message: &[u8],
        decode: impl FnOnce(&[u8]) -> Result<(Attributes, u32), Malformed>,
    ) -> Result<Resource, Malformed> {
        if let Some(known) = self.0.lock().by_message.get(message) {
            return Ok(known.clone());
        }
        let (attributes, dropped) = decode(message)?;
        let made = (Arc::new(attributes), dropped);
        if message.len() > MESSAGE_BYTES_MAX {
            return Ok(made);
        }
        let mut known = self.0.lock();
        if known.bytes + message.len() > BYTES_MAX {
            // Those that still come are soon known again.
            *known = Known::default();
        }
        if known.by_message.insert(message.into(), made.clone()).is_none() {
            known.bytes += message.len();
        }
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_is_decoded_once_and_what_is_kept_is_bounded() {
        let resources = Resources::default();
        let named = |message: &[u8]| Ok((vec![("n".to_owned(), (message.len() as i64).into())], 7));
        let first = resources.of(b"abc", named).unwrap();
        assert_eq!((first.0.len(), first.1), (1, 7));
        let again = resources.of(b"abc", |_| Err(Malformed("decoded again".into()))).unwrap();
        assert!(Arc::ptr_eq(&first.0, &again.0));
        assert!(resources.of(b"broken", |_| Err(Malformed("cut".into()))).is_err());
        for number in 0..3_000u32 {
            resources.of(&[&number.to_le_bytes()[..], &[1; 1_000]].concat(), named).unwrap();
            let known = resources.0.lock();
            let bytes: usize = known.by_message.keys().map(|message| message.len()).sum();
            assert!(bytes == known.bytes && bytes <= BYTES_MAX, "{bytes} of {}", known.bytes);
        }
        let before = resources.0.lock().bytes;
        resources.of(&vec![1; MESSAGE_BYTES_MAX + 1], named).unwrap();
        assert_eq!(resources.0.lock().bytes, before);
    }
}
