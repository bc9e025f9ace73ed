//! The catalog: which parts exist, how far the WAL is covered, who sent what, and what metrics are. SQLite; every change
//! is one transaction.

use crate::exemplars::{Changes, Row as ExemplarRow};
use crate::log_deletions::LogDeletion;
use crate::part::{PartMeta, Signal};
use crate::senders::Position;
use crate::tombstones::Tombstone;
use anyhow::Context;
use model::{Exemplar, Labels, Metadata, MetricKind, ReadLogQuery, Tenant, TimeRange};
use parking_lot::Mutex;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqliteLockingMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, Row, Sqlite, SqliteConnection, Transaction};
use std::path::Path;
use std::sync::Arc;
use tracing::warn;

pub struct Catalog {
    pool: SqlitePool,
    /// Tables that there was no room for: empty ones in memory stand in for them until a commit finds room.
    put_off: Mutex<Vec<Table>>,
}

/// Its name and its columns.
type Table = (&'static str, &'static str);

/// Everything that a flush makes true at once.
#[derive(Default)]
pub struct Commit {
    pub added: Vec<PartMeta>,
    pub removed: Vec<i64>,
    /// WAL records before this position are in parts.
    pub covered: Option<u64>,
    pub senders: Vec<Position>,
    pub senders_gone: Vec<u128>,
    pub metadata: Vec<(Tenant, Metadata)>,
    pub exemplars: Changes,
    /// Exemplars of before are past their retention.
    pub exemplars_from_ms: Option<i64>,
    pub exemplars_removed: Vec<i64>,
    pub tombstones: Vec<(Tenant, Arc<Tombstone>)>,
    pub tombstones_done: Vec<i64>,
    /// New ones, and those that changed.
    pub log_deletions: Vec<(Tenant, Arc<LogDeletion>)>,
    pub log_deletions_gone: Vec<i64>,
}

/// SQLite's `user_version` of a catalog of this shape.
const VERSION: i64 = 2;

const TABLES: [Table; 9] = [
    (
        "parts",
        "id integer primary key, tenant text not null, signal text not null, window integer not null, \
         level integer not null, first_ts integer not null, last_ts integer not null, rows integer not null, bytes integer not null",
    ),
    ("positions", "name text primary key, position integer not null"),
    ("senders", "sender text primary key, sequence integer not null"),
    (
        "metadata",
        "tenant text not null, name text not null, kind text not null, help text not null, unit text not null, \
         primary key (tenant, name)",
    ),
    // The value's bits: SQLite knows no NaN.
    (
        "exemplars",
        "id integer primary key, tenant text not null, series blob not null, labels blob not null, ts integer not null, \
         value integer not null",
    ),
    (
        "tombstones",
        "id integer primary key, tenant text not null, matchers text not null, first integer not null, \
         last integer not null, parts_before integer not null",
    ),
    (
        "log_deletions",
        "id integer primary key, tenant text not null, request_id text not null, query text not null, \
         first integer not null, last integer not null, created integer not null, parts_before integer not null, \
         parts_also text not null, processed integer not null",
    ),
    // Beside `senders`, whose rows programs write that know nothing of this.
    ("sender_times", "sender text primary key, last_ms integer not null"),
    // Beside `parts`, whose rows programs write that know nothing of this.
    ("downsampled", "part integer primary key, interval_ms integer not null"),
];

impl Catalog {
    pub async fn open(path: &Path) -> anyhow::Result<Catalog> {
        let opened = match Catalog::shared(path).await {
            // What is there can be read all the same, and room may come.
            Err(wrong) if has_no_room(&wrong) => {
                warn!(path = %path.display(), error = format!("{wrong:#}"), "the disk is full; the catalog is opened for this process alone");
                async { Catalog::alone(connect_alone(path).await?, path).await }.await
            }
            opened => opened,
        };
        opened.with_context(|| format!("opening the catalog {}", path.display()))
    }

    async fn shared(path: &Path) -> anyhow::Result<Catalog> {
        let pool = connect(path, SqliteLockingMode::Normal, 2).await?;
        let made = async {
            let is_new = is_new(&pool, path).await?;
            let mut connection = pool.acquire().await?;
            for table in TABLES {
                create(&mut connection, table).await?;
            }
            // Writes, also where it changes nothing.
            if is_new {
                sqlx::query("pragma user_version = 2").execute(&mut *connection).await?;
            }
            anyhow::Ok(())
        };
        if let Err(wrong) = made.await {
            // Who opens it alone must be alone.
            pool.close().await;
            return Err(wrong);
        }
        Ok(Catalog { pool, put_off: Mutex::default() })
    }

