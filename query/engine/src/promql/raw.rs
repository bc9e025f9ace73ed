//! Samples of series as they are stored, for whoever evaluates by itself: stale markers are among them.

use super::scan::{self, Reader};
use super::{Found, PromSeries};
use crate::room::Room;
use crate::{Engine, QueryError};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use model::{COMPONENT, Point, SeriesSelect, Tenant};
use std::sync::Arc;
use store::{SampleBlock, Snapshot};
use tokio::sync::mpsc;

/// Series, and the place of the selection that they are of. After an error nothing comes.
type Piece = Result<(usize, Vec<PromSeries>), QueryError>;

pub type RawStream = BoxStream<'static, Piece>;

/// About what is handed out in one piece, in bytes; a series is whole.
const PIECE_BYTES: usize = 256 << 10;

impl Engine {
    /// For each selection, its series in the order of their labels. All read one picture of the data, and together no
    /// more samples than one query may.
    pub async fn prom_raw(
        &self,
        tenant: &Tenant,
        selections: Vec<SeriesSelect>,
    ) -> Result<Found<Vec<PromSeries>>, QueryError> {
        let snapshot = self.source.snapshot(tenant).await?;
        let (told, samples_max) = (snapshot.clone(), self.limits.samples_max);
        let room = self.room();
        let found = self.off_thread(async move {
            let reader = Reader { snapshot, samples_max, samples: Arc::default() };
            let mut found = Vec::with_capacity(selections.len());
            for select in selections {
                let mut all = vec![];
                let keep = |block: &SampleBlock| {
                    series_of(block).try_for_each(|series| {
                        room.take(series.bytes())?;
                        all.push(series);
                        Ok(())
                    })
                };
                if reader.each(&select, &room, keep).await? {
                    all.sort_by(|a, b| a.labels.cmp(&b.labels));
                }
                found.push(all);
            }
            Ok((found, room))
        });
        let (found, room) = found.await?;
        Ok(Found { found, warnings: told.warnings(), held: room.into() })
    }

    /// As [`prom_raw`](Self::prom_raw), of any length: handed out while it is read, and no more is held than one block of
    /// it. What could not be read is an error at the end. `None` where histograms are among them: their parts lie apart,
    /// and are in the order of labels only with everything else.
    pub async fn prom_raw_stream(
        &self,
        tenant: &Tenant,
        selections: &[SeriesSelect],
    ) -> Result<Option<RawStream>, QueryError> {
        let snapshot = self.source.snapshot(tenant).await?;
        let room = self.room();
        for select in selections {
            if snapshot.label_names(select, &room).await?.contains(COMPONENT) {
                return Ok(None);
            }
        }
        // Kept until the last is read: as many are read at once as there may be queries.
        let turn = self.turn(&self.turns).await?;
        let (read, mut taken) = mpsc::channel(1);
        let (handle, selections) = (tokio::runtime::Handle::current(), selections.to_vec());
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            handle.block_on(async move {
                if let Err(wrong) = hand_out(&*snapshot, selections, &room, &read).await {
                    _ = read.send(Err(wrong)).await;
                }
            });
        });
        Ok(Some(stream::poll_fn(move |context| taken.poll_recv(context)).boxed()))
    }
}

/// Ends early where nobody takes them any more.
async fn hand_out(
    snapshot: &dyn Snapshot,
    selections: Vec<SeriesSelect>,
    room: &Room,
    to: &mpsc::Sender<Piece>,
) -> Result<(), QueryError> {
    for (at, select) in selections.into_iter().enumerate() {
        let mut blocks = snapshot.sample_blocks(&select).await?;
        while let Some(block) = blocks.try_next().await? {
            // The block, and its series as points.
            room.settle(2 * scan::bytes(&block))?;
            let mut series = series_of(&block);
            loop {
                let piece = piece_of(&mut series);
                if piece.is_empty() {
                    break;
                }
                if to.send(Ok((at, piece))).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
    match &snapshot.warnings()[..] {
        [] => Ok(()),
        warnings => Err(QueryError::Broken(warnings.join("; "))),
    }
}

/// Empty at the end.
fn piece_of(series: &mut impl Iterator<Item = PromSeries>) -> Vec<PromSeries> {
    let (mut piece, mut bytes) = (vec![], 0);
    while bytes < PIECE_BYTES
        && let Some(one) = series.next()
    {
        bytes += one.bytes();
        piece.push(one);
    }
    piece
}

/// Of starts alone there is nothing to hand out.
fn series_of(block: &SampleBlock) -> impl Iterator<Item = PromSeries> + '_ {
    let series = model::runs(block.iter()).into_iter().map(|run| {
        let both = run.ts_ms.iter().zip(run.values);
        let points = both.map(|(ts_ms, value)| Point { ts_ms: *ts_ms, value: *value }).collect();
        PromSeries { labels: run.labels, points, histograms: run.histograms }
    });
    series.filter(|series| !series.points.is_empty() || !series.histograms.is_empty())
}
