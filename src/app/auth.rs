//! Tokens: with `--token-file`, every HTTP request but health checks and the page's own files needs one of its
//! lines. The file is read at start and at SIGHUP; tokens are compared without telling by time where they differ.

use anyhow::{Context, bail};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use std::path::Path;
use std::sync::{Arc, RwLock};

pub struct Tokens {
    /// `None` where none is asked for.
    accepted: RwLock<Option<Vec<String>>>,
    /// What this process shows to its own doors (its agent, the demo, its own traces): made at each start, so that
    /// tokens in the file can change without it.
    own: String,
}

impl Tokens {
    pub fn load(path: Option<&Path>) -> anyhow::Result<Arc<Tokens>> {
        let own = format!("{:032x}", rand::random::<u128>());
        let tokens = Tokens { accepted: RwLock::default(), own };
        tokens.reload(path)?;
        Ok(Arc::new(tokens))
    }

    pub fn reload(&self, path: Option<&Path>) -> anyhow::Result<()> {
        let read = path.map(read).transpose()?;
        *self.accepted.write().unwrap_or_else(|held| held.into_inner()) = read;
        Ok(())
    }

    /// Whether callers must show one.
    pub fn are_asked_for(&self) -> bool {
        self.accepted.read().unwrap_or_else(|held| held.into_inner()).is_some()
    }

    /// For this process' calls to itself.
    pub fn own(&self) -> &str {
        &self.own
    }

    /// For doors that only this process' calls to itself go through.
    pub fn of_own_calls(&self) -> Arc<Tokens> {
        Arc::new(Tokens { accepted: RwLock::new(Some(vec![])), own: self.own.clone() })
    }

    pub fn accepts(&self, offered: Option<&str>) -> bool {
        match &*self.accepted.read().unwrap_or_else(|held| held.into_inner()) {
            None => true,
            Some(tokens) => offered
                .is_some_and(|offered| tokens.iter().chain([&self.own]).any(|token| same(token, offered))),
        }
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<String>> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("reading --token-file {}", path.display()))?;
    let tokens: Vec<String> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    if tokens.is_empty() {
        bail!("--token-file {} has no token; write one a line", path.display());
    }
    Ok(tokens)
}

/// Looks at every byte whatever the first difference.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |different, (x, y)| different | (x ^ y)) == 0
}

/// Middleware: 401 without an accepted token, UNAUTHENTICATED where the call is one of gRPC.
pub async fn require(State(tokens): State<Arc<Tokens>>, request: Request, next: Next) -> Response {
    let offered =
        request.headers().get(header::AUTHORIZATION).and_then(|value| offered(value.to_str().ok()?));
    let path = request.uri().path();
    let is_health = path.starts_with("/health/") || matches!(path, "/ready" | "/loki/ready" | "/tempo/ready");
    if is_health || tokens.accepts(offered.as_deref()) {
        return next.run(request).await;
    }
    // A header of gRPC is ASCII where it can be.
    let why = "send one of the server's tokens as metadata: authorization: Bearer ...";
    if let Some(refusal) = super::built::refusal_of_call(request.headers(), why) {
        return refusal;
    }
    let why = "send one of the server's tokens as Authorization: Bearer …";
    let refusal = super::built::refusal(request.uri().path(), StatusCode::UNAUTHORIZED, why);
    ([(header::WWW_AUTHENTICATE, "Bearer")], refusal).into_response()
}

/// The token in an `Authorization` header. Shippers for Elasticsearch have a user and a password, or an id and a key, and
/// no way to send a bearer token: theirs is the second of the two.
fn offered(header: &str) -> Option<String> {
    let (scheme, credentials) = header.split_once(' ')?;
    let credentials = credentials.trim();
    match scheme {
        "Bearer" => Some(credentials.to_owned()),
        "Basic" | "ApiKey" => {
            let pair = String::from_utf8(base64::prelude::BASE64_STANDARD.decode(credentials).ok()?).ok()?;
            Some(pair.split_once(':')?.1.to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_also_a_password_and_a_key() {
        for header in ["Bearer a:bc", "Basic dXNlcjphOmJj", "ApiKey aWQ6YTpiYw=="] {
            assert_eq!(offered(header).as_deref(), Some("a:bc"), "{header}");
        }
        for header in ["a:bc", "Digest a:bc", "Basic a:bc", "Basic bm9wYWly", "Basic"] {
            assert_eq!(offered(header), None, "{header}");
        }
    }

    #[test]
    fn a_file_asks_for_its_tokens_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens");
        std::fs::write(&path, "# on call\nabc\n\n").unwrap();
        let own = Tokens::load(None).unwrap().of_own_calls();
        assert!(own.accepts(Some(own.own())) && !own.accepts(None) && !own.accepts(Some("")));
        let tokens = Tokens::load(Some(&path)).unwrap();
        assert!(tokens.accepts(Some("abc")) && tokens.accepts(Some(tokens.own())));
        assert!(!tokens.accepts(Some("abd")) && !tokens.accepts(Some("ab")) && !tokens.accepts(None));
        std::fs::write(&path, "# nothing\n").unwrap();
        assert!(tokens.reload(Some(&path)).is_err());
        assert!(tokens.accepts(Some("abc")), "a failed reload keeps what was");
        assert!(Tokens::load(None).unwrap().accepts(None));
    }
}
