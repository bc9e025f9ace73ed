use super::*;

static BUILT: &[File] = &[
    File { path: "assets/app-1a2b.js", bytes: b"js", encoding: Some("gzip"), etag: "\"1\"" },
    File { path: "index.html", bytes: b"<html>", encoding: None, etag: "\"2\"" },
];

#[test]
fn a_hashed_file_is_compressed_and_for_ever() {
    let found = find(BUILT, "assets/app-1a2b.js").unwrap();
    assert_eq!((found.content_type, found.encoding), ("text/javascript; charset=utf-8", Some("gzip")));
    assert!(found.immutable);
}

#[test]
fn the_page_answers_for_the_paths_it_routes() {
    for path in ["", "index.html", "explore", "trace/0af7", "dashboards/cost", "alerts", "slos"] {
        let found = find(BUILT, path).unwrap_or_else(|| panic!("{path}"));
        assert_eq!((found.bytes, found.immutable), (b"<html>".as_slice(), false), "{path}");
    }
}

#[test]
fn anything_else_is_nothing() {
    for path in ["api/v1/qurey", "assets/gone.js", "loki/api/v1/x", "../etc/passwd", "favicon.png"] {
        assert!(find(BUILT, path).is_none(), "{path}");
    }
}

#[test]
fn without_a_built_page_it_says_how_to_build_it() {
    let page = find(&[], "").unwrap();
    assert!(std::str::from_utf8(page.bytes).unwrap().contains("make web"));
    assert!(find(&[], "assets/app.js").is_none());
}

#[test]
fn the_embedded_table_is_sorted() {
    assert!(FILES.is_sorted_by(|a, b| a.path < b.path));
}