    /// What was written before the disk was full is to be read, also by a program that has tables which are not there.
    async fn alone(pool: SqlitePool, path: &Path) -> anyhow::Result<Catalog> {
        anyhow::ensure!(!is_new(&pool, path).await?, "there is no room for a new one");
        let mut put_off = vec![];
        let mut connection = pool.acquire().await?;
        for (name, columns) in TABLES {
            match create(&mut connection, (name, columns)).await {
                Err(wrong) if has_no_room(&wrong) => {
                    let stand_in = format!("create temp table {name} ({columns})");
                    sqlx::query(AssertSqlSafe(stand_in)).execute(&mut *connection).await?;
                    put_off.push((name, columns));
                }
                done => done?,
            }
        }
        drop(connection);
        Ok(Catalog { pool, put_off: Mutex::new(put_off) })
    }

    pub async fn parts(&self) -> anyhow::Result<Vec<PartMeta>> {
        let rows = sqlx::query("select parts.*, coalesce(interval_ms, 0) as interval_ms from parts left join downsampled on part = id order by id").fetch_all(&self.pool).await?;
        rows.iter()
            .map(|row| {
                let signal: String = row.try_get("signal")?;
                Ok(PartMeta {
                    id: row.try_get("id")?,
                    tenant: Tenant::new(row.try_get("tenant")?)?,
                    signal: Signal::from_word(&signal)
                        .with_context(|| format!("the catalog names a signal {signal:?}"))?,
                    window: row.try_get("window")?,
                    level: row.try_get("level")?,
                    first_ts: row.try_get("first_ts")?,
                    last_ts: row.try_get("last_ts")?,
                    rows: row.try_get("rows")?,
                    bytes: row.try_get("bytes")?,
                    interval_ms: row.try_get("interval_ms")?,
                })
            })
            .collect()
    }

