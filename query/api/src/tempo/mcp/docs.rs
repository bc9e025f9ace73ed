//! What an assistant reads before it asks: TraceQL on four pages, and where the configuration is written.

use super::{INVALID_PARAMS, NO_RESOURCE, Wrong};
use serde_json::{Value, json};

/// Name, what it is about, text.
type Page = (&'static str, &'static str, &'static str);

pub(super) const TRACEQL: &[Page] = &[
    ("basic", "Spans by attributes and intrinsics: start here", include_str!("docs/basic.md")),
    ("aggregates", "Counting, grouping and selecting in a pipeline", include_str!("docs/aggregates.md")),
    ("structural", "Spans by what is above, below or beside them", include_str!("docs/structural.md")),
    ("metrics", "Numbers over time from spans", include_str!("docs/metrics.md")),
];

pub(super) const CONFIG: &[Page] = &[
    ("overview", "How this server is configured", include_str!("docs/config.md")),
    ("reference", "Where all options and their defaults are told", include_str!("docs/reference.md")),
];

const SHELVES: &[(&str, &str, &[Page])] =
    &[("docs://traceql/", "TraceQL", TRACEQL), ("docs://config/", "configuration", CONFIG)];

pub(super) fn list() -> Vec<Value> {
    let mut resources = vec![];
    for (root, about, pages) in SHELVES {
        resources.extend(pages.iter().map(|(name, what, _)| {
            json!({
                "uri": format!("{root}{name}"),
                "name": format!("{about}: {name}"),
                "description": what,
                "mimeType": "text/markdown",
            })
        }));
    }
    resources
}

pub(super) fn read(params: &Value) -> Result<Value, Wrong> {
    let Some(uri) = params["uri"].as_str() else {
        return Err(Wrong(INVALID_PARAMS, "`uri` is missing".to_owned()));
    };
    let found = SHELVES
        .iter()
        .find_map(|(root, _, pages)| {
            let name = uri.strip_prefix(root)?;
            pages.iter().find(|(known, ..)| *known == name).map(|(.., text)| *text)
        })
        .ok_or_else(|| Wrong(NO_RESOURCE, format!("no resource {uri:?}; resources/list names all")))?;
    Ok(json!({ "contents": [{ "uri": uri, "mimeType": "text/markdown", "text": found }] }))
}
