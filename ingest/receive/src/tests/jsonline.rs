use super::*;

#[tokio::test]
async fn parameters_win_over_headers_and_bad_lines_are_told() {
    let (memory, doors) = doors(Config::default());
    let body = "{\"m\":\"one\",\"app\":\"x\",\"pod\":\"p\"}\n";
    let headers = [("vl-stream-fields", "app"), ("vl-msg-field", "m"), ("x-scope-orgid", "t")];
    let path = "/insert/jsonline?_stream_fields=pod&extra_fields=dc=one";
    let (status, text) = post(&doors, path, &headers, body).await;
    assert_eq!((status, text.as_str()), (StatusCode::OK, ""));
    {
        let writes = memory.writes.lock();
        let Batch::Logs(batch) = &writes[0].batch else { panic!("{writes:?}") };
        assert_eq!((writes[0].tenant.as_str(), &batch.streams[0].records[0].body[..]), ("t", "one"));
        assert_eq!(batch.streams[0].labels, Labels::from_pairs([("pod", "p")]));
        assert_eq!(attribute(&batch.streams[0].records[0].attributes, "dc"), Some(&"one".into()));
    }
    let (status, text) = post(&doors, "/insert/jsonline", &[], format!("{body}no json\n")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(text.contains("1 rejected (invalid_document): line 2: "), "{text}");
    assert_eq!(memory.writes.lock().len(), 2, "the other line is stored");
    let (status, text) = post(&doors, "/insert/jsonline?extra_fields=x", &[], body).await;
    assert_eq!((status, text.contains("name=value")), (StatusCode::BAD_REQUEST, true), "{text}");
}
