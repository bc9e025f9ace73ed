//! The price book: what a core, a GiB and whole nodes cost an hour, what storage, load balancers and egress cost, with the
//! day each price was read and its source. [`parse`](PriceBook::parse) has the format.
//!
//! A price is looked for from the nearest to the farthest: the node's own provider and region, its provider, and last the
//! provider `default`. A node's price by its instance type is split over cores, memory and GPUs in the ratio of what those
//! cost by themselves.

mod parse;

pub use parse::InvalidPrices;

/// The price book that is used when none is given.
const DEFAULT: &str = include_str!("prices.csv");

#[derive(Clone, Debug, PartialEq)]
pub struct PriceBook {
    prices: Vec<Price>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Price {
    pub item: Item,
    pub provider: String,
    pub region: String,
    /// Of a node; the model of a GPU; the class of storage. Empty means any.
    pub instance_type: String,
    pub lifecycle: Lifecycle,
    /// An hour of a core, GiB, GPU, node or load balancer; a GiB of egress; percent for a discount.
    pub usd_per_hour: f64,
    /// `YYYY-MM-DD`.
    pub as_of: String,
    pub source: String,
}

/// What is priced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    CpuCore,
    MemoryGib,
    Gpu,
    Node,
    StorageGib,
    LoadBalancer,
    EgressZoneGib,
    EgressRegionGib,
    EgressInternetGib,
    /// Percent off the on-demand price of a node.
    DiscountPercent,
}

impl Item {
    pub const ALL: [Item; 10] = [
        Item::CpuCore,
        Item::MemoryGib,
        Item::Gpu,
        Item::Node,
        Item::StorageGib,
        Item::LoadBalancer,
        Item::EgressZoneGib,
        Item::EgressRegionGib,
        Item::EgressInternetGib,
        Item::DiscountPercent,
    ];

    /// As a book writes it.
    pub fn name(self) -> &'static str {
        match self {
            Item::CpuCore => "cpu_core",
            Item::MemoryGib => "memory_gib",
            Item::Gpu => "gpu",
            Item::Node => "node",
            Item::StorageGib => "storage_gib",
            Item::LoadBalancer => "load_balancer",
            Item::EgressZoneGib => "egress_zone_gib",
            Item::EgressRegionGib => "egress_region_gib",
            Item::EgressInternetGib => "egress_internet_gib",
            Item::DiscountPercent => "discount_percent",
        }
    }
}

/// How a node is paid for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lifecycle {
    #[default]
    OnDemand,
    Spot,
    Committed1y,
    Committed3y,
}

impl Lifecycle {
    pub const ALL: [Lifecycle; 4] =
        [Lifecycle::OnDemand, Lifecycle::Spot, Lifecycle::Committed1y, Lifecycle::Committed3y];

    pub fn name(self) -> &'static str {
        match self {
            Lifecycle::OnDemand => "on_demand",
            Lifecycle::Spot => "spot",
            Lifecycle::Committed1y => "committed_1y",
            Lifecycle::Committed3y => "committed_3y",
        }
    }

    pub fn parse(text: &str) -> Option<Lifecycle> {
        Lifecycle::ALL.into_iter().find(|one| one.name() == text)
    }
}

/// What a price depends on. Empty text where it is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kind {
    pub provider: String,
    pub region: String,
    pub zone: String,
    pub instance_type: String,
    pub lifecycle: Lifecycle,
}

/// Dollars an hour on one node.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    pub cpu_core: f64,
    pub memory_gib: f64,
    pub gpu: f64,
}

/// Dollars a GiB that leaves a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Egress {
    pub zone: f64,
    pub region: f64,
    pub internet: f64,
}

impl Default for PriceBook {
    fn default() -> PriceBook {
        // A test holds the built-in book against the parser.
        PriceBook::parse(DEFAULT).unwrap_or(PriceBook { prices: vec![] })
    }
}

impl PriceBook {
    pub fn len(&self) -> usize {
        self.prices.len()
    }

    pub fn is_empty(&self) -> bool {
        self.prices.is_empty()
    }

    pub fn prices(&self) -> &[Price] {
        &self.prices
    }

    /// The nearest price of an item with exactly this type and lifecycle.
    fn find(&self, item: Item, kind: &Kind, instance_type: &str, lifecycle: Lifecycle) -> Option<f64> {
        let nearness = |price: &Price| {
            let own = !price.provider.is_empty() && price.provider == kind.provider;
            match (own, price.region == kind.region, price.provider.as_str()) {
                (true, true, _) => Some(0),
                (true, false, _) => Some(if price.region.is_empty() { 1 } else { 2 }),
                (false, _, "default") => Some(3),
                // A type is one provider's, whichever the node's labels name.
                (false, _, _) if item == Item::Node && kind.provider.is_empty() => Some(4),
                _ => None,
            }
        };
        self.prices
            .iter()
            .filter(|price| {
                price.item == item && price.lifecycle == lifecycle && price.instance_type == instance_type
            })
            .filter_map(|price| Some((nearness(price)?, price.usd_per_hour)))
            .min_by_key(|(nearness, _)| *nearness)
            .map(|(_, usd)| usd)
    }

