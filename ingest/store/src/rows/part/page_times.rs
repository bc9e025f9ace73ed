//! Which pages of spans can have a time: in a page the spans of one operation follow one another, so a short range is in few.

use super::Index;
use super::ranges::Ranges;
use super::times::Unit;
use crate::part::Signal;
use crate::rows::stored::time_column;
use model::TimeRange;
use parquet::file::page_index::column_index::ColumnIndexMetaData;

impl Index {
    /// Rows of the pages with times of the range; `None` where the file does not say what its pages have.
    pub(super) fn rows_within(&self, range: TimeRange) -> Option<Ranges> {
        let metadata = self.metadata.metadata();
        let (of_columns, located) = (metadata.column_index()?, metadata.offset_index()?);
        let unit_ns = Unit::named(Signal::Spans, self.metadata.schema()).ns();
        let columns = self.metadata.parquet_schema().columns();
        let leaf = columns.iter().position(|column| column.name() == time_column(Signal::Spans))?;
        let (mut rows, mut before) = (vec![], 0);
        for (at, group) in metadata.row_groups().iter().enumerate() {
            let ColumnIndexMetaData::INT64(times) = of_columns.get(at)?.get(leaf)? else { return None };
            let pages = located.get(at)?.get(leaf)?.page_locations();
            for (page, own) in pages.iter().enumerate() {
                let ends = pages.get(page + 1).map_or(group.num_rows(), |next| next.first_row_index);
                let (first, last) = (times.min_value(page)?, times.max_value(page)?);
                if range.overlaps(first.saturating_mul(unit_ns), last.saturating_mul(unit_ns)) {
                    rows.push(before + own.first_row_index as usize..before + ends as usize);
                }
            }
            before += group.num_rows() as usize;
        }
        Some(Ranges::new(rows))
    }
}
