use super::*;

const KIND: (&str, &str) = ("content-type", "application/vnd.fdo.journal");

fn entries(count: usize) -> String {
    let entry = |n: usize| format!("__REALTIME_TIMESTAMP={}\nMESSAGE=m{n}\n\n", 1_700_000_000_000_000 + n);
    (0..count).map(entry).collect()
}

fn stored(memory: &Memory) -> Vec<String> {
    let mut bodies = vec![];
    for write in memory.writes.lock().iter() {
        let Batch::Logs(batch) = &write.batch else { panic!("{write:?}") };
        bodies.extend(
            batch.streams.iter().flat_map(|stream| &stream.records).map(|record| record.body.clone()),
        );
    }
    bodies
}

/// A body that arrives in pieces, and at last does not.
fn arriving(text: String, ends_well: bool) -> Body {
    let pieces: Vec<std::io::Result<Vec<u8>>> =
        text.as_bytes().chunks(1_000).map(|piece| Ok(piece.to_vec())).collect();
    let end = (!ends_well).then(|| Err(std::io::Error::other("gone")));
    Body::from_stream(futures::stream::iter(pieces.into_iter().chain(end)))
}

#[tokio::test]
async fn an_upload_longer_than_any_bound_is_stored_in_batches() {
    let bounds = Config { body_bytes_max: 1_000, decompressed_bytes_max: 1_000, ..Config::default() };
    let (memory, doors) = doors(bounds);
    for path in ["/upload", "/insert/journald/upload"] {
        memory.writes.lock().clear();
        let (status, text) = post(&doors, path, &[KIND], arriving(entries(5_000), true)).await;
        assert_eq!((status, text.as_str()), (StatusCode::ACCEPTED, "OK.\n"));
        let expected: Vec<String> = (0..5_000).map(|n| format!("m{n}")).collect();
        assert_eq!(stored(&memory), expected);
        assert!(memory.writes.lock().len() >= 5, "in batches");
    }
    let (status, _) = post(&doors, "/upload", &[("content-type", "text/plain")], "x").await;
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn what_was_whole_before_the_body_went_wrong_is_stored() {
    let (memory, doors) = doors(Config::default());
    let (status, text) = post(&doors, "/upload", &[KIND], format!("{}=x\n", entries(3))).await;
    assert_eq!((status, text.contains("at byte")), (StatusCode::BAD_REQUEST, true), "{text}");
    assert_eq!(stored(&memory).len(), 3);
    let (status, _) = post(&doors, "/upload", &[KIND], arriving(entries(5_000), false)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let (status, text) = post(&doors, "/upload", &[KIND], format!("MESSAGE=x\n\n{}", entries(1))).await;
    assert_eq!(status, StatusCode::ACCEPTED, "the uploader must go on");
    assert!(text.contains("OK, but 1 rejected (invalid_document)"), "{text}");
}

#[tokio::test]
async fn a_store_that_is_busy_is_asked_again() {
    let (memory, doors) = doors(Config::default());
    let busy = Refused::Busy { why: "full".into(), retry_after: Duration::from_millis(1) };
    *memory.refuse_next.lock() = vec![busy.clone(), busy];
    let (status, _) = post(&doors, "/upload", &[KIND], entries(1)).await;
    assert_eq!((status, stored(&memory).len()), (StatusCode::ACCEPTED, 1));
    *memory.refuse.lock() = Some(Refused::Broken("disk".into()));
    let (status, text) = post(&doors, "/upload", &[KIND], entries(1)).await;
    assert_eq!((status, text.contains("disk")), (StatusCode::SERVICE_UNAVAILABLE, true), "{text}");
}
