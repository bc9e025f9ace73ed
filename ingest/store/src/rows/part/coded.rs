//! Columns whose row group has each of their values once, read as they lie: which value each row has. Rows that follow one another
//! most often have the same, so that one array stands for the same rows of many batches.

use super::hybrid::Hybrid;
use arrow::array::builder::NullBufferBuilder;
use arrow::array::{ArrayRef, DictionaryArray, FixedSizeBinaryArray, StringArray, UInt32Array};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, UInt32Type};
use arrow::error::ArrowError;
use bytes::Bytes;
use parquet::basic::{Encoding, Type};
use parquet::column::page::{Page, PageReader};
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::schema::types::ColumnDescriptor;
use std::sync::{Arc, OnceLock};

/// The rows of a column in some pages of a row group.
pub struct Coded {
    pages: Box<dyn PageReader>,
    kind: Kind,
    nullable: bool,
    dictionary: Dictionary,
    page: Rows,
    /// What the last rows had that all had the same, as many as there were.
    same: Option<(Option<u32>, ArrayRef)>,
}

/// Known once it was read; all pages of a row group have the same.
pub type Dictionary = Arc<OnceLock<Values>>;

/// As what a column is read.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Words,
    /// Of so many bytes.
    Ids(i32),
    Numbers,
}

/// What rows have one of each.
pub enum Values {
    Coded(ArrayRef),
    Ids(i32, Bytes),
    Numbers(Vec<u32>),
}

/// What is left of a page.
#[derive(Default)]
struct Rows {
    left: usize,
    /// Whether each has a value; `None` where all have, or none has.
    levels: Option<Hybrid>,
    /// `None` where no row has a value.
    codes: Option<Hybrid>,
}

/// The codes of the rows of a batch; `None` is that of rows without a value.
struct Codes {
    /// Of all rows, as long as there are no others.
    same: Option<u32>,
    rows: usize,
    /// Of each row, where there are others: 0 where it has no value.
    each: Option<(Vec<u32>, NullBufferBuilder)>,
    /// Rows that the batch will have.
    room: usize,
}

fn wrong(what: &str) -> ParquetError {
    ParquetError::General(format!("a column of codes: {what}"))
}

fn without_values() -> ParquetError {
    wrong("a row has a value that is none")
}

impl Kind {
    pub fn of(kind: &DataType) -> Option<Kind> {
        match kind {
            DataType::Dictionary(keys, values) if **keys == DataType::UInt32 => match **values {
                DataType::Utf8 => Some(Kind::Words),
                _ => None,
            },
            DataType::FixedSizeBinary(bytes) => Some(Kind::Ids(*bytes)),
            DataType::UInt32 => Some(Kind::Numbers),
            _ => None,
        }
    }

    /// Whether the column of a row group can be read so.
    pub fn can_read(self, chunk: &ColumnChunkMetaData) -> bool {
        self.lies_as(chunk.column_descr())
            && chunk.column_descr().max_rep_level() == 0
            && chunk.column_descr().max_def_level() <= 1
            && chunk.dictionary_page_offset().is_some()
            && chunk.page_encoding_stats_mask().is_some_and(|pages| pages.is_only(Encoding::RLE_DICTIONARY))
    }

    fn lies_as(self, column: &ColumnDescriptor) -> bool {
        match (self, column.physical_type()) {
            (Kind::Words, Type::BYTE_ARRAY) | (Kind::Numbers, Type::INT32) => true,
            (Kind::Ids(length), Type::FIXED_LEN_BYTE_ARRAY) => column.type_length() == length,
            _ => false,
        }
    }

    fn values(self, bytes: Bytes, count: usize) -> Result<Values, ParquetError> {
        let short = || wrong("its values are cut short");
        Ok(match self {
            Kind::Words => {
                let (mut text, mut ends, mut rest) = (Vec::with_capacity(bytes.len()), vec![0], &bytes[..]);
                for _ in 0..count {
                    let (length, behind) = rest.split_first_chunk().ok_or_else(short)?;
                    let own = behind.split_at_checked(u32::from_le_bytes(*length) as usize);
                    let (own, behind) = own.ok_or_else(short)?;
                    text.extend_from_slice(own);
                    ends.push(i32::try_from(text.len()).map_err(|_| wrong("its values are too long"))?);
                    rest = behind;
                }
                let words = StringArray::try_new(OffsetBuffer::new(ends.into()), text.into(), None)?;
                Values::Coded(Arc::new(words))
            }
            Kind::Ids(length) => Values::Ids(length, first(length, count, bytes)?),
            Kind::Numbers => {
                let numbers = bytes.as_chunks().0.get(..count).ok_or_else(short)?;
                Values::Numbers(numbers.iter().map(|number| u32::from_le_bytes(*number)).collect())
            }
        })
    }
}