    /// The WAL position from which records are not in parts.
    pub async fn covered(&self) -> anyhow::Result<u64> {
        let row = sqlx::query("select position from positions where name = 'wal'")
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.map_or(Ok(0), |row| row.try_get::<i64, _>(0))? as u64)
    }

    /// One of which no time is known counts as heard of now.
    pub async fn senders(&self, now_ms: i64) -> anyhow::Result<Vec<Position>> {
        let query = "select sender, sequence, coalesce(last_ms, ?) from senders left join sender_times using (sender)";
        let rows = sqlx::query(query).bind(now_ms).fetch_all(&self.pool).await?;
        rows.iter()
            .map(|row| {
                let sender: String = row.try_get(0)?;
                let sender = u128::from_str_radix(&sender, 16)?;
                let sequence = row.try_get::<i64, _>(1)? as u64;
                Ok(Position { sender, sequence, last_ms: row.try_get(2)? })
            })
            .collect()
    }

    pub async fn metadata(&self) -> anyhow::Result<Vec<(Tenant, Metadata)>> {
        let rows =
            sqlx::query("select tenant, name, kind, help, unit from metadata").fetch_all(&self.pool).await?;
        rows.iter()
            .map(|row| {
                let kind: String = row.try_get(2)?;
                let kind = serde_json::from_value(kind.into()).unwrap_or(MetricKind::Unknown);
                let metadata =
                    Metadata { name: row.try_get(1)?, kind, help: row.try_get(3)?, unit: row.try_get(4)? };
                Ok((Tenant::new(row.try_get(0)?)?, metadata))
            })
            .collect()
    }

    pub async fn exemplars(&self) -> anyhow::Result<Vec<ExemplarRow>> {
        let query = "select id, tenant, series, labels, ts, value from exemplars order by id";
        let rows = sqlx::query(query).fetch_all(&self.pool).await?;
        rows.iter()
            .map(|row| {
                let exemplar = Exemplar {
                    series: Labels::from_bytes(row.try_get(2)?)?,
                    labels: Labels::from_bytes(row.try_get(3)?)?,
                    ts_ms: row.try_get(4)?,
                    value: f64::from_bits(row.try_get::<i64, _>(5)? as u64),
                };
                Ok(ExemplarRow { id: row.try_get(0)?, tenant: Tenant::new(row.try_get(1)?)?, exemplar })
            })
            .collect()
    }

    pub async fn tombstones(&self) -> anyhow::Result<Vec<(Tenant, Tombstone)>> {
        let query = "select id, tenant, matchers, first, last, parts_before from tombstones order by id";
        let rows = sqlx::query(query).fetch_all(&self.pool).await?;
        rows.iter()
            .map(|row| {
                let tombstone = Tombstone {
                    id: row.try_get(0)?,
                    matchers: serde_json::from_str(row.try_get(2)?)?,
                    range: TimeRange { start: row.try_get(3)?, end: row.try_get(4)? },
                    parts_before: row.try_get(5)?,
                };
                Ok((Tenant::new(row.try_get(1)?)?, tombstone))
            })
            .collect()
    }

    /// Those whose query cannot be read any more are an error: what they hide would show.
    pub async fn log_deletions(&self, read: ReadLogQuery) -> anyhow::Result<Vec<(Tenant, LogDeletion)>> {
        let query = "select id, tenant, request_id, query, first, last, created, parts_before, parts_also, processed \
                     from log_deletions order by id";
        let rows = sqlx::query(query).fetch_all(&self.pool).await?;
        rows.iter()
            .map(|row| {
                let query: String = row.try_get(3)?;
                let wanted = read(&query)
                    .map_err(|why| anyhow::anyhow!("the catalog has a deletion of {query:?}: {why}"))?;
                let deletion = LogDeletion {
                    id: row.try_get(0)?,
                    request_id: row.try_get(2)?,
                    range: TimeRange { start: row.try_get(4)?, end: row.try_get(5)? },
                    created_ms: row.try_get(6)?,
                    parts_before: row.try_get(7)?,
                    parts_also: serde_json::from_str(row.try_get(8)?)?,
                    processed: row.try_get(9)?,
                    query,
                    wanted,
                };
                Ok((Tenant::new(row.try_get(1)?)?, deletion))
            })
            .collect()
    }

    pub async fn commit(&self, commit: &Commit) -> anyhow::Result<()> {
        let mut transaction = self.pool.begin().await?;
        // First: what is written goes to the lasting one.
        let put_off = self.put_off.lock().clone();
        for table in put_off {
            create(&mut transaction, table).await?;
            let stand_in = format!("drop table if exists temp.{}", table.0);
            sqlx::query(AssertSqlSafe(stand_in)).execute(&mut *transaction).await?;
        }
        for part in &commit.added {
            add(&mut transaction, part).await?;
        }
        for id in &commit.removed {
            for query in ["delete from parts where id = ?", "delete from downsampled where part = ?"] {
                sqlx::query(query).bind(id).execute(&mut *transaction).await?;
            }
        }
        if let Some(covered) = commit.covered {
            sqlx::query("insert or replace into positions (name, position) values ('wal', ?)")
                .bind(covered as i64)
                .execute(&mut *transaction)
                .await?;
        }
        change_senders(&mut transaction, commit).await?;
        for (tenant, metadata) in &commit.metadata {
            sqlx::query(
                "insert or replace into metadata (tenant, name, kind, help, unit) values (?, ?, ?, ?, ?)",
            )
            .bind(tenant.as_str())
            .bind(&metadata.name)
            .bind(metadata.kind.as_str())
            .bind(&metadata.help)
            .bind(&metadata.unit)
            .execute(&mut *transaction)
            .await?;
        }
        change_exemplars(&mut transaction, &commit.exemplars, commit.exemplars_from_ms).await?;
        for id in &commit.exemplars_removed {
            sqlx::query("delete from exemplars where id = ?").bind(id).execute(&mut *transaction).await?;
        }
        for (tenant, tombstone) in &commit.tombstones {
            sqlx::query(
                "insert into tombstones (id, tenant, matchers, first, last, parts_before) values (?, ?, ?, ?, ?, ?)",
            )
            .bind(tombstone.id)
            .bind(tenant.as_str())
            .bind(serde_json::to_string(&tombstone.matchers)?)
            .bind(tombstone.range.start)
            .bind(tombstone.range.end)
            .bind(tombstone.parts_before)
            .execute(&mut *transaction)
            .await?;
        }
        for id in &commit.tombstones_done {
            sqlx::query("delete from tombstones where id = ?").bind(id).execute(&mut *transaction).await?;
        }
        change_log_deletions(&mut transaction, commit).await?;
        transaction.commit().await?;
        self.put_off.lock().clear();
        Ok(())
    }

    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// Whether there is nothing in it; one of another version is refused.
