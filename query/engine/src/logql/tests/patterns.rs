//! Patterns of lines, and how often each came.

use super::*;

#[tokio::test]
async fn patterns_and_how_often_by_step() {
    let world = World::with(batch()).await;
    let tenant = Tenant::default();
    let range = TimeRange { start: NOON_NS, end: NOON_NS + 60 * SECOND_NS };
    for flushed in [false, true] {
        if flushed {
            world.store.flush().await.unwrap();
        }
        let found = world.engine.log_patterns(&tenant, r#"{env="prod"}"#, range, 5_000, 10);
        let found = found.await.unwrap();
        assert_eq!(found[0].pattern, "GET <_> took=<_>");
        assert_eq!(found[0].samples, [(NOON_NS, 5), (NOON_NS + 5 * SECOND_NS, 5)]);
        let of_json = found.iter().find(|pattern| pattern.pattern == "<_>payment timeout<_>").unwrap();
        assert_eq!((of_json.level, of_json.lines()), ("error", 1));
    }
    let filtered = world.engine.log_patterns(&tenant, r#"{app="web"} |= "/items/7""#, range, 5_000, 10);
    assert_eq!(filtered.await.unwrap()[0].lines(), 1);
    for bad in [r#"rate({app="web"}[1m])"#, "{app="] {
        let wrong = world.engine.log_patterns(&tenant, bad, range, 5_000, 10).await.unwrap_err();
        assert!(matches!(wrong, QueryError::Bad(_)), "{wrong:?}");
    }
}

#[tokio::test]
async fn lines_of_several_levels_share_no_pattern() {
    let bodies =
        ["level=info msg=done took=3ms", "level=info msg=done took=4ms", "level=error msg=done took=5ms"];
    let records = bodies.iter().zip(0..).map(|(body, at)| record(at, body));
    let world = World::with(LogBatch { streams: vec![stream("api", records.collect())] }).await;
    let range = TimeRange { start: NOON_NS, end: NOON_NS + 60 * SECOND_NS };
    let found =
        world.engine.log_patterns(&Tenant::default(), r#"{app="api"}"#, range, 60_000, 10).await.unwrap();
    let found: Vec<_> = found.iter().map(|one| (one.level, one.pattern.as_str(), one.lines())).collect();
    let [info, error] = ["level=info msg=done took=<_>", "level=error msg=done took=<_>"];
    assert_eq!(found, [("info", info, 2), ("error", error, 1)]);
}
