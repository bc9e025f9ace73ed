//! One file of the web page by its path, as it goes over the wire.
//!
//! Vite puts a hash into the name of everything under `assets/`, so those may be cached for ever; the rest is asked
//! for again with its ETag. A path that the page routes itself (`/explore`, `/trace/…`) is the page. Any other path is
//! nothing: a mistyped API path must answer 404, not 200 with HTML.

struct File {
    path: &'static str,
    bytes: &'static [u8],
    encoding: Option<&'static str>,
    etag: &'static str,
}

/// Sorted by path.
static FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// The first path segments that `web/src/router.tsx` has pages for.
const PAGES: &[&str] = &["", "index.html", "explore", "trace", "dashboards", "alerts", "slos"];

const NOT_BUILT: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Binnacle</title>\
<body style=\"font:16px/1.5 system-ui;margin:3rem;max-width:40rem\"><h1>Binnacle is running, its page is not built</h1>\
<p>This binary was compiled without the web page. Install Node 20 or newer, run <code>make web</code> and build again. \
The APIs work without it.</p></body></html>";

/// A file and what its HTTP answer must say about it.
#[derive(Clone, Debug)]
pub struct Asset {
    pub bytes: &'static [u8],
    pub content_type: &'static str,
    /// What `bytes` is compressed with.
    pub encoding: Option<&'static str>,
    /// With its quotes.
    pub etag: String,
    /// The name changes when the content does.
    pub immutable: bool,
}

/// `path` has no leading slash. `None`: neither a file nor a page.
pub fn asset(path: &str) -> Option<Asset> {
    find(FILES, path)
}

fn find(files: &'static [File], path: &str) -> Option<Asset> {
    if let Some(file) = by_path(files, path) {
        return Some(file.asset());
    }
    let first = path.split('/').next().unwrap_or_default();
    if !PAGES.contains(&first) {
        return None;
    }
    Some(by_path(files, "index.html").map_or_else(not_built, File::asset))
}

fn by_path(files: &'static [File], path: &str) -> Option<&'static File> {
    files.binary_search_by(|file| file.path.cmp(path)).ok().map(|at| &files[at])
}

impl File {
    fn asset(&self) -> Asset {
        Asset {
            bytes: self.bytes,
            content_type: content_type(self.path),
            encoding: self.encoding,
            etag: self.etag.to_owned(),
            immutable: self.path.starts_with("assets/"),
        }
    }
}

fn not_built() -> Asset {
    Asset {
        bytes: NOT_BUILT.as_bytes(),
        content_type: "text/html; charset=utf-8",
        encoding: None,
        etag: "\"not-built\"".into(),
        immutable: false,
    }
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "json" | "map" => "application/json",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests;
