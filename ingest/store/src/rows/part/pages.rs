//! Pages of columns that were fetched.

use super::unpacker;
use bytes::{Buf, Bytes};
use parquet::basic::Compression;
use parquet::column::page::{Page, PageIterator, PageMetadata, PageReader};
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::page_index::offset_index::PageLocation;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;
use std::io::Cursor;
use std::sync::Arc;

/// No page is let be larger.
const PAGE_BYTES_MAX: u64 = 1 << 30;

/// A larger page is not compared with the one before.
const ALIKE_BYTES_MAX: usize = 256;

/// Pages of a chunk, which are numbered as if there were no others, with so many rows.
pub struct Located {
    pub pages: Vec<PageLocation>,
    pub rows: usize,
    /// The dictionary is read before them, if there is one.
    pub with_dictionary: bool,
}

/// Reads these pages.
pub fn pages_of(chunk: &ColumnChunkMetaData, fetched: Arc<Fetched>, located: Located) -> Chunk {
    let Located { pages: located, rows, with_dictionary } = located;
    let compression = chunk.compression();
    let mut chosen = chunk.clone().into_builder();
    // What lies before the first page would be taken for a dictionary.
    let dictionary = chunk.dictionary_page_offset().filter(|_| with_dictionary);
    if let (None, Some(first)) = (dictionary, located.first()) {
        chosen = chosen.set_dictionary_page_offset(None).set_data_page_offset(first.offset);
    }
    if matches!(compression, Compression::ZSTD(_)) {
        chosen = chosen.set_compression(Compression::UNCOMPRESSED);
    }
    let places = located.clone().into_iter();
    let pages = SerializedPageReader::new(fetched.clone(), &chosen.build()?, rows, Some(located))?;
    Ok(match compression {
        Compression::ZSTD(_) => {
            Box::new(Again { pages: Unpacked(pages), fetched, places, last: None }) as Box<dyn PageReader>
        }
        _ => Box::new(Again { pages, fetched, places, last: None }),
    })
}

/// Pages of which one that is like the one before is not read again: in most columns thousands of rows have the same value.
struct Again<P> {
    pages: P,
    fetched: Arc<Fetched>,
    /// Of those that are to come.
    places: std::vec::IntoIter<PageLocation>,
    /// The last one as it lies, and as it was read.
    last: Option<(Bytes, Page)>,
}

impl<P: PageReader> Again<P> {
    fn is_dictionary(&mut self) -> Result<bool, ParquetError> {
        Ok(self.pages.peek_next_page()?.is_some_and(|next| next.is_dict))
    }
}

