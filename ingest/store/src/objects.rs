//! Where part files lie: an object store, by default a local directory whose writes are synced before they count.

use crate::decoded::Decoded;
use crate::rows::part::Automata;
use crate::spool::{Contents, Spool};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, TryFutureExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt, WriteMultipart};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, RowFilter, RowSelection};
use parquet::arrow::async_reader::{
    AsyncFileReader, ParquetRecordBatchStream, ParquetRecordBatchStreamBuilder,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

pub struct Objects {
    /// What was decoded of them lately.
    pub decoded: Decoded,
    /// Of line patterns that were asked for lately.
    pub automata: Automata,
    store: Arc<dyn ObjectStore>,
    /// Of this machine, for what is not there to stay.
    folder: PathBuf,
    /// Set for the local directory: its files are synced by us, as the library does not.
    local: Option<LocalFileSystem>,
}

/// What to read of a Parquet file.
pub struct Read {
    pub projection: ProjectionMask,
    pub selection: Option<RowSelection>,
    pub filter: Option<RowFilter>,
    /// Of one batch.
    pub rows: usize,
}

impl Default for Read {
    fn default() -> Read {
        Read { projection: ProjectionMask::all(), selection: None, filter: None, rows: READ_ROWS }
    }
}

/// Pieces of one object on their way, some MiB each.
const UPLOADS_AT_A_TIME: usize = 2;

/// To read so many bytes more costs less than to ask once more.
const GAP_BYTES: u64 = 8 << 10;

/// Rows of a batch that is read; large enough that decoding dominates, small enough to stop early.
pub const READ_ROWS: usize = 16_384;

impl Objects {
    /// `decoded_bytes_max` bounds what is kept of pages that were decoded.
    pub fn local(dir: PathBuf, decoded_bytes_max: usize) -> anyhow::Result<Objects> {
        std::fs::create_dir_all(&dir)?;
        let local = LocalFileSystem::new_with_prefix(&dir)?;
        let decoded = Decoded::new(decoded_bytes_max);
        let store = Arc::new(LocalFileSystem::new_with_prefix(&dir)?);
        Ok(Objects { decoded, automata: Automata::default(), store, folder: dir, local: Some(local) })
    }

    /// For a file that may be large.
    pub fn spool(&self) -> std::io::Result<Spool> {
        Spool::in_file(&self.folder)
    }

    /// Returns once the object is there to stay.
    pub async fn put(&self, path: &Path, contents: Contents) -> anyhow::Result<()> {
        match contents {
            Contents::Memory(bytes) => _ = self.store.put(path, bytes.into()).await?,
            Contents::File { .. } => {
                let mut upload = WriteMultipart::new(self.store.put_multipart(path).await?);
                let mut at = 0;
                while at < contents.len() {
                    let piece = contents.piece(at)?;
                    at += piece.len() as u64;
                    upload.wait_for_capacity(UPLOADS_AT_A_TIME).await?;
                    upload.put(piece);
                }
                upload.finish().await?;
            }
        }
        if let Some(local) = &self.local {
            let file = local.path_to_filesystem(path)?;
            tokio::task::spawn_blocking(move || -> std::io::Result<()> {
                std::fs::File::open(&file)?.sync_all()?;
                // The folders above may be new as well.
                file.ancestors().skip(1).take(3).try_for_each(|dir| std::fs::File::open(dir)?.sync_all())
            })
            .await??;
        }
        Ok(())
    }

    pub async fn get(&self, path: &Path) -> object_store::Result<Bytes> {
        self.store.get(path).await?.bytes().await
    }

    /// These ranges of an object's bytes. What lies close together is read at once.
    pub async fn ranges(&self, path: &Path, ranges: Vec<Range<u64>>) -> Result<Vec<Bytes>, ParquetError> {
        if let Some(wrong) = ranges.iter().find(|range| range.start > range.end) {
            return Err(ParquetError::EOF(format!("bytes {wrong:?}")));
        }
        let mut joined: Vec<Range<u64>> = vec![];
        let mut places = Vec::with_capacity(ranges.len());
        for range in &ranges {
            match joined.last_mut() {
                Some(last)
                    if last.start <= range.start && range.start <= last.end.saturating_add(GAP_BYTES) =>
                {
                    last.end = last.end.max(range.end);
                }
                _ => joined.push(range.clone()),
            }
            places.push(joined.len() - 1);
        }
        let starts: Vec<u64> = joined.iter().map(|range| range.start).collect();
        let read = self.file(path).get_byte_ranges(joined).await?;
        let of_range = |(range, place): (&Range<u64>, usize)| {
            let start = range.start - starts[place];
            read[place].slice(start as usize..(start + range.end - range.start) as usize)
        };
        Ok(ranges.iter().zip(places).map(of_range).collect())
    }

    /// The last bytes of an object, and how many it has.
    pub async fn tail(&self, path: &Path, bytes: u64) -> object_store::Result<(Bytes, u64)> {
        let options = GetOptions { range: Some(GetRange::Suffix(bytes)), ..GetOptions::default() };
        let got = self.store.get_opts(path, options).await?;
        let size = got.meta.size;
        Ok((got.bytes().await?, size))
    }

    pub async fn delete(&self, path: &Path) -> object_store::Result<()> {
        match self.store.delete(path).await {
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            other => other,
        }
    }

    pub async fn list(&self) -> object_store::Result<Vec<Path>> {
        self.store.list(None).map_ok(|object| object.location).try_collect().await
    }

    /// Footer and page index of a Parquet file.
    pub async fn parquet_metadata(&self, path: &Path) -> Result<ArrowReaderMetadata, ParquetError> {
        ArrowReaderMetadata::load_async(&mut self.file(path), ArrowReaderOptions::new()).await
    }

    pub fn read(
        &self,
        path: &Path,
        metadata: &ArrowReaderMetadata,
        read: Read,
    ) -> Result<ParquetRecordBatchStream<ObjectFile>, ParquetError> {
        let mut builder =
            ParquetRecordBatchStreamBuilder::new_with_metadata(self.file(path), metadata.clone())
                .with_batch_size(read.rows)
                .with_projection(read.projection);
        if let Some(selection) = read.selection {
            builder = builder.with_row_selection(selection);
        }
        if let Some(filter) = read.filter {
            builder = builder.with_row_filter(filter);
        }
        builder.build()
    }
}

/// One object as the Parquet reader wants it: ranges of its bytes.
pub struct ObjectFile {
    store: Arc<dyn ObjectStore>,
    path: Path,
    local: Option<LocalFile>,
}

/// A file of this machine, read where it is asked for: a page is most often in the system's cache, and handing the
/// reading to another thread costs more than the reading.
struct LocalFile {
    path: PathBuf,
    opened: Option<File>,
}

impl LocalFile {
    fn read(&mut self, ranges: &[Range<u64>]) -> std::io::Result<Vec<Bytes>> {
        let file = match &mut self.opened {
            Some(file) => file,
            closed => closed.insert(File::open(&self.path)?),
        };
        let length = file.metadata()?.len();
        let read = |range: &Range<u64>| {
            // A damaged footer may name any bytes; no more is taken for them than the file has.
            if range.start > range.end || range.end > length {
                let why = format!("bytes {}..{} of a file of {length}", range.start, range.end);
                return Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, why));
            }
            let mut bytes = vec![0; (range.end - range.start) as usize];
            file.read_exact_at(&mut bytes, range.start)?;
            Ok(Bytes::from(bytes))
        };
        ranges.iter().map(read).collect()
    }
}

