//! Work that is divided among as many threads as there are processors.

use crate::QueryError;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Threads of one query.
const SHARES_MAX: usize = 8;

/// How many there are.
pub(super) fn shares() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(SHARES_MAX)
}

/// What each share of the work gives; `work` is asked for each by its number and how many there are. Who no longer waits ends
/// them all.
pub(super) async fn in_shares<T, W>(work: impl Fn((usize, usize)) -> W) -> Result<Vec<T>, QueryError>
where
    T: Send + 'static,
    W: Future<Output = Result<T, QueryError>> + Send + 'static,
{
    let of = shares();
    let ended = CancellationToken::new();
    let _with_the_asker = ended.clone().drop_guard();
    let mut running = JoinSet::new();
    for at in 0..of {
        let (share, ended, handle) = (work((at, of)), ended.clone(), Handle::current());
        running.spawn_blocking(move || {
            handle.block_on(async move {
                tokio::select! {
                    done = share => done,
                    () = ended.cancelled() => Err(QueryError::Cancelled),
                }
            })
        });
    }
    let mut all = Vec::with_capacity(of);
    while let Some(done) = running.join_next().await {
        all.push(done.map_err(|why| QueryError::Broken(format!("query thread ended: {why}")))??);
    }
    Ok(all)
}
