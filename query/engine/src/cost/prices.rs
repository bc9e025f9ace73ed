//! The price book: what a core, a GiB and whole nodes cost an hour, with the day the price was read and its source.
//!
//! CSV with a header. `cpu_core` and `memory_gib` rows of provider `default` are prices for nodes of no known type;
//! a `node` row is the price of one instance type, split over its cores and memory in the ratio of those two.

use std::fmt;

/// The price book that is used when none is given.
const DEFAULT: &str = include_str!("prices.csv");
const BYTES_MAX: usize = 16 << 20;
const COLUMNS: [&str; 7] = ["item", "provider", "region", "instance_type", "usd_per_hour", "as_of", "source"];

#[derive(Clone, Debug, PartialEq)]
pub struct PriceBook {
    prices: Vec<Price>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Price {
    pub item: Item,
    pub provider: String,
    pub region: String,
    pub instance_type: String,
    pub usd_per_hour: f64,
    /// `YYYY-MM-DD`.
    pub as_of: String,
    pub source: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    CpuCore,
    MemoryGib,
    Node,
}

/// What is wrong with a price book: `line: text`.
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

/// Dollars an hour on one node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    pub cpu_core: f64,
    pub memory_gib: f64,
}

impl Default for PriceBook {
    fn default() -> PriceBook {
        // A test holds the built-in book against the parser.
        PriceBook::parse(DEFAULT).unwrap_or(PriceBook { prices: vec![] })
    }
}

impl PriceBook {
    pub fn parse(text: &str) -> Result<PriceBook, InvalidPrices> {
        let wrong = |line: u64, text: String| InvalidPrices { line, text };
        if text.len() > BYTES_MAX {
            return Err(wrong(1, format!("{} bytes; at most {BYTES_MAX} are read", text.len())));
        }
        let mut reader =
            csv::ReaderBuilder::new().trim(csv::Trim::All).comment(Some(b'#')).from_reader(text.as_bytes());
        let header = reader.headers().map_err(|why| wrong(1, format!("not CSV: {why}")))?;
        if header.iter().ne(COLUMNS) {
            return Err(wrong(1, format!("the header must be {}", COLUMNS.join(","))));
        }
        let mut prices = vec![];
        for record in reader.records() {
            let record = record.map_err(|why| {
                wrong(
                    why.position().map_or(1, csv::Position::line),
                    format!("a row needs {} fields", COLUMNS.len()),
                )
            })?;
            let line = record.position().map_or(1, csv::Position::line);
            prices.push(price(&record).map_err(|text| wrong(line, text))?);
        }
        let book = PriceBook { prices };
        for item in [Item::CpuCore, Item::MemoryGib] {
            if book.unit(item).is_none() {
                let name = if item == Item::CpuCore { "cpu_core" } else { "memory_gib" };
                return Err(wrong(
                    1,
                    format!("no row of item {name} and provider default; nodes of no known type need it"),
                ));
            }
        }
        Ok(book)
    }

    pub fn len(&self) -> usize {
        self.prices.len()
    }

    pub fn is_empty(&self) -> bool {
        self.prices.is_empty()
    }

    pub fn prices(&self) -> &[Price] {
        &self.prices
    }

    fn unit(&self, item: Item) -> Option<&Price> {
        self.prices.iter().find(|price| price.item == item && price.provider == "default")
    }

    /// What a node of this size costs, by its type where the book has it.
    pub fn rates(&self, cores: f64, memory_gib: f64, instance_type: Option<&str>) -> Rates {
        let unit = |item| self.unit(item).map_or(0.0, |price| price.usd_per_hour);
        let base = Rates { cpu_core: unit(Item::CpuCore), memory_gib: unit(Item::MemoryGib) };
        let whole = instance_type.and_then(|wanted| {
            self.prices.iter().find(|price| price.item == Item::Node && price.instance_type == wanted)
        });
        let by_parts = cores * base.cpu_core + memory_gib * base.memory_gib;
        match whole {
            Some(whole) if by_parts > 0.0 => {
                let scale = whole.usd_per_hour / by_parts;
                Rates { cpu_core: base.cpu_core * scale, memory_gib: base.memory_gib * scale }
            }
            _ => base,
        }
    }
}

fn price(record: &csv::StringRecord) -> Result<Price, String> {
    let field = |i: usize| record.get(i).unwrap_or("").to_owned();
    let item = match field(0).as_str() {
        "cpu_core" => Item::CpuCore,
        "memory_gib" => Item::MemoryGib,
        "node" => Item::Node,
        other => return Err(format!("item {other:?} is not known; use cpu_core, memory_gib or node")),
    };
    let usd_per_hour: f64 =
        field(4).parse().map_err(|_| format!("usd_per_hour {:?} is not a number", field(4)))?;
    if !usd_per_hour.is_finite() || usd_per_hour < 0.0 {
        return Err(format!("usd_per_hour {usd_per_hour} cannot be a price"));
    }
    let instance_type = field(3);
    if item == Item::Node && instance_type.is_empty() {
        return Err("a node row needs its instance_type".into());
    }
    if chrono::NaiveDate::parse_from_str(&field(5), "%Y-%m-%d").is_err() {
        return Err(format!("as_of {:?} is not a day such as 2026-01-31", field(5)));
    }
    let source = field(6);
    if source.is_empty() {
        return Err("source is empty; say where the price is from".into());
    }
    Ok(Price {
        item,
        provider: field(1),
        region: field(2),
        instance_type,
        usd_per_hour,
        as_of: field(5),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "item,provider,region,instance_type,usd_per_hour,as_of,source\n";
    const UNITS: &str = "cpu_core,default,,,0.03,2026-01-01,x\nmemory_gib,default,,,0.01,2026-01-01,x\n";

    #[test]
    fn the_built_in_book_is_valid() {
        assert!(PriceBook::parse(DEFAULT).unwrap().len() >= 4);
        assert!(!PriceBook::default().is_empty());
    }

    #[test]
    fn a_node_of_known_type_costs_its_price() {
        let text = format!("{HEADER}{UNITS}node,aws,us-east-1,big,1.0,2026-01-01,x\n");
        let book = PriceBook::parse(&text).unwrap();
        let rates = book.rates(10.0, 20.0, Some("big"));
        assert!((10.0 * rates.cpu_core + 20.0 * rates.memory_gib - 1.0).abs() < 1e-12);
        assert_eq!(book.rates(10.0, 20.0, Some("other")), Rates { cpu_core: 0.03, memory_gib: 0.01 });
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        let wrong = |rows: &str| PriceBook::parse(&format!("{HEADER}{UNITS}{rows}")).unwrap_err().to_string();
        assert!(wrong("disk,a,,,1,2026-01-01,x\n").starts_with("4: item \"disk\""));
        assert!(wrong("node,a,,t,free,2026-01-01,x\n").contains("not a number"));
        assert!(wrong("node,a,,t,-1,2026-01-01,x\n").contains("cannot be a price"));
        assert!(wrong("node,a,,t,NaN,2026-01-01,x\n").contains("cannot be a price"));
        assert!(wrong("node,a,,,1,2026-01-01,x\n").contains("instance_type"));
        assert!(wrong("node,a,,t,1,yesterday,x\n").contains("as_of"));
        assert!(wrong("node,a,,t,1,2026-01-01,\n").contains("source"));
        assert!(wrong("node,a\n").starts_with("4: "));
        assert!(PriceBook::parse("a,b\n").unwrap_err().to_string().contains("header"));
        assert!(PriceBook::parse(HEADER).unwrap_err().to_string().contains("cpu_core"));
    }
}
