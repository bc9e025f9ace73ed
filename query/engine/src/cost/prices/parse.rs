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

/// What is wrong with a price book, as far as it was read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct InvalidPrices(Vec<InvalidPrice>);

/// `line:column: text`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidPrice {
    pub line: u64,
    pub column: u64,
    pub text: String,
}

/// Line and column.
type Place = (u64, u64);

impl fmt::Display for InvalidPrice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.text)
    }
}

/// The first, for who begins with the book.
impl fmt::Display for InvalidPrices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(first) = self.0.first() {
            first.fmt(f)?;
        }
        match self.0.len() {
            0 | 1 => Ok(()),
            _ => f.write_str("; `binnacle check` tells every mistake"),
        }
    }
}

impl InvalidPrices {
    pub fn all(&self) -> &[InvalidPrice] {
        &self.0
    }
}

impl PriceBook {
    /// CSV, or JSON where the text begins as JSON does.
    pub fn parse(text: &str) -> Result<PriceBook, InvalidPrices> {
        if text.len() > BYTES_MAX {
            return Err(only((1, 1), format!("{} bytes; at most {BYTES_MAX} are read", text.len())));
        }
        let rows = match text.trim_start().chars().next() {
            Some('{' | '[') => of_json(text)?,
            _ => of_csv(text)?,
        };
        let (mut read, mut mistakes) = (vec![], vec![]);
        for row in rows {
            match row {
                Ok(row) => read.push(row),
                Err(wrong) => mistakes.push(wrong),
            }
        }
        let rows = read;
        mistakes.extend(doubles(&rows));
        if !mistakes.is_empty() {
            mistakes.sort_by_key(|wrong| (wrong.line, wrong.column));
            return Err(InvalidPrices(mistakes));
        }
        let book = PriceBook { prices: rows.into_iter().map(|(_, price)| price).collect() };
        for item in [Item::CpuCore, Item::MemoryGib] {
            let is_there = book.prices.iter().any(|price| {
                price.item == item
                    && price.provider == "default"
                    && price.instance_type.is_empty()
                    && price.lifecycle == Lifecycle::OnDemand
            });
            if !is_there {
                return Err(only(
                    (1, 1),
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
fn doubles(rows: &[(Place, Price)]) -> Vec<InvalidPrice> {
    let mut known = BTreeMap::new();
    let mut found = vec![];
    for (place, price) in rows {
        let of = (
            price.item.name(),
            price.lifecycle,
            price.provider.as_str(),
            price.region.as_str(),
            price.instance_type.as_str(),
        );
        if let Some((line, _)) = known.insert(of, *place) {
            found.push(wrong(
                *place,
                format!("the price that line {line} has already; leave one of them out"),
            ));
        }
    }
    found
}

fn wrong((line, column): Place, text: String) -> InvalidPrice {
    InvalidPrice { line, column, text }
}

fn only(place: Place, text: String) -> InvalidPrices {
    InvalidPrices(vec![wrong(place, text)])
}

/// A price and where it stands, or what is wrong with it.
type Row = Result<(Place, Price), InvalidPrice>;

fn of_csv(text: &str) -> Result<Vec<Row>, InvalidPrices> {
    let mut reader =
        csv::ReaderBuilder::new().trim(csv::Trim::All).comment(Some(b'#')).from_reader(text.as_bytes());
    let header = reader.headers().map_err(|why| only((1, 1), format!("not CSV: {why}")))?.clone();
    let known = header.iter().all(|name| COLUMNS.contains(&name));
    let whole = COLUMNS.iter().all(|name| LEFT_OUT.contains(name) || header.iter().any(|has| has == *name));
    if !known || !whole {
        return Err(only((1, 1), format!("the header must be {}", COLUMNS.join(","))));
    }
    let mut prices = vec![];
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(why) => {
                let (line, _) = why.position().map_or((1, ""), |place| begun(text, place));
                prices.push(Err(wrong((line, 1), format!("a row needs {} fields", header.len()))));
                continue;
            }
        };
        let (line, row) = record.position().map_or((1, ""), |place| begun(text, place));
        let at = |name: &str| header.iter().position(|has| has == name);
        let field = |name: &str| at(name).and_then(|at| record.get(at)).unwrap_or("").to_owned();
        let place = |name: &str| (line, at(name).map_or(1, |at| column(row, at)));
        prices.push(match price(&field) {
            Ok(price) => Ok(((line, 1), price)),
            Err((name, text)) => Err(wrong(place(name), text)),
        });
    }
    Ok(prices)
}

/// The line on which a row begins, and the text from there on: the reader tells where the comments and empty lines before it
/// begin.
fn begun<'t>(text: &'t str, place: &csv::Position) -> (u64, &'t str) {
    let mut rest = text.get(place.byte() as usize..).unwrap_or("");
    let mut line = place.line();
    while let Some((first, behind)) = rest.split_once('\n')
        && (first.trim().is_empty() || first.starts_with('#'))
    {
        (line, rest) = (line + 1, behind);
    }
    (line, rest)
}

/// Where a row's field begins, quotes and all.
fn column(row: &str, field: usize) -> u64 {
    let (mut fields, mut is_quoted) = (0, false);
    let mut begins = 0;
    for (at, letter) in row.chars().enumerate() {
        match letter {
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted && fields == field => break,
            ',' if !is_quoted => (fields, begins) = (fields + 1, at + 1),
            '\n' if !is_quoted => break,
            _ => {}
        }
    }
    begins as u64 + 1
}

fn of_json(text: &str) -> Result<Vec<Row>, InvalidPrices> {
    let value: Value = serde_json::from_str(text)
        .map_err(|why| only((why.line() as u64, why.column() as u64), format!("not JSON: {why}")))?;
    let list = value.get("prices").unwrap_or(&value).as_array();
    let list =
        list.ok_or_else(|| only((1, 1), "a list of prices is expected, or an object with `prices`".into()))?;
    let mut places = of_items(text);
    let mut prices = vec![];
    for (at, one) in list.iter().enumerate() {
        let has_item = one.get("item").is_some();
        let place = has_item.then(|| places.next()).flatten().unwrap_or((1, 1));
        let of = |text: String| wrong(place, format!("price {}: {text}", at + 1));
        let Some(object) = one.as_object() else {
            prices.push(Err(of("a price is an object".into())));
            continue;
        };
        if let Some(name) = object.keys().find(|name| !COLUMNS.contains(&name.as_str())) {
            prices.push(Err(of(format!("{name:?} is not known; use {}", COLUMNS.join(", ")))));
            continue;
        }
        let field = |name: &str| match object.get(name) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.trim().to_owned(),
            Some(other) => other.to_string(),
        };
        prices.push(price(&field).map(|price| (place, price)).map_err(|(_, text)| of(text)));
    }
    Ok(prices)
}

/// Where prices say of what they are: the parser keeps no places.
fn of_items(text: &str) -> impl Iterator<Item = Place> + '_ {
    text.lines().enumerate().flat_map(|(number, line)| {
        let all = line.match_indices("\"item\"");
        all.map(move |(at, _)| (number as u64 + 1, at as u64 + 1))
    })
}

/// Or the name of a field and what is wrong with it.
fn price(field: &dyn Fn(&str) -> String) -> Result<Price, (&'static str, String)> {
    let written = field("item");
    let Some(item) = Item::ALL.into_iter().find(|item| item.name() == written) else {
        let names = Item::ALL.map(Item::name).join(", ");
        return Err(("item", format!("item {written:?} is not known; use one of {names}")));
    };
    let number = field("usd_per_hour");
    let usd_per_hour: f64 =
        number.parse().map_err(|_| ("usd_per_hour", format!("usd_per_hour {number:?} is not a number")))?;
    let most = if item == Item::DiscountPercent { 100.0 } else { f64::MAX };
    if !(0.0..=most).contains(&usd_per_hour) {
        return Err(("usd_per_hour", format!("usd_per_hour {usd_per_hour} cannot be a price")));
    }
    let instance_type = field("instance_type");
    if item == Item::Node && instance_type.is_empty() {
        return Err(("instance_type", "a node row needs its instance_type".into()));
    }
    let lifecycle = match field("lifecycle").as_str() {
        "" => Lifecycle::OnDemand,
        word => Lifecycle::parse(word).ok_or_else(|| {
            let names = Lifecycle::ALL.map(Lifecycle::name).join(", ");
            ("lifecycle", format!("lifecycle {word:?} is not known; use one of {names}"))
        })?,
    };
    if item == Item::DiscountPercent && lifecycle == Lifecycle::OnDemand {
        let text = "a discount needs the lifecycle that it is for: spot, committed_1y or committed_3y";
        return Err(("lifecycle", text.into()));
    }
    let as_of = field("as_of");
    if chrono::NaiveDate::parse_from_str(&as_of, "%Y-%m-%d").is_err() {
        return Err(("as_of", format!("as_of {as_of:?} is not a day such as 2026-01-31")));
    }
    let source = field("source");
    if source.is_empty() {
        return Err(("source", "source is empty; say where the price is from".into()));
    }
    let (provider, region) = (field("provider"), field("region"));
    Ok(Price { item, provider, region, instance_type, lifecycle, usd_per_hour, as_of, source })
}