/// The first ones of such values.
fn first(length: i32, count: usize, bytes: Bytes) -> Result<Bytes, ParquetError> {
    let all = count.checked_mul(length as usize).filter(|all| *all <= bytes.len());
    all.map(|all| bytes.slice(..all)).ok_or_else(|| wrong("its values are cut short"))
}

impl Values {
    /// The values of rows by their codes.
    fn column(&self, (codes, mut nulls): (Vec<u32>, NullBufferBuilder)) -> Result<ArrayRef, ArrowError> {
        let (nulls, rows) = (nulls.finish(), codes.len());
        // A row without a value has the code 0, of which there may be no value either.
        let has_none = nulls.as_ref().is_some_and(|nulls| nulls.null_count() == rows);
        Ok(match self {
            Values::Coded(values) => {
                let keys = UInt32Array::try_new(ScalarBuffer::from(codes), nulls)?;
                Arc::new(DictionaryArray::<UInt32Type>::try_new(keys, values.clone())?)
            }
            Values::Ids(length, ids) => {
                let width = *length as usize;
                let mut bytes = Vec::with_capacity(rows * width);
                if has_none {
                    bytes.resize(rows * width, 0);
                } else if width == 16 {
                    gather(ids.as_chunks::<16>().0, &codes, |id| bytes.extend_from_slice(id))?;
                } else {
                    let ids: Vec<&[u8]> = ids.chunks_exact(width.max(1)).collect();
                    gather(&ids, &codes, |id| bytes.extend_from_slice(id))?;
                }
                let ids = FixedSizeBinaryArray::try_new(*length, Buffer::from_vec(bytes), nulls)?;
                Arc::new(ids)
            }
            Values::Numbers(values) => {
                let mut numbers = Vec::with_capacity(rows);
                match has_none {
                    true => numbers.resize(rows, 0),
                    false => gather(values, &codes, |number| numbers.push(*number))?,
                }
                Arc::new(UInt32Array::try_new(ScalarBuffer::from(numbers), nulls)?)
            }
        })
    }
}

fn gather<T>(values: &[T], codes: &[u32], mut see: impl FnMut(&T)) -> Result<(), ParquetError> {
    for code in codes {
        see(values.get(*code as usize).ok_or_else(without_values)?);
    }
    Ok(())
}

impl Codes {
    fn with_room(room: usize) -> Codes {
        Codes { same: None, rows: 0, each: None, room }
    }

    fn each(&mut self) -> &mut (Vec<u32>, NullBufferBuilder) {
        self.each.get_or_insert_with(|| {
            let mut each = (Vec::with_capacity(self.room), NullBufferBuilder::new(self.room));
            append(&mut each, self.same, self.rows);
            each
        })
    }

    fn add_same(&mut self, code: Option<u32>, count: usize) {
        if self.each.is_none() && (self.rows == 0 || self.same == code) {
            self.same = code;
        } else {
            append(self.each(), code, count);
        }
        self.rows += count;
    }

    fn add(&mut self, from: &mut Hybrid, mut count: usize) -> Result<(), ParquetError> {
        while count > 0 {
            let (same, left) = from.run()?;
            let own = left.min(count);
            if same.is_some() {
                self.add_same(same, own);
                from.skip(own)?;
            } else {
                let (codes, nulls) = self.each();
                from.take(own, codes);
                nulls.append_n_non_nulls(own);
                self.rows += own;
            }
            count -= own;
        }
        Ok(())
    }
}

fn append((codes, nulls): &mut (Vec<u32>, NullBufferBuilder), code: Option<u32>, count: usize) {
    codes.resize(codes.len() + count, code.unwrap_or(0));
    match code {
        Some(_) => nulls.append_n_non_nulls(count),
        None => nulls.append_n_nulls(count),
    }
}

