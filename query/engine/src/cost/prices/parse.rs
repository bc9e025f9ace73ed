//! A price book's two forms. CSV has a header of the columns below, in any order; JSON is a list of objects with their names,
//! alone or below `prices`. `lifecycle` and what may be empty may be left out.
//!
//! | column | is |
//! | --- | --- |
//! | `item` | `cpu_core`, `memory_gib`, `gpu`, `node`, `storage_gib`, `load_balancer`, `egress_zone_gib`, `egress_region_gib`, `egress_internet_gib`, `discount_percent` |
//! | `provider` | `aws`, `gcp`, `azure`, …; `default` is for all that have no price of their own |
//! | `region` | empty: any |
//! | `instance_type` | of a node; a GPU's model; a storage class. Empty: any |
//! | `lifecycle` | `on_demand` (also empty), `spot`, `committed_1y`, `committed_3y` |
//! | `usd_per_hour` | of one of the item; for egress USD a GiB; for a discount percent of the on-demand price |
//! | `as_of` | the day the price was read, `YYYY-MM-DD` |
//! | `source` | where |

use super::{Item, Lifecycle, Price, PriceBook};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

const BYTES_MAX: usize = 16 << 20;
const COLUMNS: [&str; 8] =
    ["item", "provider", "region", "instance_type", "lifecycle", "usd_per_hour", "as_of", "source"];
const LEFT_OUT: [&str; 3] = ["region", "instance_type", "lifecycle"];

/// What is wrong with a price book: `line: text`; in JSON the number of the price.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct InvalidPrices {
    pub line: u64,
    pub text: String,
}

impl fmt::Display for InvalidPrices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.text)
    }
}

impl PriceBook {
    /// CSV, or JSON where the text begins as JSON does.
    pub fn parse(text: &str) -> Result<PriceBook, InvalidPrices> {
        if text.len() > BYTES_MAX {
            return Err(wrong(1, format!("{} bytes; at most {BYTES_MAX} are read", text.len())));
        }
        let rows = match text.trim_start().chars().next() {
            Some('{' | '[') => of_json(text)?,
            _ => of_csv(text)?,
        };
        refuse_doubles(&rows)?;
        let book = PriceBook { prices: rows.into_iter().map(|(_, price)| price).collect() };
        for item in [Item::CpuCore, Item::MemoryGib] {
            let is_there = book.prices.iter().any(|price| {
                price.item == item
                    && price.provider == "default"
                    && price.instance_type.is_empty()
                    && price.lifecycle == Lifecycle::OnDemand
            });
            if !is_there {
                return Err(wrong(
                    1,
                    format!(
                        "no row of item {} and provider default; nodes of no known type need it",
                        item.name()
                    ),
                ));
            }
        }
        Ok(book)
    }
}

/// Which of two prices holds nobody could tell.
fn refuse_doubles(rows: &[(u64, Price)]) -> Result<(), InvalidPrices> {
    let mut known = BTreeMap::new();
    for (line, price) in rows {
        let of = (
            price.item.name(),
            price.lifecycle,
            price.provider.as_str(),
            price.region.as_str(),
            price.instance_type.as_str(),
        );
        if let Some(first) = known.insert(of, line) {
            return Err(wrong(*line, format!("the price that {first} has already; leave one of them out")));
        }
    }
    Ok(())
}

fn wrong(line: u64, text: String) -> InvalidPrices {
    InvalidPrices { line, text }
}

fn of_csv(text: &str) -> Result<Vec<(u64, Price)>, InvalidPrices> {
    let mut reader =
        csv::ReaderBuilder::new().trim(csv::Trim::All).comment(Some(b'#')).from_reader(text.as_bytes());
    let header = reader.headers().map_err(|why| wrong(1, format!("not CSV: {why}")))?.clone();
    let known = header.iter().all(|name| COLUMNS.contains(&name));
    let whole = COLUMNS.iter().all(|name| LEFT_OUT.contains(name) || header.iter().any(|has| has == *name));
    if !known || !whole {
        return Err(wrong(1, format!("the header must be {}", COLUMNS.join(","))));
    }
    let mut prices = vec![];
    for record in reader.records() {
        let record = record.map_err(|why| {
            wrong(
                why.position().map_or(1, csv::Position::line),
                format!("a row needs {} fields", header.len()),
            )
        })?;
        let line = record.position().map_or(1, csv::Position::line);
        let field = |name: &str| {
            let at = header.iter().position(|has| has == name);
            at.and_then(|at| record.get(at)).unwrap_or("").to_owned()
        };
        prices.push((line, price(&field).map_err(|text| wrong(line, text))?));
    }
    Ok(prices)
}

fn of_json(text: &str) -> Result<Vec<(u64, Price)>, InvalidPrices> {
    let value: Value =
        serde_json::from_str(text).map_err(|why| wrong(why.line() as u64, format!("not JSON: {why}")))?;
    let list = value.get("prices").unwrap_or(&value).as_array();
    let list =
        list.ok_or_else(|| wrong(1, "a list of prices is expected, or an object with `prices`".into()))?;
    let mut prices = vec![];
    for (at, one) in list.iter().enumerate() {
        let number = at as u64 + 1;
        let object = one.as_object().ok_or_else(|| wrong(number, "a price is an object".into()))?;
        if let Some(name) = object.keys().find(|name| !COLUMNS.contains(&name.as_str())) {
            return Err(wrong(number, format!("{name:?} is not known; use {}", COLUMNS.join(", "))));
        }
        let field = |name: &str| match object.get(name) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.trim().to_owned(),
            Some(other) => other.to_string(),
        };
        prices.push((number, price(&field).map_err(|text| wrong(number, text))?));
    }
    Ok(prices)
}

fn price(field: &dyn Fn(&str) -> String) -> Result<Price, String> {
    let written = field("item");
    let Some(item) = Item::ALL.into_iter().find(|item| item.name() == written) else {
        let names = Item::ALL.map(Item::name).join(", ");
        return Err(format!("item {written:?} is not known; use one of {names}"));
    };
    let number = field("usd_per_hour");
    let usd_per_hour: f64 = number.parse().map_err(|_| format!("usd_per_hour {number:?} is not a number"))?;
    let most = if item == Item::DiscountPercent { 100.0 } else { f64::MAX };
    if !(0.0..=most).contains(&usd_per_hour) {
        return Err(format!("usd_per_hour {usd_per_hour} cannot be a price"));
    }
    let instance_type = field("instance_type");
    if item == Item::Node && instance_type.is_empty() {
        return Err("a node row needs its instance_type".into());
    }
    let lifecycle = match field("lifecycle").as_str() {
        "" => Lifecycle::OnDemand,
        word => Lifecycle::parse(word).ok_or_else(|| {
            let names = Lifecycle::ALL.map(Lifecycle::name).join(", ");
            format!("lifecycle {word:?} is not known; use one of {names}")
        })?,
    };
    if item == Item::DiscountPercent && lifecycle == Lifecycle::OnDemand {
        return Err(
            "a discount needs the lifecycle that it is for: spot, committed_1y or committed_3y".into()
        );
    }
    let as_of = field("as_of");
    if chrono::NaiveDate::parse_from_str(&as_of, "%Y-%m-%d").is_err() {
        return Err(format!("as_of {as_of:?} is not a day such as 2026-01-31"));
    }
    let source = field("source");
    if source.is_empty() {
        return Err("source is empty; say where the price is from".into());
    }
    let (provider, region) = (field("provider"), field("region"));
    Ok(Price { item, provider, region, instance_type, lifecycle, usd_per_hour, as_of, source })
}