impl<P: PageReader> Iterator for Again<P> {
    type Item = Result<Page, ParquetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl<P: PageReader> PageReader for Again<P> {
    fn get_next_page(&mut self) -> Result<Option<Page>, ParquetError> {
        if self.is_dictionary()? {
            return self.pages.get_next_page();
        }
        let small = self.places.next().filter(|place| place.compressed_page_size as usize <= ALIKE_BYTES_MAX);
        let Some(place) = small else {
            self.last = None;
            return self.pages.get_next_page();
        };
        let own = self.fetched.get_bytes(place.offset as u64, place.compressed_page_size as usize)?;
        if let Some((last, page)) = &self.last
            && *last == own
        {
            self.pages.skip_next_page()?;
            return Ok(Some(page.clone()));
        }
        let page = self.pages.get_next_page()?;
        self.last = page.clone().map(|page| (own, page));
        Ok(page)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>, ParquetError> {
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<(), ParquetError> {
        if !self.is_dictionary()? {
            self.places.next();
        }
        self.pages.skip_next_page()
    }
}

/// Pages that come packed, as if they were not: the library makes two contexts for each column to unpack its pages with, which
/// takes longer than to unpack the one page that is read of it.
struct Unpacked(SerializedPageReader<Fetched>);

/// What lies behind the first bytes, unpacked; these are as they were.
fn unpacked(bytes: &Bytes, first: usize) -> Result<Bytes, ParquetError> {
    let wrong = || ParquetError::General("a page is not packed as it should be".into());
    let (plain, packed) = bytes.split_at_checked(first).ok_or_else(wrong)?;
    if packed.is_empty() {
        return Ok(bytes.clone());
    }
    let size = zstd::zstd_safe::get_frame_content_size(packed).ok().flatten().ok_or_else(wrong)?;
    if size > PAGE_BYTES_MAX {
        return Err(ParquetError::General(format!("a page says that it holds {size} bytes")));
    }
    let mut out = Vec::with_capacity(first + size as usize);
    out.extend_from_slice(plain);
    let mut out = Cursor::new(out);
    out.set_position(first as u64);
    unpacker::with(|own| own.decompress_to_buffer(packed, &mut out))?;
    Ok(out.into_inner().into())
}

impl Iterator for Unpacked {
    type Item = Result<Page, ParquetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for Unpacked {
    fn get_next_page(&mut self) -> Result<Option<Page>, ParquetError> {
        let Some(mut page) = self.0.get_next_page()? else { return Ok(None) };
        match &mut page {
            Page::DictionaryPage { buf, .. } | Page::DataPage { buf, .. } => *buf = unpacked(buf, 0)?,
            Page::DataPageV2 { buf, def_levels_byte_len, rep_levels_byte_len, is_compressed, .. } => {
                if std::mem::take(is_compressed) {
                    *buf = unpacked(buf, (*def_levels_byte_len + *rep_levels_byte_len) as usize)?;
                }
            }
        }
        Ok(Some(page))
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>, ParquetError> {
        self.0.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<(), ParquetError> {
        self.0.skip_next_page()
    }
}

pub type Chunk = Result<Box<dyn PageReader>, ParquetError>;

impl Chunks {
    pub fn of(chunks: Vec<Chunk>) -> Chunks {
        Chunks(chunks.into_iter())
    }
}

/// The row groups' pages of one leaf.
pub struct Chunks(std::vec::IntoIter<Chunk>);

impl Iterator for Chunks {
    type Item = Chunk;

    fn next(&mut self) -> Option<Chunk> {
        self.0.next()
    }
}

impl PageIterator for Chunks {}

/// Pieces of a file, by where they begin.
#[derive(Default)]
pub struct Fetched(pub foldhash::HashMap<u64, Bytes>);

impl Length for Fetched {
    fn len(&self) -> u64 {
        self.0.iter().map(|(start, bytes)| start + bytes.len() as u64).max().unwrap_or(0)
    }
}

impl ChunkReader for Fetched {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(self.get_bytes(start, 0)?.reader())
    }

    /// As much as was fetched there: a reader that sees the first of the chosen pages takes all before it for the dictionary.
    fn get_bytes(&self, start: u64, _: usize) -> Result<Bytes, ParquetError> {
        let missing = || ParquetError::EOF(format!("byte {start} was not fetched"));
        self.0.get(&start).cloned().ok_or_else(missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use parquet::arrow::ArrowWriter;
    use parquet::basic::ZstdLevel;
    use parquet::file::metadata::{PageIndexPolicy, ParquetMetaDataReader};
    use parquet::file::properties::{WriterProperties, WriterVersion};

    /// Four pages alike, one as long that is not, and two of these again.
    #[test]
    fn a_page_like_the_one_before_is_read_once() {
        for compression in [Compression::UNCOMPRESSED, Compression::ZSTD(ZstdLevel::default())] {
            let rows = (0..700).map(|row| if (400..500).contains(&row) { 8 } else { 7 });
            let column: ArrayRef = Arc::new(Int64Array::from_iter_values(rows));
            let batch = RecordBatch::try_from_iter([("n", column)]).unwrap();
            let properties = WriterProperties::builder()
                .set_writer_version(WriterVersion::PARQUET_2_0)
                .set_compression(compression)
                .set_data_page_row_count_limit(100)
                .set_write_batch_size(100)
                .set_statistics_enabled(parquet::file::properties::EnabledStatistics::None);
            let mut writer = ArrowWriter::try_new(vec![], batch.schema(), Some(properties.build())).unwrap();
            writer.write(&batch).unwrap();
            let file = Bytes::from(writer.into_inner().unwrap());
            let metadata = ParquetMetaDataReader::new()
                .with_page_index_policy(PageIndexPolicy::Required)
                .parse_and_finish(&file)
                .unwrap();
            let chunk = metadata.row_group(0).column(0);
            let places = metadata.offset_index().unwrap()[0][0].page_locations().clone();
            let (start, _) = chunk.byte_range();
            let range = |place: &PageLocation| {
                let start = place.offset as usize;
                (start as u64, file.slice(start..start + place.compressed_page_size as usize))
            };
            let mut pieces: foldhash::HashMap<u64, Bytes> = places.iter().map(range).collect();
            pieces.insert(start, file.slice(start as usize..places[0].offset as usize));
            let fetched = Arc::new(Fetched(pieces));
            for skipped in [0, 2] {
                let located = Located { pages: places.clone(), rows: 700, with_dictionary: true };
                let mut pages = pages_of(chunk, fetched.clone(), located).unwrap();
                let dictionary = pages.get_next_page().unwrap().unwrap();
                assert!(matches!(dictionary, Page::DictionaryPage { .. }));
                (0..skipped).for_each(|_| pages.skip_next_page().unwrap());
                let read: Vec<Bytes> = pages.map(|page| page.unwrap().buffer().clone()).collect();
                assert_eq!(read.len(), 7 - skipped);
                let alike = read.windows(2).map(|two| two[0].as_ptr() == two[1].as_ptr());
                let expected = [true, true, true, false, false, true];
                assert_eq!(alike.collect::<Vec<_>>(), expected[skipped..], "{compression} {skipped}");
            }
            let located = Located { pages: places[4..].to_vec(), rows: 300, with_dictionary: false };
            let pages = pages_of(chunk, fetched.clone(), located).unwrap();
            let rows: Vec<usize> = pages.map(|page| page.unwrap().num_values() as usize).collect();
            assert_eq!(rows, [100; 3]);
        }
    }
}