impl Rows {
    fn of(page: Page, nullable: bool) -> Result<Rows, ParquetError> {
        let Page::DataPageV2 {
            buf,
            num_values,
            num_nulls,
            num_rows,
            encoding,
            def_levels_byte_len,
            rep_levels_byte_len,
            ..
        } = page
        else {
            return Err(wrong("a page is of an old kind"));
        };
        if encoding != Encoding::RLE_DICTIONARY || num_rows != num_values || rep_levels_byte_len != 0 {
            return Err(wrong("a page has other values"));
        }
        let levels = def_levels_byte_len as usize;
        if levels > buf.len() || (num_nulls > 0 && !nullable) {
            return Err(wrong("a page is cut short"));
        }
        let left = num_rows as usize;
        if num_nulls == num_rows {
            return Ok(Rows { left, levels: None, codes: None });
        }
        let width = usize::from(*buf.get(levels).ok_or_else(|| wrong("a page is cut short"))?);
        Ok(Rows {
            left,
            levels: (num_nulls > 0).then(|| Hybrid::new(buf.slice(..levels), 1)).transpose()?,
            codes: Some(Hybrid::new(buf.slice(levels + 1..), width)?),
        })
    }

    /// Hands on whether the next rows have values, and their codes: so many that have one, or none.
    fn each(
        &mut self,
        rows: usize,
        mut see: impl FnMut(Option<&mut Hybrid>, usize) -> Result<(), ParquetError>,
    ) -> Result<(), ParquetError> {
        self.left -= rows;
        let Some(codes) = &mut self.codes else { return see(None, rows) };
        let Some(levels) = &mut self.levels else { return see(Some(codes), rows) };
        let (mut rest, mut packed) = (rows, vec![]);
        while rest > 0 {
            let (level, left) = levels.run()?;
            let own = left.min(rest);
            match level {
                Some(level) => {
                    levels.skip(own)?;
                    see((level != 0).then_some(&mut *codes), own)?;
                }
                None => {
                    packed.clear();
                    levels.take(own, &mut packed);
                    for alike in packed.chunk_by(|one, next| one == next) {
                        see((alike[0] != 0).then_some(&mut *codes), alike.len())?;
                    }
                }
            }
            rest -= own;
        }
        Ok(())
    }
}

impl Coded {
    /// Of pages of a column that [can be read so](Kind::can_read); where the dictionary is not known, it is the first of them.
    pub fn new(
        pages: Box<dyn PageReader>,
        chunk: &ColumnChunkMetaData,
        kind: Kind,
        dictionary: Dictionary,
    ) -> Coded {
        let nullable = chunk.column_descr().max_def_level() > 0;
        Coded { pages, kind, nullable, dictionary, page: Rows::default(), same: None }
    }

    /// Rows one behind the other: of each piece the first number is left out and the second taken.
    pub fn read(&mut self, pieces: &[(usize, usize)]) -> Result<ArrayRef, ArrowError> {
        let mut codes = Codes::with_room(pieces.iter().map(|(_, taken)| taken).sum());
        for (skipped, taken) in pieces {
            self.skip(*skipped)?;
            let mut left = *taken;
            while left > 0 {
                self.begin_page()?;
                let own = left.min(self.page.left);
                self.page.each(own, |from, count| match from {
                    Some(from) => codes.add(from, count),
                    None => {
                        codes.add_same(None, count);
                        Ok(())
                    }
                })?;
                left -= own;
            }
        }
        self.column(codes)
    }

    fn column(&mut self, codes: Codes) -> Result<ArrayRef, ArrowError> {
        let values = self.dictionary.get().ok_or_else(without_values)?;
        if let Some(each) = codes.each {
            return values.column(each);
        }
        if let Some((same, column)) = &self.same
            && *same == codes.same
            && codes.rows <= column.len()
        {
            return Ok(column.slice(0, codes.rows));
        }
        let mut each = (vec![], NullBufferBuilder::new(codes.rows));
        append(&mut each, codes.same, codes.rows);
        let column = values.column(each)?;
        self.same = Some((codes.same, column.clone()));
        Ok(column)
    }

    fn skip(&mut self, mut rows: usize) -> Result<(), ParquetError> {
        while rows > 0 {
            if self.page.left == 0
                && let Some(whole) = self.pages.peek_next_page()?.filter(|page| !page.is_dict)
                && let Some(of_page) = whole.num_rows.filter(|of_page| *of_page <= rows)
            {
                self.pages.skip_next_page()?;
                rows -= of_page;
                continue;
            }
            self.begin_page()?;
            let own = rows.min(self.page.left);
            self.page.each(own, |from, count| from.map_or(Ok(()), |from| from.skip(count)))?;
            rows -= own;
        }
        Ok(())
    }

