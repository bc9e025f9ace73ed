//! Lines that no parser reads to their end, and records that no label can show.

use super::*;

/// As in Loki: a parser's error is no fault of a query that needs nothing of the line, has found what it needs, or asks for it.
#[tokio::test]
async fn errors_that_do_not_matter_fail_no_count() {
    let cut = record(0, r#"{"level":"error", broken"#);
    let world = World::with(LogBatch {
        streams: vec![stream(
            "api",
            vec![cut, record(1, "plain"), record(2, r#"{"level":"info","ms":"x"}"#)],
        )],
    })
    .await;
    for _ in 0..2 {
        for (query, expected) in [
            (r#"sum(count_over_time({app="api"} | json [1m]))"#, vec!["{} 3"]),
            (r#"sum(rate({app="api"} | unpack [1m])) * 60"#, vec!["{} 3"]),
            (r#"sum(count_over_time({app="api"} | json | line_format "{{.ms}}" [1m]))"#, vec!["{} 3"]),
            (
                r#"sum by (level) (count_over_time({app="api"} |= "broken" | json [1m]))"#,
                vec![r#"{level="error"} 1"#],
            ),
            (
                r#"sum by (__error__) (count_over_time({app="api"} | json [1m]))"#,
                vec!["{} 1", r#"{__error__="JSONParserErr"} 2"#],
            ),
            (r#"sum(count_over_time({app="api"} | json | __error__!="" [1m]))"#, vec!["{} 2"]),
            (r#"absent_over_time({app="api"} | json [1m])"#, vec![]),
        ] {
            assert_eq!(world.numbers(query).await, expected, "{query}");
        }
        for query in [
            r#"sum by (level) (count_over_time({app="api"} | json [1m]))"#,
            r#"sum by (level, app) (count_over_time({app="api"} |= "broken" | json [1m]))"#,
            r#"count_over_time({app="api"} | json | __error__!="" [1m])"#,
            r#"sum by (__error__) (count_over_time({app="api"} |= "ms" | json | ms > 5 [1m]))"#,
        ] {
            let failed = world.range(query, 10, Direction::Backward).await;
            let is_told = matches!(&failed, Err(QueryError::Bad(text)) if text.contains("pipeline error"));
            assert!(is_told, "{query}: {failed:?}");
        }
        world.store.flush().await.unwrap();
    }
}

/// Such a line once made every question for it fail.
#[tokio::test]
async fn a_line_that_names_its_own_error_is_told_once() {
    let world =
        World::with(LogBatch { streams: vec![stream("api", vec![record(0, r#"{"__error__":"mine"}"#)])] });
    let world = world.await;
    for _ in 0..2 {
        assert_eq!(world.lines(r#"{app="api"} | json | line_format "x" | json"#).await, ["x"]);
        // How many lines are told at most is nothing to a number.
        let query = r#"sum(count_over_time({app="api"}[1m]))"#;
        let answer = world.range(query, 1_000_000, Direction::Backward).await;
        assert!(matches!(answer.unwrap().result, LogResult::Matrix(series) if series.len() == 1));
        assert!(world.range(r#"{app="api"}"#, 1_000_000, Direction::Backward).await.is_err());
        world.store.flush().await.unwrap();
    }
}

/// Such a record once made every question for its stream fail.
#[tokio::test]
async fn an_attribute_without_a_name_is_not_shown() {
    let attributes = vec![(String::new(), Value::Int(1)), ("user.id".into(), Value::Int(42))];
    let nameless = LogRecord { attributes, ..record(0, "plain") };
    let world = World::with(LogBatch { streams: vec![stream("api", vec![nameless])] }).await;
    for _ in 0..2 {
        assert_eq!(world.lines(r#"{app="api"}"#).await, ["plain"]);
        let numbers = world.numbers(r#"count_over_time({app="api"}[1m])"#).await;
        assert_eq!(numbers, [r#"{app="api", detected_level="unknown", env="prod", user_id="42"} 1"#]);
        world.store.flush().await.unwrap();
    }
}
