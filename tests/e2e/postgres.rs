//! The PostgreSQL wire with a real `psql`.

use crate::server::{Server, program};
use crate::sql::{JOIN, server_with_all_signals};
use std::process::Command;

fn psql(server: &Server, database: &str, statement: &str) -> (bool, String) {
    let (host, port) = server.address("pg").rsplit_once(':').unwrap();
    let output = Command::new(program("psql"))
        .args([
            "-X",
            "-w",
            "-h",
            host,
            "-p",
            port,
            "-U",
            "binnacle",
            "-d",
            database,
            "-v",
            "ON_ERROR_STOP=1",
            "-c",
            statement,
        ])
        .output()
        .unwrap();
    (
        output.status.success(),
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)),
    )
}

#[test]
fn psql_describes_joins_and_aggregates() {
    let server = server_with_all_signals();
    let (good, tables) = psql(&server, "default", r"\d");
    assert!(good, "{tables}");
    for table in ["metrics", "series", "logs", "spans"] {
        assert!(tables.contains(table), "{table} is missing in\n{tables}");
    }
    let (good, columns) = psql(&server, "default", r"\d logs");
    assert!(good && columns.contains("body") && columns.contains("trace_id"), "{columns}");
    for (describe, words) in [
        (r"\d+ metrics", &["Table \"public.metrics\"", "double precision", "Storage"][..]),
        (r"\d+ alerts", &["View \"public.alerts\"", "alertname"]),
        (r"\d+", &["Persistence", "spans"]),
        (r"\dt", &["allocation", "histograms", "logs", "metrics", "series", "spans", "(6 rows)"]),
        (r"\dt+", &["Size", "spans"]),
        (r"\dv", &["alerts", "slos"]),
        (r"\df", &["List of functions"]),
        (r"\df+", &["List of functions"]),
        (r"\dn", &["public"]),
        (r"\dn+", &["public"]),
        (r"\dp", &["Access privileges", "logs"]),
        (r"\du", &["List of roles"]),
        (r"\l", &["List of databases"]),
        (r"\l+", &["Tablespace"]),
    ] {
        let (good, described) = psql(&server, "default", describe);
        assert!(good && words.iter().all(|word| described.contains(word)), "{describe}\n{described}");
    }
    let (good, joined) = psql(&server, "default", JOIN);
    assert!(good && joined.contains("pool exhausted") && joined.contains("(1 row)"), "{joined}");
    let (good, counted) =
        psql(&server, "default", "select service, count(*) from spans group by service order by 1");
    assert!(good && counted.contains("frontend") && counted.contains("(2 rows)"), "{counted}");
    let (good, wrong) = psql(&server, "default", "select nope from logs");
    assert!(!good && wrong.contains("nope"), "{wrong}");
}

#[test]
fn the_database_is_the_tenant() {
    let server = server_with_all_signals();
    let (good, text) = psql(&server, "other", "select count(*) as n from logs");
    assert!(good && text.contains(" 0"), "{text}");
}
