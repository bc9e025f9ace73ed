//! SQL over a store that holds a little of everything, kept in memory.

mod stored;
mod words;

use super::*;
use crate::Limits;
use arrow::util::pretty::pretty_format_batches;
use futures::stream::{self, StreamExt};
use model::{Exemplar, Labels, LogSelect, Metadata, SeriesSelect, SpanSelect, SystemClock};
use store::{
    Allowance, BatchStream, BlockStream, LogColumns, LogStreamInfo, ReadError, SampleBlock, SeriesInfo,
    Snapshot, Source, SpanColumns,
};

/// Two series of three samples; keeps what it was asked for.
#[derive(Default)]
struct Little {
    asked: parking_lot::Mutex<Vec<SeriesSelect>>,
}

fn labels(job: &str) -> Labels {
    Labels::from_pairs([("__name__", "up"), ("job", job)])
}

#[async_trait::async_trait]
impl Snapshot for Little {
    async fn series(&self, select: &SeriesSelect, _: &dyn Allowance) -> Result<Vec<SeriesInfo>, ReadError> {
        let all = ["a", "b"].map(labels);
        Ok(all
            .into_iter()
            .filter(|labels| select.matchers.iter().all(|matcher| matcher.matches_labels(labels)))
            .map(|labels| SeriesInfo { labels, first_ms: 1_000, last_ms: 3_000 })
            .collect())
    }

    async fn sample_blocks(&self, select: &SeriesSelect) -> Result<BlockStream, ReadError> {
        self.asked.lock().push(select.clone());
        let mut block = SampleBlock { offsets: vec![0], ..SampleBlock::default() };
        for info in self.series(select, &store::Unbounded).await? {
            for ts_ms in [1_000, 2_000, 3_000].into_iter().filter(|ts| select.range.contains(*ts)) {
                block.ts_ms.push(ts_ms);
                block.values.push(ts_ms as f64 / 1e3);
            }
            block.labels.push(info.labels);
            block.offsets.push(block.ts_ms.len());
        }
        Ok(stream::iter([Ok(block)]).boxed())
    }

    async fn metadata(&self) -> Result<Vec<Metadata>, ReadError> {
        Ok(vec![])
    }

    async fn exemplars(&self, _: &SeriesSelect) -> Result<Vec<Exemplar>, ReadError> {
        Ok(vec![])
    }

    async fn log_streams(&self, _: &LogSelect) -> Result<Vec<LogStreamInfo>, ReadError> {
        Ok(vec![])
    }

    async fn logs(&self, _: &LogSelect, _: &LogColumns) -> Result<BatchStream, ReadError> {
        Ok(stream::empty().boxed())
    }

    async fn spans(&self, _: &SpanSelect, _: &SpanColumns) -> Result<BatchStream, ReadError> {
        Ok(stream::empty().boxed())
    }

    fn warnings(&self) -> Vec<String> {
        vec![]
    }
}

struct Only(Arc<Little>);

#[async_trait::async_trait]
impl Source for Only {
    async fn snapshot(&self, _: &Tenant) -> Result<Arc<dyn Snapshot>, ReadError> {
        Ok(self.0.clone())
    }
}

fn engine() -> (Arc<Engine>, Arc<Little>) {
    let little = Arc::new(Little::default());
    let limits = Limits { rows_max: 100, ..Limits::default() };
    let engine = Engine::new(Arc::new(Only(little.clone())), Arc::new(SystemClock), limits).unwrap();
    (Arc::new(engine), little)
}

async fn table(engine: &Arc<Engine>, query: &str) -> String {
    let answer = engine
        .sql(&Tenant::default(), query, vec![])
        .await
        .unwrap_or_else(|wrong| panic!("{query}: {wrong}"));
    pretty_format_batches(&answer.batches).unwrap().to_string()
}

#[tokio::test]
async fn conditions_reach_the_store_and_hold() {
    let (engine, little) = engine();
    let text = table(
        &engine,
        "select name, label(labels, 'job') as job, value from metrics \
         where name = 'up' and label(labels, 'job') = 'b' and ts > '1970-01-01T00:00:01Z' order by value",
    )
    .await;
    assert_eq!(
        text,
        "+------+-----+-------+\n| name | job | value |\n+------+-----+-------+\n| up   | b   | 2.0   |\n| up   | b   | 3.0   |\n+------+-----+-------+"
    );
    let asked = little.asked.lock().clone();
    assert_eq!(asked.len(), 1);
    // The two asked for, and that no part of a histogram is wanted.
    assert_eq!(asked[0].matchers.len(), 3, "{asked:?}");
    assert_eq!(asked[0].range.start, 1_001);
}

#[tokio::test]
async fn counting_reads_no_column() {
    let (engine, _) = engine();
    assert!(table(&engine, "select count(*) as n from metrics").await.contains("| 6 |"));
    assert!(table(&engine, "select count(*) as n from logs").await.contains("| 0 |"));
    assert!(
        table(&engine, "select max(last_ts) as t, count(*) as n from series")
            .await
            .contains("1970-01-01T00:00:03Z")
    );
    assert!(table(&engine, "show tables").await.contains("spans"));
}

#[tokio::test]
async fn what_writes_is_refused_and_mistakes_are_named() {
    let (engine, _) = engine();
    for query in
        ["drop table logs", "create table x as select 1", "insert into logs values (1)", "set a.b = 1"]
    {
        let wrong = engine.sql(&Tenant::default(), query, vec![]).await.unwrap_err();
        assert!(matches!(wrong, QueryError::Bad(_)), "{query}: {wrong:?}");
    }
    let wrong = engine.sql(&Tenant::default(), "select frm logs x y", vec![]).await.unwrap_err();
    assert!(wrong.to_string().contains("Line: 1, Column: "), "{wrong}");
    let wrong = engine.sql(&Tenant::default(), "select nope from logs", vec![]).await.unwrap_err();
    assert!(wrong.to_string().contains("nope"), "{wrong}");
    let wrong =
        engine.sql(&Tenant::default(), "select * from generate_series(1, 1000)", vec![]).await.unwrap_err();
    assert!(matches!(wrong, QueryError::TooMuch(_)), "{wrong:?}");
}

#[tokio::test]
async fn tables_from_outside_and_views() {
    let (engine, _) = engine();
    engine.add_table(RowTable {
        name: "alerts",
        columns: &[("ts", CellKind::Time), ("name", CellKind::Text), ("value", CellKind::Number)],
        rows: Arc::new(|tenant| {
            Box::pin(async move {
                Ok(vec![vec![Cell::Time(1_000_000_000), Cell::Text(tenant.to_string()), Cell::Number(0.5)]])
            })
        }),
    });
    engine.add_view("loud", "select name, value * 2 as twice from alerts");
    assert!(table(&engine, "select * from loud").await.contains("| default | 1.0   |"));
}
