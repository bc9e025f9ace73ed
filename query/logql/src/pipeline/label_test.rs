//! Comparisons that decide over a line by one of its labels, whoever makes them.

use super::number;
use crate::ast::{Compare, LabelFilter, Unit};
use model::{Matcher, TestLabel};
use std::sync::Arc;

/// A comparison that decides over a line by one of its labels.
pub enum LabelTest<'a> {
    Text(&'a Matcher),
    Number { name: &'a str, op: Compare, limit: f64, unit: Unit },
}

impl<'a> LabelTest<'a> {
    pub(super) fn of(filter: &'a LabelFilter) -> Option<LabelTest<'a>> {
        match filter {
            LabelFilter::Text(matcher) => Some(LabelTest::Text(matcher)),
            LabelFilter::Number { name, op, value, unit } => {
                Some(LabelTest::Number { name, op: *op, limit: *value, unit: *unit })
            }
            LabelFilter::Ip { .. } | LabelFilter::And(..) | LabelFilter::Or(..) => None,
        }
    }

    pub(super) fn to_hand_on(&self) -> Arc<dyn TestLabel> {
        Arc::new(match self {
            LabelTest::Text(matcher) => HandedOn::Text((*matcher).clone()),
            LabelTest::Number { name, op, limit, unit } => {
                HandedOn::Number { name: (*name).to_owned(), op: *op, limit: *limit, unit: *unit }
            }
        })
    }

    /// The label.
    pub fn name(&self) -> &str {
        match self {
            LabelTest::Text(matcher) => &matcher.name,
            LabelTest::Number { name, .. } => name,
        }
    }

    /// Whether a line without an error passes whose label has this value. `None` where the value cannot be compared,
    /// which the line gets an error for.
    pub fn passes(&self, value: Option<&str>) -> Option<bool> {
        match (self, value) {
            (LabelTest::Text(matcher), _) => Some(matcher.matches(value.unwrap_or(""))),
            (LabelTest::Number { op, limit, unit, .. }, Some(text)) => {
                number(*unit, text).map(|number| op.holds(number, *limit))
            }
            (LabelTest::Number { .. }, None) => Some(false),
        }
    }
}

/// The same without the query that it came from.
#[derive(Debug)]
enum HandedOn {
    Text(Matcher),
    Number { name: String, op: Compare, limit: f64, unit: Unit },
}

impl HandedOn {
    fn test(&self) -> LabelTest<'_> {
        match self {
            HandedOn::Text(matcher) => LabelTest::Text(matcher),
            HandedOn::Number { name, op, limit, unit } => {
                LabelTest::Number { name, op: *op, limit: *limit, unit: *unit }
            }
        }
    }
}

impl TestLabel for HandedOn {
    fn name(&self) -> &str {
        match self {
            HandedOn::Text(matcher) => &matcher.name,
            HandedOn::Number { name, .. } => name,
        }
    }

    fn passes(&self, value: Option<&str>) -> Option<bool> {
        self.test().passes(value)
    }
}
