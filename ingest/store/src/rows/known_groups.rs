//! Groups of spans that came lately, by their resources: senders tell the same ones with every request, and whoever decodes
//! them shares them.

use super::groups::{AttributeBytes, Group};
use foldhash::HashMap;
use model::{Attributes, ResourceSpans, Scope};
use parking_lot::Mutex;
use std::sync::Arc;

/// About a kilobyte each. Those that still come are soon known again.
const GROUPS_MAX: usize = 4_096;
/// Of all groups and their resources, about.
const BYTES_MAX: usize = 16 << 20;
/// A larger one is made each time.
const KEPT_BYTES_MAX: usize = 32 << 10;

#[derive(Default)]
pub struct KnownGroups(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// By where the resource lies, which it does as long as it is in here.
    by_address: HashMap<usize, Vec<One>>,
    count: usize,
    bytes: usize,
}

struct One {
    resource: Arc<Attributes>,
    schema_url: String,
    dropped: u32,
    scope: Scope,
    group: Arc<Group>,
}

impl One {
    fn is_of(&self, spans: &ResourceSpans) -> bool {
        Arc::ptr_eq(&self.resource, &spans.resource)
            && self.schema_url == spans.schema_url
            && self.dropped == spans.dropped_attributes
            && self.scope == spans.scope
    }
}

impl KnownGroups {
    /// The group of these spans.
    pub fn of(&self, spans: &ResourceSpans) -> Arc<Group> {
        // One that nobody else has does not come again.
        if Arc::strong_count(&spans.resource) == 1 {
            return Arc::new(group(spans));
        }
        let address = Arc::as_ptr(&spans.resource).addr();
        let mut known = self.0.lock();
        let found = known.by_address.get(&address).and_then(|all| all.iter().find(|one| one.is_of(spans)));
        if let Some(one) = found {
            return one.group.clone();
        }
        let made = Arc::new(group(spans));
        // The resource is kept, too.
        let bytes = 2 * made.bytes();
        if bytes > KEPT_BYTES_MAX {
            return made;
        }
        if known.count >= GROUPS_MAX || known.bytes + bytes > BYTES_MAX {
            *known = Known::default();
        }
        known.count += 1;
        known.bytes += bytes;
        known.by_address.entry(address).or_default().push(One {
            resource: spans.resource.clone(),
            schema_url: spans.schema_url.clone(),
            dropped: spans.dropped_attributes,
            scope: spans.scope.clone(),
            group: made.clone(),
        });
        made
    }
}

fn group(spans: &ResourceSpans) -> Group {
    Group {
        resource: AttributeBytes::of(&spans.resource),
        scope_name: spans.scope.name.clone(),
        scope_version: spans.scope.version.clone(),
        scope_attributes: AttributeBytes::of(&spans.scope.attributes),
        urls: [&spans.schema_url, &spans.scope.schema_url].map(String::clone),
        dropped: [spans.dropped_attributes, spans.scope.dropped_attributes],
        ..Group::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_that_comes_again_has_its_group_and_what_is_kept_is_bounded() {
        let known = KnownGroups::default();
        let of = |name: &str| ResourceSpans {
            resource: Arc::new(vec![("service.name".to_owned(), name.into())]),
            ..ResourceSpans::default()
        };
        let (cart, mut other) = (of("cart"), of("cart"));
        let kept = cart.resource.clone();
        let first = known.of(&cart);
        assert!(Arc::ptr_eq(&first, &known.of(&cart)));
        assert_eq!(*known.of(&other), *first);
        other.resource = kept.clone();
        assert!(Arc::ptr_eq(&first, &known.of(&other)));
        for change in [
            |spans: &mut ResourceSpans| spans.scope.version = "2".into(),
            |spans: &mut ResourceSpans| spans.scope.dropped_attributes = 1,
            |spans: &mut ResourceSpans| spans.schema_url = "https://schema".into(),
            |spans: &mut ResourceSpans| spans.dropped_attributes = 1,
        ] {
            let mut changed = ResourceSpans { resource: kept.clone(), ..ResourceSpans::default() };
            change(&mut changed);
            assert_eq!(*known.of(&changed), group(&changed));
            assert_ne!(*known.of(&changed), *first);
        }
        let many: Vec<ResourceSpans> = (0..2 * GROUPS_MAX).map(|at| of(&at.to_string())).collect();
        for spans in &many {
            let shared = spans.resource.clone();
            assert_eq!(*known.of(spans), group(spans));
            drop(shared);
        }
        assert!(known.0.lock().count <= GROUPS_MAX);
    }

    #[test]
    fn large_resources_are_not_kept() {
        let known = KnownGroups::default();
        let of = |number: usize, bytes: usize| ResourceSpans {
            resource: Arc::new(vec![(number.to_string(), "x".repeat(bytes).into())]),
            ..ResourceSpans::default()
        };
        let shared = |spans: &ResourceSpans| spans.resource.clone();
        let (large, mut wordy) = (of(0, KEPT_BYTES_MAX + 1), of(0, 1));
        wordy.scope.name = "x".repeat(KEPT_BYTES_MAX);
        for spans in [large, wordy] {
            let _shared = shared(&spans);
            assert!(!Arc::ptr_eq(&known.of(&spans), &known.of(&spans)));
        }
        for number in 0..3 * BYTES_MAX / KEPT_BYTES_MAX {
            let spans = of(number, KEPT_BYTES_MAX / 2);
            let _shared = shared(&spans);
            known.of(&spans);
            let known = known.0.lock();
            let resources =
                known.by_address.values().flatten().map(|one| one.resource[0].1.to_string().len());
            assert!(resources.sum::<usize>() <= BYTES_MAX, "{number}");
        }
    }
}
