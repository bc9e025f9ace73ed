//! Which values may be compared, and how they are.

use crate::template::printf::printf;
use crate::template::value::Item;
use std::cmp::Ordering;

fn incompatible(left: &Item, right: &Item) -> String {
    format!("incompatible types for comparison: {} and {}", left.type_name(), right.type_name())
}

pub(super) fn same(left: &Item, right: &Item) -> Result<bool, String> {
    if let (Some(a), Some(b)) = (left.whole(), right.whole()) {
        return Ok(a == b);
    }
    match (left, right) {
        (Item::Text(a), Item::Text(b)) => Ok(a == b),
        (Item::Bool(a), Item::Bool(b)) => Ok(a == b),
        (Item::Float(a), Item::Float(b)) => Ok(a == b),
        (Item::Time(a), Item::Time(b)) => Ok(a == b),
        (Item::Nothing, other) | (other, Item::Nothing) => Ok(*other == Item::Nothing),
        (Item::List(_) | Item::Map(_), Item::List(_) | Item::Map(_)) => {
            let shown = printf("%s", std::slice::from_ref(left));
            Err(format!("non-comparable type {shown}: {}", left.type_name()))
        }
        _ => Err(incompatible(left, right)),
    }
}

pub(super) fn order(left: &Item, right: &Item) -> Result<Ordering, String> {
    if let (Some(a), Some(b)) = (left.whole(), right.whole()) {
        return Ok(a.cmp(&b));
    }
    match (left, right) {
        (Item::Text(a), Item::Text(b)) => Ok(a.cmp(b)),
        (Item::Float(a), Item::Float(b)) => Ok(a.total_cmp(b)),
        (Item::Text(_) | Item::Int(_) | Item::Float(_) | Item::Bool(_), Item::Text(_) | Item::Int(_))
        | (Item::Text(_) | Item::Int(_) | Item::Bool(_), Item::Float(_))
        | (Item::Text(_) | Item::Int(_) | Item::Float(_), Item::Bool(_)) => Err(incompatible(left, right)),
        _ => Err("invalid type for comparison".to_owned()),
    }
}