async fn is_new(pool: &SqlitePool, path: &Path) -> anyhow::Result<bool> {
    let version: i64 = sqlx::query("pragma user_version").fetch_one(pool).await?.try_get(0)?;
    let tables: i64 = sqlx::query("select count(*) from sqlite_master").fetch_one(pool).await?.try_get(0)?;
    anyhow::ensure!(
        version == VERSION || tables == 0,
        "{} is of version {version}; this program reads version {VERSION}",
        path.display()
    );
    Ok(version != VERSION)
}

async fn create(connection: &mut SqliteConnection, (name, columns): Table) -> anyhow::Result<()> {
    let query = format!("create table if not exists {name} ({columns})");
    sqlx::query(AssertSqlSafe(query)).execute(connection).await?;
    Ok(())
}

async fn connect(path: &Path, locking: SqliteLockingMode, connections: u32) -> sqlx::Result<SqlitePool> {
    SqlitePoolOptions::new().max_connections(connections).connect_with(options(path, locking)).await
}

/// SQLite shares memory between connections by a file beside the catalog. With a single one it needs none.
async fn connect_alone(path: &Path) -> sqlx::Result<SqlitePool> {
    alone_with(options(path, SqliteLockingMode::Exclusive)).await
}

/// Its connection is kept: what is in memory goes with it.
async fn alone_with(options: SqliteConnectOptions) -> sqlx::Result<SqlitePool> {
    let pool = SqlitePoolOptions::new().max_connections(1).max_lifetime(None).idle_timeout(None);
    pool.connect_with(options.pragma("temp_store", "memory")).await
}

fn options(path: &Path, locking: SqliteLockingMode) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .locking_mode(locking)
        .journal_mode(SqliteJournalMode::Wal)
        // The commit is what makes a part exist and lets the WAL go: it must survive power loss.
        .synchronous(SqliteSynchronous::Full)
}

/// SQLITE_FULL, and SQLITE_IOERR_SHMSIZE for the file of shared memory.
fn has_no_room(wrong: &anyhow::Error) -> bool {
    let wrong = wrong.downcast_ref::<sqlx::Error>().and_then(|wrong| wrong.as_database_error());
    let code = wrong.and_then(|wrong| wrong.code());
    code.is_some_and(|code| matches!(&*code, "13" | "4874"))
}

/// Those that are gone first: one of them may have come back.
async fn change_senders(transaction: &mut Transaction<'_, Sqlite>, commit: &Commit) -> anyhow::Result<()> {
    for sender in &commit.senders_gone {
        for query in ["delete from senders where sender = ?", "delete from sender_times where sender = ?"] {
            sqlx::query(query).bind(format!("{sender:032x}")).execute(&mut **transaction).await?;
        }
    }
    for Position { sender, sequence, last_ms } in &commit.senders {
        for (query, value) in [
            ("insert or replace into senders (sender, sequence) values (?, ?)", *sequence as i64),
            ("insert or replace into sender_times (sender, last_ms) values (?, ?)", *last_ms),
        ] {
            let query = sqlx::query(query).bind(format!("{sender:032x}")).bind(value);
            query.execute(&mut **transaction).await?;
        }
    }
    Ok(())
}

async fn change_exemplars(
    transaction: &mut Transaction<'_, Sqlite>,
    changes: &Changes,
    from_ms: Option<i64>,
) -> anyhow::Result<()> {
    if let Some(from_ms) = from_ms {
        sqlx::query("delete from exemplars where ts < ?").bind(from_ms).execute(&mut **transaction).await?;
    }
    for (tenant, id) in &changes.gone {
        sqlx::query("delete from exemplars where id <= ? and tenant = ?")
            .bind(id)
            .bind(tenant.as_str())
            .execute(&mut **transaction)
            .await?;
    }
    for ExemplarRow { id, tenant, exemplar } in &changes.added {
        sqlx::query(
            "insert or replace into exemplars (id, tenant, series, labels, ts, value) values (?, ?, ?, ?, ?, ?)",
        )
        .bind(id)
        .bind(tenant.as_str())
        .bind(exemplar.series.as_bytes())
        .bind(exemplar.labels.as_bytes())
        .bind(exemplar.ts_ms)
        .bind(exemplar.value.to_bits() as i64)
        .execute(&mut **transaction)
        .await?;
    }
    Ok(())
}

