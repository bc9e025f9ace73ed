//! Numbers and texts as Zipkin's own reader takes them: a number may stand in quotes or have a point and zeros behind it, a
//! tag may be a number. One span that is written so must not cost all others of its list.

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a whole number")]
enum Whole {
    Number(i64),
    Fraction(f64),
    Text(String),
}

impl Whole {
    fn number<E: Error>(&self) -> Result<i64, E> {
        let number = match self {
            Whole::Number(number) => Some(*number),
            Whole::Fraction(number) => exact(*number),
            Whole::Text(text) => text.parse().ok().or_else(|| exact(text.parse().ok()?)),
        };
        number.ok_or_else(|| E::custom("expected a whole number"))
    }
}

/// What is not finite has no fraction, either, and is none.
fn exact(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() < 9.2e18).then_some(number as i64)
}

pub(super) fn whole<'de, D: Deserializer<'de>>(written: D) -> Result<i64, D::Error> {
    Whole::deserialize(written)?.number()
}

pub(super) fn whole_or_null<'de, D: Deserializer<'de>>(written: D) -> Result<Option<i64>, D::Error> {
    Option::<Whole>::deserialize(written)?.map(|number| number.number()).transpose()
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected text or a number")]
enum Tag {
    Text(String),
    Number(serde_json::Number),
}

pub(super) fn tags<'de, D: Deserializer<'de>>(
    written: D,
) -> Result<Option<BTreeMap<String, String>>, D::Error> {
    let tag = |(name, text): (String, Tag)| match text {
        Tag::Text(text) => (name, text),
        Tag::Number(number) => (name, number.to_string()),
    };
    let tags = Option::<BTreeMap<String, Tag>>::deserialize(written)?;
    Ok(tags.map(|tags| tags.into_iter().map(tag).collect()))
}
