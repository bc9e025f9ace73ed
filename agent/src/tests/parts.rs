//! Parts that come to a panic, and what the whole tells beforehand that it would send.

use super::*;

fn panics(agent: &Agent, part: &str) -> f64 {
    let is_it = |reading: &&Reading| {
        reading.name == "binnacle_agent_panics_total" && reading.labels.contains(&("part", part.to_owned()))
    };
    agent.readings().iter().filter(is_it).map(|reading| reading.value).sum()
}

#[tokio::test]
async fn reading_that_comes_to_a_panic_begins_anew_and_each_line_comes_once() {
    let mut world = World::new().await;
    world.ingest.is_open.store(true, Ordering::SeqCst);
    let clock = Arc::new(Fragile::default());
    let agent = world.start_by(clock.clone()).await;
    until("the first line", || world.ingest.logs() == ["one"]).await;
    assert_eq!(panics(&agent, "logs"), 0.0);
    let mut lines = vec!["one".to_owned()];
    until("a panic", || {
        clock.breaks.store(true, Ordering::SeqCst);
        let line = format!("line {}", lines.len());
        world.log(&format!("{line}\n"));
        lines.push(line);
        panics(&agent, "logs") >= 1.0
    })
    .await;
    clock.breaks.store(false, Ordering::SeqCst);
    until("all lines", || world.ingest.logs().len() >= lines.len()).await;
    world.end(agent).await;
    assert_eq!(world.ingest.logs(), lines);
}

/// Series of all batches of metrics that ingest was sent.
fn series_sent(ingest: &Ingest) -> usize {
    let sent = ingest.sent.lock();
    let bodies = sent.iter().filter(|(path, _, _)| path == "/otlp/v1/metrics").map(|(_, _, body)| body);
    let batches = bodies.map(|body| {
        let request = wire::otlp::Notation::Protobuf.read(body).unwrap();
        wire::otlp::metrics(request, &Default::default(), &mut Default::default()).batch
    });
    batches.map(|batch| batch.series.len()).sum()
}

#[tokio::test]
async fn a_dry_run_tells_as_many_series_as_are_sent() {
    let mut world = World::new().await;
    let root = world.config.host_root.clone();
    for (path, text) in [
        ("sys/fs/cgroup/cgroup.controllers", "cpu memory"),
        ("sys/fs/cgroup/kubepods/cpu.stat", "usage_usec 1\n"),
        (
            "proc/7/stat",
            "7 (app) S 1 7 7 0 -1 4194560 5 0 0 0 30 12 0 0 20 0 1 0 99 1000 250 18446744073709551615",
        ),
    ] {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let told = preview(&world.config).await;
    world.ingest.is_open.store(true, Ordering::SeqCst);
    let agent = world.start().await;
    until("the first collection", || series_sent(&world.ingest) > 0).await;
    world.end(agent).await;
    let sent = format!(" {} series every", series_sent(&world.ingest));
    assert!(told.contains(&sent), "sent{sent}; told {told}");
    assert!(told.contains("up_*: up") && told.contains("binnacle_process"), "{told}");
}