impl Objects {
    /// Whether they are files of this machine.
    pub fn are_local(&self) -> bool {
        self.local.is_some()
    }

    fn file(&self, path: &Path) -> ObjectFile {
        let on_disk = self.local.as_ref().and_then(|local| local.path_to_filesystem(path).ok());
        let local = on_disk.map(|path| LocalFile { path, opened: None });
        ObjectFile { store: self.store.clone(), path: path.clone(), local }
    }
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> ParquetError {
    ParquetError::External(Box::new(error))
}

impl AsyncFileReader for ObjectFile {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        async move {
            match self.get_byte_ranges(vec![range]).await?.pop() {
                Some(bytes) => Ok(bytes),
                None => Err(ParquetError::EOF("nothing was read".into())),
            }
        }
        .boxed()
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        async move {
            match &mut self.local {
                Some(file) => file.read(&ranges).map_err(failed),
                None => self.store.get_ranges(&self.path, &ranges).map_err(failed).await,
            }
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        async move {
            let size = self.store.head(&self.path).map_err(failed).await?.size;
            let reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Optional);
            Ok(Arc::new(reader.load_and_finish(&mut *self, size).await?))
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ranges_come_as_they_were_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let objects = Objects::local(dir.path().to_owned(), 0).unwrap();
        let bytes: Vec<u8> = (0..50_000u32).map(|at| (at / 7) as u8).collect();
        let path = Path::from("part");
        objects.put(&path, Contents::Memory(bytes.clone().into())).await.unwrap();
        let ranges =
            vec![5..9, 9..9, 9..30, 8_000..8_100, 40_000..50_000, 41_000..41_001, 0..3, 49_999..50_000];
        let read = objects.ranges(&path, ranges.clone()).await.unwrap();
        let expected: Vec<Bytes> = ranges
            .iter()
            .map(|range| Bytes::copy_from_slice(&bytes[range.start as usize..range.end as usize]))
            .collect();
        assert_eq!(read, expected);
        assert!(objects.ranges(&path, vec![0..5, 49_000..50_001]).await.is_err());
    }

    #[test]
    fn bytes_that_a_file_does_not_have_are_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("part");
        std::fs::write(&path, b"0123456789").unwrap();
        let mut file = LocalFile { path, opened: None };
        let inside = [2..5, 10..10];
        assert_eq!(file.read(&inside).unwrap(), [Bytes::from("234"), Bytes::new()]);
        let backwards = Range { start: 7, end: 3 };
        for wrong in [8..11, 0..u64::MAX, u64::MAX - 1..u64::MAX, backwards] {
            assert!(file.read(std::slice::from_ref(&wrong)).is_err(), "{wrong:?}");
        }
    }
}
