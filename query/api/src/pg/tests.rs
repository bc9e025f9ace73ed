use super::*;
use engine::Limits;
use model::{Batch, Clock, Labels, LogBatch, LogRecord, LogStream, Sink as _, SystemClock, Write};
use std::net::SocketAddr;
use store::Store;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

struct Served {
    address: SocketAddr,
    stop: CancellationToken,
    dir: tempfile::TempDir,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn serving(limits: Limits, password: Option<&'static str>) -> Served {
    let dir = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let config = store::Config { dir: dir.path().join("store"), fsync: false, ..Default::default() };
    let store = Store::open(config, clock.clone()).await.unwrap();
    let record = |body: &str| LogRecord {
        ts_ns: clock.now_ms() * 1_000_000,
        body: body.into(),
        ..LogRecord::default()
    };
    let labels = Labels::from_pairs([("app", "web")]);
    let stream = LogStream { labels, resource: vec![], records: vec![record("one"), record("two")] };
    let batch = Batch::Logs(LogBatch { streams: vec![stream] });
    store.write(Write { tenant: Tenant::default(), batch, origin: None }).await.unwrap();
    let engine = Arc::new(Engine::new(store, clock, limits).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
    let passwords: Passwords = password.map(|right| {
        let accepts: Arc<dyn Fn(&str) -> bool + Send + Sync> =
            Arc::new(move |offered: &str| offered == right);
        accepts
    });
    tokio::spawn(serve(listener, engine, (passwords, None), stop.clone()));
    Served { address, stop, dir }
}

fn startup(database: &str) -> Vec<u8> {
    let mut body = 196_608_i32.to_be_bytes().to_vec();
    for word in ["user", "somebody", "database", database, ""] {
        body.extend(word.as_bytes());
        body.push(0);
    }
    let mut message = (body.len() as i32 + 4).to_be_bytes().to_vec();
    message.extend(body);
    message
}

fn message(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let mut message = vec![kind];
    message.extend((body.len() as i32 + 4).to_be_bytes());
    message.extend(body);
    message
}

fn simple(query: &str) -> Vec<u8> {
    message(b'Q', &[query.as_bytes(), &[0]])
}

/// The fewest bytes of the protocol that a client needs.
struct Client(TcpStream);

impl Client {
    async fn dial(served: &Served, bytes: &[u8]) -> Client {
        let mut socket = TcpStream::connect(served.address).await.unwrap();
        socket.write_all(bytes).await.unwrap();
        Client(socket)
    }

    async fn welcome(served: &Served, database: &str) -> Client {
        let mut client = Client::dial(served, &startup(database)).await;
        let answer = client.until_ready().await;
        assert_eq!(answer.last().unwrap().0, b'Z', "{answer:?}");
        client
    }

    /// Messages up to ReadyForQuery, or to the end of the connection.
    async fn until_ready(&mut self) -> Vec<(u8, String)> {
        let mut messages = vec![];
        loop {
            let Ok(kind) = self.0.read_u8().await else { return messages };
            let length = self.0.read_i32().await.unwrap() as usize - 4;
            let mut body = vec![0; length];
            self.0.read_exact(&mut body).await.unwrap();
            messages.push((kind, String::from_utf8_lossy(&body).into_owned()));
            if kind == b'Z' {
                return messages;
            }
        }
    }

    async fn ask(&mut self, query: &str) -> Vec<(u8, String)> {
        self.0.write_all(&simple(query)).await.unwrap();
        self.until_ready().await
    }

    /// The SQLSTATE of the answer's error.
    async fn refused(&mut self, query: &str) -> String {
        let answer = self.ask(query).await;
        let error = answer.iter().find(|(kind, _)| *kind == b'E');
        let error = error.unwrap_or_else(|| panic!("{query} is answered with {answer:?}"));
        error.1.split('\0').find_map(|field| field.strip_prefix('C')).unwrap().to_owned()
    }

    async fn rows(&mut self, query: &str) -> Vec<String> {
        let answer = self.ask(query).await;
        assert!(answer.iter().all(|(kind, _)| *kind != b'E'), "{query}: {answer:?}");
        answer.into_iter().filter(|(kind, _)| *kind == b'D').map(|(_, row)| row).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_is_the_tenant_and_the_catalog_lists_tables() {
    let served = serving(Limits::default(), None).await;
    let mut client = Client::welcome(&served, "default").await;
    let rows = client.rows("select body from logs order by body").await;
    assert!(rows.len() == 2 && rows[0].ends_with("one"), "{rows:?}");
    let listed =
        client.rows("select relname from pg_catalog.pg_class where relname in ('logs', 'spans')").await;
    assert_eq!(listed.len(), 2, "{listed:?}");
    assert!(Client::welcome(&served, "other").await.rows("select body from logs").await.is_empty());
    let mut unnamed = Client::dial(&served, &startup("no/tenant")).await;
    assert!(unnamed.until_ready().await[0].1.contains("3D000"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_writes_nothing_and_lifts_no_limit() {
    let served = serving(Limits::default(), None).await;
    let mut client = Client::welcome(&served, "default").await;
    let file = served.dir.path().join("out.csv");
    let file = file.to_str().unwrap();
    for query in [
        &format!("explain analyze copy (select 1) to '{file}'"),
        &format!("copy (select 1) to '{file}'"),
        "select 1 as one into taken",
        "declare c cursor for select 1 as one into taken",
        "create table taken as select 1",
        "insert into logs (body) values ('x')",
        "drop table logs",
        "set datafusion.runtime.memory_limit = '1000G'",
    ] {
        assert_eq!(client.refused(query).await, "25006", "{query}");
    }
    assert!(!std::path::Path::new(file).exists());
    assert_eq!(client.refused("select * from taken").await, "42P01");
    assert_eq!(client.rows("select body from logs").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_have_the_codes_that_programs_branch_on() {
    let served = serving(Limits::default(), None).await;
    let mut client = Client::welcome(&served, "default").await;
    for (query, code) in [
        ("select nope from logs", "42703"),
        ("select * from nope", "42P01"),
        ("select nope(1)", "42883"),
        ("selec 1", "42601"),
        ("select 'x'::int", "22000"),
        // Lists over catalogs are empty; over telemetry they would hide it.
        ("select array(select body from logs)", "42883"),
        ("select array_to_string(array(select body from logs), ',')", "42883"),
        ("select array(select body from pg_catalog.pg_class, logs)", "42883"),
    ] {
        assert_eq!(client.refused(query).await, code, "{query}");
    }
    assert_eq!(client.rows("begin; select 1; commit").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_password_nothing_is_run() {
    let served = serving(Limits::default(), Some("right")).await;
    let with = |password: &str| message(b'p', &[password.as_bytes(), &[0]]);
    let parse = message(b'P', &[b"\0select body from logs\0", &0_i16.to_be_bytes()]);
    let sync = message(b'S', &[]);
    for uninvited in [
        [startup("default"), with("wrong"), simple("select body from logs"), parse.clone(), sync.clone()],
        [
            startup("default"),
            message(b'p', &[&[0xff, 0xfe]]),
            parse.clone(),
            simple("select 1"),
            sync.clone(),
        ],
        [startup("no/tenant"), parse.clone(), sync.clone(), simple("select body from logs"), vec![]],
    ] {
        let mut client = Client::dial(&served, &uninvited.concat()).await;
        let mut answer = client.until_ready().await;
        answer.extend(client.until_ready().await);
        assert!(answer.iter().any(|(kind, _)| *kind == b'E'), "{answer:?}");
        assert!(answer.iter().all(|(kind, _)| !b"TD12".contains(kind)), "{answer:?}");
    }
    let mut client = Client::dial(&served, &[startup("default"), with("right")].concat()).await;
    client.until_ready().await;
    assert_eq!(client.rows("select body from logs").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prepared_statements_take_parameters() {
    let served = serving(Limits::default(), None).await;
    let mut client = Client::welcome(&served, "default").await;
    let zero = 0_i16.to_be_bytes();
    let one = 1_i16.to_be_bytes();
    let messages = [
        message(b'P', &[b"\0select body from logs where body = $1\0", &zero]),
        message(b'B', &[b"\0\0", &zero, &one, &3_i32.to_be_bytes(), b"two", &zero]),
        message(b'E', &[b"\0", &0_i32.to_be_bytes()]),
        message(b'S', &[]),
    ];
    client.0.write_all(&messages.concat()).await.unwrap();
    let answer = client.until_ready().await;
    let rows: Vec<_> = answer.iter().filter(|(kind, _)| *kind == b'D').collect();
    assert!(rows.len() == 1 && rows[0].1.ends_with("two"), "{answer:?}");
    client
        .0
        .write_all(&[message(b'P', &[b"\0drop table logs\0", &zero]), message(b'S', &[])].concat())
        .await
        .unwrap();
    let answer = client.until_ready().await;
    assert!(answer[0].1.contains("25006"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_ends_at_its_deadline_and_gives_its_place_back() {
    let limits = Limits { timeout: Duration::from_millis(300), concurrency_max: 1, ..Limits::default() };
    let served = serving(limits, None).await;
    let mut client = Client::welcome(&served, "default").await;
    let endless = "select count(*) from generate_series(1, 1000000000) a, generate_series(1, 1000000000) b";
    assert_eq!(client.refused(endless).await, "57014");
    assert_eq!(client.rows("select 1").await.len(), 1);
}

/// Three batches and ten million rows are soon read, and make thirty million batches on the only thread there is: work
/// for most of a minute, in which a deadline of a second is to be heard.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_join_that_makes_many_rows_of_few_leaves_the_thread_to_others() {
    let limits = Limits { timeout: Duration::from_secs(1), ..Limits::default() };
    let served = serving(limits, None).await;
    let mut client = Client::welcome(&served, "default").await;
    let join = "select count(*) from generate_series(1, 10000000) a, generate_series(1, 20000) b";
    let heard = tokio::time::timeout(Duration::from_secs(10), client.refused(join)).await;
    assert_eq!(heard.expect("the deadline is heard while the join runs"), "57014");
    assert_eq!(client.rows("select 1").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_in_a_statement_does_not_take_all_memory() {
    let served = serving(Limits::default(), None).await;
    let mut client = Client::welcome(&served, "default").await;
    for (modest, greedy) in [
        ("select unnest(range(3))", "select unnest(range(1, 10000000)) from generate_series(1, 1000)"),
        ("select unnest(generate_series(3, 1, -1))", "select generate_series(0, -10000000000, -1)"),
        (
            "select unnest(range(date '2026-01-01', date '2026-01-04', interval '1 day'))",
            "select range(timestamp '2026-01-01', timestamp '2026-01-02', interval '1 microsecond')",
        ),
        ("select repeat(body, 3) from logs", "select repeat(body, 1000000000) from logs"),
        ("select lpad(body, 9) from logs", "select lpad(body, 1000000000) from logs"),
        ("select rpad(body, 9, '-') from logs", "select rpad(body, 1000000000, '-') from logs"),
        ("select unnest(array_repeat(body, 2)) from logs", "select list_repeat(1, 10000000000)"),
        ("select array_resize([1], 3)", "select array_resize([1], 10000000000)"),
    ] {
        assert!(!client.rows(modest).await.is_empty(), "{modest}");
        assert_eq!(client.refused(greedy).await, "22000", "{greedy}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_client_too_many_is_told_so() {
    let served = serving(Limits::default(), None).await;
    let mut waiting = vec![];
    for _ in 0..CONNECTIONS_MAX {
        waiting.push(Client::dial(&served, &[]).await);
    }
    let mut late = Client::dial(&served, &startup("default")).await;
    assert!(late.until_ready().await[0].1.contains("53300"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whole_tables_are_shown_with_their_maps_as_json() {
    let served = serving(Limits::default(), None).await;
    let mut client = Client::welcome(&served, "default").await;
    for table in ["metrics", "series", "spans", "allocation", "alerts", "slos"] {
        client.rows(&format!("select * from {table}")).await;
    }
    let rows = client.rows("select * from logs order by body").await;
    assert!(rows.len() == 2 && rows[0].contains(r#"{"app":"web"}"#), "{rows:?}");
    let joined = "select a.labels, b.labels from logs a join logs b on a.body = b.body order by a.body desc";
    assert_eq!(client.rows(joined).await.len(), 2);
    client.rows("declare c cursor for select body, label(labels, 'app') from logs").await;
    assert!(client.rows("fetch 1 from c").await[0].contains("web"));
}
