//! Exemplars of the series that a query looks at, whatever it makes of them.

use super::Found;
use crate::room::Held;
use crate::{Engine, QueryError};
use ::promql::{Node, Selector};
use model::{Exemplar, SeriesSelect, Tenant, TimeRange};

/// Of one answer; past it the oldest are left out, which is said.
const EXEMPLARS_MAX: usize = 10_000;

impl Engine {
    /// By series in the order of their labels, then by time; those of a series that several selectors name come once.
    pub async fn prom_exemplars(
        &self,
        tenant: &Tenant,
        query: &str,
        range: TimeRange,
    ) -> Result<Found<Exemplar>, QueryError> {
        let expr = self.parsed(query)?;
        let mut selectors: Vec<&Selector> = vec![];
        expr.walk(&mut |part| match &part.node {
            Node::Selector(selector) | Node::Range { selector, .. } => selectors.push(selector),
            _ => {}
        });
        let snapshot = self.source.snapshot(tenant).await?;
        let mut found: Vec<Exemplar> = vec![];
        for selector in &selectors {
            let select = SeriesSelect { matchers: selector.matchers.clone(), range };
            found.extend(snapshot.exemplars(&select).await?);
        }
        let mut warnings = snapshot.warnings();
        if found.len() > EXEMPLARS_MAX {
            found.sort_by_key(|exemplar| std::cmp::Reverse(exemplar.ts_ms));
            found.truncate(EXEMPLARS_MAX);
            warnings.push(format!("only the newest {EXEMPLARS_MAX} exemplars are shown; narrow the range"));
        }
        found.sort_by(|a, b| {
            let place = |e: &Exemplar| (e.ts_ms, e.value.to_bits());
            a.series.cmp(&b.series).then(place(a).cmp(&place(b))).then_with(|| a.labels.cmp(&b.labels))
        });
        // Compared by bits: NaN is no other exemplar each time.
        found.dedup_by(|a, b| {
            (&a.series, &a.labels, a.ts_ms, a.value.to_bits())
                == (&b.series, &b.labels, b.ts_ms, b.value.to_bits())
        });
        Ok(Found { found, warnings, held: Held::default() })
    }
}