    /// The price of a unit: of this type, or of any.
    fn unit(&self, item: Item, kind: &Kind, instance_type: &str, lifecycle: Lifecycle) -> Option<f64> {
        let named = (!instance_type.is_empty()).then(|| self.find(item, kind, instance_type, lifecycle));
        named.flatten().or_else(|| self.find(item, kind, "", lifecycle))
    }

    /// What parts cost by themselves. Where a lifecycle has no price of its own, its discount is taken off.
    fn by_parts(&self, kind: &Kind) -> Rates {
        let of = |item: Item| {
            let listed = self.unit(item, kind, "", Lifecycle::OnDemand).unwrap_or(0.0);
            match kind.lifecycle {
                Lifecycle::OnDemand => listed,
                other => match self.unit(item, kind, "", other) {
                    Some(own) => own,
                    None => listed * self.share_paid(kind),
                },
            }
        };
        Rates { cpu_core: of(Item::CpuCore), memory_gib: of(Item::MemoryGib), gpu: of(Item::Gpu) }
    }

    /// Of the on-demand price, what a node of this lifecycle pays.
    fn share_paid(&self, kind: &Kind) -> f64 {
        let percent = self.unit(Item::DiscountPercent, kind, &kind.instance_type, kind.lifecycle);
        1.0 - percent.unwrap_or(0.0) / 100.0
    }

    /// What a node of this size costs, by its type where the book has it.
    pub fn rates(&self, cores: f64, memory_gib: f64, gpus: f64, kind: &Kind) -> Rates {
        let parts = self.by_parts(kind);
        let sum = |rates: &Rates| cores * rates.cpu_core + memory_gib * rates.memory_gib + gpus * rates.gpu;
        let by_parts = sum(&parts);
        let named = |lifecycle| {
            (!kind.instance_type.is_empty())
                .then(|| self.find(Item::Node, kind, &kind.instance_type, lifecycle))
                .flatten()
        };
        let whole = named(kind.lifecycle).or_else(|| {
            let listed = named(Lifecycle::OnDemand)?;
            let listed_parts = sum(&self.by_parts(&Kind { lifecycle: Lifecycle::OnDemand, ..kind.clone() }));
            let has_discount =
                self.unit(Item::DiscountPercent, kind, &kind.instance_type, kind.lifecycle).is_some();
            // Without a price and a discount of its own, a spot node is as much cheaper as its parts are.
            let share = if has_discount || listed_parts <= 0.0 {
                self.share_paid(kind)
            } else {
                by_parts / listed_parts
            };
            Some(listed * share)
        });
        match whole {
            Some(whole) if by_parts > 0.0 => {
                let scale = whole / by_parts;
                Rates {
                    cpu_core: parts.cpu_core * scale,
                    memory_gib: parts.memory_gib * scale,
                    gpu: parts.gpu * scale,
                }
            }
            Some(whole) => halves(whole, cores, memory_gib),
            None => parts,
        }
    }

    /// An hour of a GiB of this class.
    pub fn storage_gib(&self, kind: &Kind, class: &str) -> f64 {
        self.unit(Item::StorageGib, kind, class, Lifecycle::OnDemand).unwrap_or(0.0)
    }

    /// An hour of a load balancer.
    pub fn load_balancer(&self, kind: &Kind) -> f64 {
        self.unit(Item::LoadBalancer, kind, "", Lifecycle::OnDemand).unwrap_or(0.0)
    }

    pub fn egress(&self, kind: &Kind) -> Egress {
        let of = |item| self.unit(item, kind, "", Lifecycle::OnDemand).unwrap_or(0.0);
        Egress {
            zone: of(Item::EgressZoneGib),
            region: of(Item::EgressRegionGib),
            internet: of(Item::EgressInternetGib),
        }
    }
}

/// A node's price, half of it for the cores and half for the memory, where nothing says what these cost by themselves.
fn halves(whole: f64, cores: f64, memory_gib: f64) -> Rates {
    let parts = if cores > 0.0 && memory_gib > 0.0 { 2.0 } else { 1.0 };
    let of = |size: f64| if size > 0.0 { whole / parts / size } else { 0.0 };
    Rates { cpu_core: of(cores), memory_gib: of(memory_gib), gpu: 0.0 }
}

#[cfg(test)]
mod tests;
