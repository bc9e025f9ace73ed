//! A place in a list, a map or a text, and what lies between two of them.

use super::texts::bytes_of;
use crate::template::value::Item;

pub(super) fn index(item: &Item, at: &Item) -> Result<Item, String> {
    let place = |length: usize| match at {
        Item::Int(at) => {
            let found = usize::try_from(*at).ok().filter(|at| *at < length);
            found.ok_or_else(|| format!("index out of range: {at}"))
        }
        other => Err(format!("cannot index slice/array with type {}", other.type_name())),
    };
    match item {
        Item::List(items) => Ok(items[place(items.len())?].clone()),
        Item::Text(text) => Ok(Item::Int(i64::from(text.as_bytes()[place(text.len())?]))),
        Item::Map(entries) => match at {
            // What is not there is empty in a map of strings.
            Item::Text(name) => match entries.iter().find(|(known, _)| known == name) {
                Some((_, item)) => Ok(item.clone()),
                None if entries.iter().all(|(_, item)| matches!(item, Item::Text(_))) => {
                    Ok(Item::Text(String::new()))
                }
                None => Ok(Item::Nothing),
            },
            other => Err(format!("value has type {}; should be string", other.type_name())),
        },
        Item::Nothing => Err("index of untyped nil".to_owned()),
        other => Err(format!("can't index item of type {}", other.type_name())),
    }
}

pub(super) fn slice(item: &Item, bounds: &[Item]) -> Result<Item, String> {
    let length = match item {
        Item::Text(text) => text.len(),
        Item::List(items) => items.len(),
        Item::Nothing => return Err("slice of untyped nil".to_owned()),
        other => return Err(format!("can't slice item of type {}", other.type_name())),
    };
    if bounds.len() > 3 {
        return Err(format!("too many slice indexes: {}", bounds.len()));
    }
    if bounds.len() == 3 && matches!(item, Item::Text(_)) {
        return Err("cannot 3-index slice a string".to_owned());
    }
    let mut places = vec![];
    for bound in bounds {
        let Item::Int(at) = bound else {
            return Err(format!("cannot index slice/array with type {}", bound.type_name()));
        };
        let place = usize::try_from(*at).ok().filter(|at| *at <= length);
        places.push(place.ok_or_else(|| format!("index out of range: {at}"))?);
    }
    let (from, to) = (places.first().copied().unwrap_or(0), places.get(1).copied().unwrap_or(length));
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    Ok(match item {
        Item::List(items) => Item::List(items[from..to].to_vec()),
        other => Item::Text(bytes_of(&other.to_string(), from, to)),
    })
}
