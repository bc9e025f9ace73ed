//! Rows of several batches as one batch. Arrow's own kernel for this copies each value by itself and fixed-size ones
//! through a general path; ids, and the values of a row's attributes, which lie side by side, are copied here at once.

use super::part::nothing;
use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryArray, ListArray, RecordBatch, StringArray, UInt32Array,
};
use arrow::buffer::{BooleanBuffer, NullBuffer, OffsetBuffer};
use arrow::compute::interleave;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use std::sync::Arc;

/// The batches have one schema; of each row its batch and its place there.
pub fn gather(batches: &[&RecordBatch], rows: &[(usize, usize)]) -> Result<RecordBatch, ArrowError> {
    let Some(first) = batches.first() else {
        return Err(ArrowError::InvalidArgumentError("there is nothing to gather rows from".into()));
    };
    let mut columns = Vec::with_capacity(first.num_columns());
    for at in 0..first.num_columns() {
        let sources: Vec<&dyn Array> = batches.iter().map(|batch| batch.column(at).as_ref()).collect();
        columns.push(column(&sources, rows)?);
    }
    RecordBatch::try_new(first.schema(), columns)
}

fn column(sources: &[&dyn Array], rows: &[(usize, usize)]) -> Result<ArrayRef, ArrowError> {
    let kind = sources[0].data_type();
    match kind {
        DataType::FixedSizeBinary(8) => ids::<8>(sources, rows),
        DataType::FixedSizeBinary(16) => ids::<16>(sources, rows),
        DataType::UInt32 | DataType::Utf8 if sources.iter().all(|source| is_blank(*source)) => {
            nothing(kind, rows.len())
        }
        DataType::List(item) => {
            let lists: Vec<&ListArray> = sources.iter().map(|source| source.as_list()).collect();
            let has_any = |list: &&ListArray| list.null_count() > 0 || !list.values().is_empty();
            match item.data_type() {
                _ if !lists.iter().any(has_any) => nothing(kind, rows.len()),
                DataType::Utf8 if lists.iter().all(|list| list.null_count() == 0) => texts(&lists, rows),
                _ => interleave(sources, rows),
            }
        }
        _ => interleave(sources, rows),
    }
}

/// Nothing but zeros or empty texts, as what only few senders tell.
fn is_blank(source: &dyn Array) -> bool {
    let zeros = |counts: &UInt32Array| counts.values().iter().all(|count| *count == 0);
    let empty = |texts: &StringArray| texts.value_data().is_empty();
    source.null_count() == 0
        && (source.as_primitive_opt().is_some_and(zeros) || source.as_string_opt().is_some_and(empty))
}

fn ids<const N: usize>(sources: &[&dyn Array], rows: &[(usize, usize)]) -> Result<ArrayRef, ArrowError> {
    let sources: Vec<&FixedSizeBinaryArray> =
        sources.iter().map(|source| source.as_fixed_size_binary()).collect();
    let bytes: Vec<(&[[u8; N]], &[u8])> =
        sources.iter().map(|source| source.value_data().as_chunks::<N>()).collect();
    let mut values: Vec<u8> = Vec::with_capacity(rows.len() * N);
    for (source, row) in rows {
        values.extend_from_slice(&bytes[*source].0[*row]);
    }
    let nulls = sources.iter().any(|source| source.null_count() > 0).then(|| {
        NullBuffer::new(BooleanBuffer::collect_bool(rows.len(), |at| {
            let (source, row) = rows[at];
            sources[source].is_valid(row)
        }))
    });
    Ok(Arc::new(FixedSizeBinaryArray::try_new(N as i32, values.into(), nulls)?))
}

/// Lists of texts without nulls.
fn texts(sources: &[&ListArray], rows: &[(usize, usize)]) -> Result<ArrayRef, ArrowError> {
    let items: Vec<&StringArray> = sources.iter().map(|source| source.values().as_string()).collect();
    let DataType::List(item) = sources[0].data_type() else {
        return Err(ArrowError::SchemaError("texts are in no list".into()));
    };
    let of = |(source, row): &(usize, usize)| {
        let offsets = sources[*source].value_offsets();
        (offsets[*row] as usize, offsets[*row + 1] as usize)
    };
    let (mut count, mut length) = (0, 0);
    for place in rows {
        let (first, end) = of(place);
        let offsets = items[place.0].value_offsets();
        count += end - first;
        length += (offsets[end] - offsets[first]) as usize;
    }
    let too_long = || ArrowError::InvalidArgumentError("a piece of rows has more than 2 GiB of texts".into());
    i32::try_from(length).map_err(|_| too_long())?;
    let (mut ends, mut item_ends) = (Vec::with_capacity(rows.len() + 1), Vec::with_capacity(count + 1));
    let mut bytes: Vec<u8> = Vec::with_capacity(length);
    ends.push(0);
    item_ends.push(0);
    for place in rows {
        let (first, end) = of(place);
        let offsets = &items[place.0].value_offsets()[first..=end];
        let shift = bytes.len() as i32 - offsets[0];
        item_ends.extend(offsets[1..].iter().map(|offset| offset + shift));
        let (from, to) = (offsets[0] as usize, offsets[end - first] as usize);
        bytes.extend_from_slice(&items[place.0].value_data()[from..to]);
        ends.push(item_ends.len() as i32 - 1);
    }
    let texts = StringArray::try_new(OffsetBuffer::new(item_ends.into()), bytes.into(), None)?;
    let ends = OffsetBuffer::new(ends.into());
    Ok(Arc::new(ListArray::try_new(item.clone(), ends, Arc::new(texts), None)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::shapes::values_column;
    use arrow::array::{FixedSizeBinaryBuilder, StringBuilder};
    use arrow::datatypes::{Field, Schema};

    fn batch(ids: &[Option<[u8; 8]>], lists: &[&[&str]]) -> RecordBatch {
        let mut column = FixedSizeBinaryBuilder::new(8);
        for id in ids {
            match id {
                Some(id) => column.append_value(id).unwrap(),
                None => column.append_null(),
            }
        }
        let (mut texts, mut ends) = (StringBuilder::new(), vec![0]);
        for list in lists {
            list.iter().for_each(|text| texts.append_value(text));
            ends.push(ends.last().unwrap() + list.len() as i32);
        }
        let lists = values_column(OffsetBuffer::new(ends.into()), Arc::new(texts.finish())).unwrap();
        let fields = vec![
            Field::new("id", DataType::FixedSizeBinary(8), true),
            Field::new("list", lists.data_type().clone(), false),
        ];
        RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![Arc::new(column.finish()), lists]).unwrap()
    }

    #[test]
    fn rows_are_those_that_the_general_kernel_gives() {
        let many = batch(&[Some([1; 8]), None, Some([3; 8])], &[&["a", "", "bc"], &[], &["d"]]);
        let few = batch(&[Some([4; 8]), Some([5; 8])], &[&["ef"], &["g", "h"]]);
        let (cut, blank) = (many.slice(1, 2), batch(&[None], &[&[]]));
        let rows = [(0, 2), (1, 0), (0, 0), (2, 1), (1, 1), (3, 0), (2, 0)];
        let sources = [&many, &few, &cut, &blank];
        let expected = arrow::compute::interleave_record_batch(&sources, &rows).unwrap();
        assert_eq!(gather(&sources, &rows).unwrap(), expected);
        let expected = arrow::compute::interleave_record_batch(&[&blank], &[(0, 0), (0, 0)]).unwrap();
        assert_eq!(gather(&[&blank], &[(0, 0), (0, 0)]).unwrap(), expected);
        assert!(gather(&[], &[]).is_err());
    }
}