async fn change_log_deletions(
    transaction: &mut Transaction<'_, Sqlite>,
    commit: &Commit,
) -> anyhow::Result<()> {
    for (tenant, deletion) in &commit.log_deletions {
        sqlx::query(
            "insert or replace into log_deletions (id, tenant, request_id, query, first, last, created, parts_before, \
             parts_also, processed) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(deletion.id)
        .bind(tenant.as_str())
        .bind(&deletion.request_id)
        .bind(&deletion.query)
        .bind(deletion.range.start)
        .bind(deletion.range.end)
        .bind(deletion.created_ms)
        .bind(deletion.parts_before)
        .bind(serde_json::to_string(&deletion.parts_also)?)
        .bind(deletion.processed)
        .execute(&mut **transaction)
        .await?;
    }
    for id in &commit.log_deletions_gone {
        sqlx::query("delete from log_deletions where id = ?").bind(id).execute(&mut **transaction).await?;
    }
    Ok(())
}

async fn add(transaction: &mut Transaction<'_, Sqlite>, part: &PartMeta) -> anyhow::Result<()> {
    sqlx::query("insert into parts (id, tenant, signal, window, level, first_ts, last_ts, rows, bytes) values (?, ?, ?, ?, ?, ?, ?, ?, ?)")
        .bind(part.id)
        .bind(part.tenant.as_str())
        .bind(part.signal.as_str())
        .bind(part.window)
        .bind(part.level)
        .bind(part.first_ts)
        .bind(part.last_ts)
        .bind(part.rows)
        .bind(part.bytes)
        .execute(&mut **transaction)
        .await?;
    if part.interval_ms > 0 {
        sqlx::query("insert into downsampled (part, interval_ms) values (?, ?)")
            .bind(part.id)
            .bind(part.interval_ms)
            .execute(&mut **transaction)
            .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A full disk has no room for the file, and what is in the catalog is to be read.
    #[tokio::test]
    async fn alone_a_catalog_needs_no_file_for_shared_memory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("catalog.db");
        let shared = dir.path().join("catalog.db-shm");
        let catalog = Catalog::open(&path).await.unwrap();
        catalog.commit(&Commit { covered: Some(7), ..Commit::default() }).await.unwrap();
        assert!(shared.exists());
        catalog.close().await;
        assert!(!shared.exists());
        let catalog = Catalog::alone(connect_alone(&path).await.unwrap(), &path).await.unwrap();
        assert_eq!(catalog.covered().await.unwrap(), 7);
        catalog.commit(&Commit { covered: Some(8), ..Commit::default() }).await.unwrap();
        assert!(!shared.exists());
        catalog.close().await;
        assert_eq!(Catalog::open(&path).await.unwrap().covered().await.unwrap(), 8);
    }
    /// A limit of pages stands for the disk. What an older program left has the tables that it knew.
    #[tokio::test]
    async fn on_a_full_disk_a_table_that_is_missing_is_made_once_there_is_room() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("catalog.db");
        let old = connect_alone(&path).await.unwrap();
        for table in TABLES.into_iter().filter(|(name, _)| *name != "sender_times") {
            create(&mut old.acquire().await.unwrap(), table).await.unwrap();
        }
        for statement in [
            "insert into senders (sender, sequence) values ('0000000000000000000000000000000a', 7)",
            "pragma user_version = 2",
        ] {
            sqlx::query(statement).execute(&old).await.unwrap();
        }
        old.close().await;

        // One is too few for what is there: SQLite takes that for what there is now.
        let full = options(&path, SqliteLockingMode::Exclusive).pragma("max_page_count", "1");
        let catalog = Catalog::alone(alone_with(full).await.unwrap(), &path).await.unwrap();
        let position = |sequence, last_ms| Position { sender: 10, sequence, last_ms };
        assert_eq!(catalog.senders(5).await.unwrap(), [position(7, 5)]);
        let commit = Commit { senders: vec![position(8, 6)], ..Commit::default() };
        assert!(has_no_room(&catalog.commit(&commit).await.unwrap_err()));
        assert_eq!(catalog.senders(5).await.unwrap(), [position(7, 5)]);

        sqlx::query("pragma max_page_count = 1000").execute(&catalog.pool).await.unwrap();
        catalog.commit(&commit).await.unwrap();
        assert_eq!(catalog.senders(9).await.unwrap(), [position(8, 6)]);
        catalog.commit(&Commit { senders: vec![position(9, 7)], ..Commit::default() }).await.unwrap();
        catalog.close().await;
        let catalog = Catalog::open(&path).await.unwrap();
        assert_eq!(catalog.senders(9).await.unwrap(), [position(9, 7)]);
    }
}