    /// Goes on to the next page that has rows, where none is left of this one.
    fn begin_page(&mut self) -> Result<(), ParquetError> {
        while self.page.left == 0 {
            let wanted = self.pages.peek_next_page()?.and_then(|next| next.num_rows);
            match self.pages.get_next_page()? {
                None => return Err(wrong("rows are missing")),
                Some(Page::DictionaryPage { buf, num_values, .. }) => {
                    let values = self.kind.values(buf, num_values as usize)?;
                    self.dictionary.get_or_init(|| values);
                }
                Some(page) => {
                    self.page = Rows::of(page, self.nullable)?;
                    if wanted.is_some_and(|rows| rows != self.page.left) {
                        return Err(wrong("a page has not the rows that it should have"));
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Array, ArrayRef, RecordBatch};
    use arrow::compute::{cast, concat};
    use parquet::arrow::ArrowWriter;
    use parquet::file::properties::{WriterProperties, WriterVersion};
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    const ROWS: usize = 3_000;

    fn file(columns: &[ArrayRef], version: WriterVersion) -> SerializedFileReader<Bytes> {
        let named = columns.iter().enumerate().map(|(at, column)| (at.to_string(), column.clone(), true));
        let batch = RecordBatch::try_from_iter_with_nullable(named).unwrap();
        let properties = WriterProperties::builder()
            .set_writer_version(version)
            .set_data_page_row_count_limit(128)
            .set_write_batch_size(128)
            .build();
        let mut writer = ArrowWriter::try_new(vec![], batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        SerializedFileReader::new(Bytes::from(writer.into_inner().unwrap())).unwrap()
    }

    fn coded(file: &SerializedFileReader<Bytes>, column: usize, kind: &DataType) -> Option<Coded> {
        let group = file.get_row_group(0).unwrap();
        let chunk = group.metadata().column(column);
        let pages = group.get_column_page_reader(column).unwrap();
        let kind = Kind::of(kind).filter(|kind| kind.can_read(chunk))?;
        Some(Coded::new(pages, chunk, kind, Dictionary::default()))
    }

    /// Values that go on for a while or change with each row, of so many, some of them missing.
    fn codes(rng: &mut StdRng, values: u32, missing: f64) -> Vec<Option<u32>> {
        let mut codes = vec![];
        while codes.len() < ROWS {
            let goes_on = if rng.random_bool(0.5) { 1 } else { rng.random_range(1..700) };
            let one = (!rng.random_bool(missing)).then(|| rng.random_range(0..values));
            codes.extend(std::iter::repeat_n(one, goes_on));
        }
        codes.truncate(ROWS);
        codes
    }

    fn columns(rng: &mut StdRng, values: u32, missing: f64) -> Vec<ArrayRef> {
        let id = |code: u32, length: usize| (code as u128).to_le_bytes()[..length].to_vec();
        let mut ids = |length: usize| {
            let own = codes(rng, values, missing);
            let own = own.into_iter().map(|code| code.map(|code| id(code, length)));
            Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(own, length as i32).unwrap())
        };
        let (long, short): (ArrayRef, ArrayRef) = (ids(16), ids(8));
        let words = codes(rng, values, missing).into_iter().map(|code| Some("w".repeat(code? as usize % 40)));
        let words: ArrayRef = Arc::new(words.collect::<StringArray>());
        let numbers: ArrayRef = Arc::new(codes(rng, values, missing).into_iter().collect::<UInt32Array>());
        vec![long, short, cast(&words, &crate::schema::word()).unwrap(), numbers]
    }

    #[test]
    fn rows_are_those_that_were_written() {
        let mut rng = StdRng::seed_from_u64(5);
        for (values, missing) in [(1, 0.0), (1, 1.0), (2, 0.5), (300, 0.0), (300, 0.2), (3_000, 0.01)] {
            let columns = columns(&mut rng, values, missing);
            let file = file(&columns, WriterVersion::PARQUET_2_0);
            let kinds = columns.iter().map(|column| column.data_type().clone()).enumerate();
            for (at, kind) in kinds {
                let (column, mut read) = (&columns[at], coded(&file, at, &kind).unwrap());
                let (mut row, mut left_out, mut parts) = (0, 0, vec![]);
                while row < ROWS {
                    let mut pieces = vec![];
                    for _ in 0..rng.random_range(1..4) {
                        let skipped = if rng.random_bool(0.5) { 0 } else { rng.random_range(0..400) };
                        let skipped = skipped.min(ROWS - row);
                        let taken = rng.random_range(0..300).min(ROWS - row - skipped);
                        parts.push(column.slice(row + skipped, taken));
                        pieces.push((skipped, taken));
                        (row, left_out) = (row + skipped + taken, left_out + skipped);
                    }
                    let again = read.read(&pieces).unwrap();
                    let own = concat(&parts.iter().map(AsRef::as_ref).collect::<Vec<_>>()).unwrap();
                    parts.clear();
                    assert_eq!(again.data_type(), &kind);
                    assert_eq!(again.len(), own.len());
                    assert_eq!(&plain(&again), &plain(&own), "{values} {missing} {at} {pieces:?}");
                }
                assert!(left_out > 0);
                assert!(read.read(&[(0, 1)]).is_err(), "there is no row left");
            }
        }
    }

    /// Dictionaries are alike where their rows are.
    fn plain(column: &ArrayRef) -> ArrayRef {
        match column.data_type() {
            DataType::Dictionary(_, values) => cast(column, values).unwrap(),
            _ => column.clone(),
        }
    }

    #[test]
    fn rows_that_are_alike_are_one_array() {
        let numbers: ArrayRef =
            Arc::new(UInt32Array::from_iter((0..ROWS).map(|row| (row < 2_000).then_some(7))));
        let file = file(&[numbers], WriterVersion::PARQUET_2_0);
        let mut read = coded(&file, 0, &DataType::UInt32).unwrap();
        let mut rows = |rows| -> UInt32Array {
            arrow::array::AsArray::as_primitive(&read.read(&[(0, rows)]).unwrap()).clone()
        };
        let at = |column: &UInt32Array| column.values().as_ptr();
        let (first, second, both, none) = (rows(900), rows(800), rows(600), rows(700));
        assert_eq!(at(&first), at(&second));
        assert_eq!(second.len(), 800);
        assert_eq!((both.null_count(), none.null_count()), (300, 700));
    }

    #[test]
    fn only_what_lies_so_is_read() {
        let many: ArrayRef =
            Arc::new((0..200_000u32).map(|row| Some(format!("{row:060}"))).collect::<StringArray>());
        let words = cast(&many, &crate::schema::word()).unwrap();
        let times: ArrayRef = Arc::new(arrow::array::Int64Array::from(vec![7; 200_000]));
        let own = file(&[many, words, times.clone()], WriterVersion::PARQUET_2_0);
        assert!(coded(&own, 0, &DataType::Utf8).is_none(), "texts are not words");
        assert!(coded(&own, 0, &crate::schema::word()).is_none(), "the dictionary was full");
        assert!(coded(&own, 2, &DataType::Int64).is_none());
        assert!(coded(&own, 2, &DataType::UInt32).is_none(), "its numbers are longer");
        let numbers: ArrayRef = Arc::new(UInt32Array::from(vec![7; ROWS]));
        let old = file(&[numbers], WriterVersion::PARQUET_1_0);
        let wrong = coded(&old, 0, &DataType::UInt32).unwrap().read(&[(0, 1)]).unwrap_err();
        assert!(wrong.to_string().contains("a page is of an old kind"), "{wrong}");
    }

    #[test]
    fn what_is_no_dictionary_is_told() {
        let kinds = [(Kind::Words, 2), (Kind::Ids(16), 2), (Kind::Numbers, 3)];
        for (kind, count) in kinds {
            let bytes = Bytes::from_static(&[1, 0, 0, 0, b'x', 9, 0, 0, 0, b'y', b'z']);
            assert!(kind.values(bytes, count).is_err());
        }
        assert!(Kind::Words.values(Bytes::from_static(&[1, 0, 0, 0, 0xff]), 1).is_err(), "it is no text");
        let numbers = Values::Numbers(vec![7]);
        assert!(numbers.column((vec![0, 1], NullBufferBuilder::new(2))).is_err());
    }
}
