//! Tokens by the client's own credentials (RFC 6749, section 4.4): fetched when there is none, and again a little before it
//! ends.

use super::super::config::Oauth2;
use super::{Speaker, cause, read};
use serde::Deserialize;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

pub struct Tokens {
    of: Oauth2,
    speaker: Box<Speaker>,
    known: Mutex<Option<Token>>,
}

struct Token {
    text: String,
    /// Not used from here on.
    until: Option<Instant>,
}

/// A token is renewed so long before its end, as it must last for the request.
const EARLY: Duration = Duration::from_secs(10);

const ANSWER_BYTES_MAX: usize = 1 << 20;

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    expires_in: Option<u64>,
}

impl Tokens {
    pub fn new(of: &Oauth2) -> Result<Tokens, String> {
        let speaker = Speaker::new(&of.client, &of.token_url).map_err(|wrong| format!("oauth2: {wrong}"))?;
        Ok(Tokens { of: of.clone(), speaker: Box::new(speaker), known: Mutex::new(None) })
    }

    pub async fn token(&self) -> Result<String, String> {
        let mut known = self.known.lock().await;
        let fresh = |token: &&Token| token.until.is_none_or(|until| Instant::now() < until);
        if let Some(token) = known.as_ref().filter(fresh) {
            return Ok(token.text.clone());
        }
        let token = self.fetch().await.map_err(|wrong| format!("oauth2: {wrong}"))?;
        Ok(known.insert(token).text.clone())
    }

    async fn fetch(&self) -> Result<Token, String> {
        let mut form: Vec<(&str, &str)> = vec![("grant_type", "client_credentials")];
        let scopes = self.of.scopes.join(" ");
        if !scopes.is_empty() {
            form.push(("scope", &scopes));
        }
        form.extend(self.of.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let url = self.speaker.named(&self.of.token_url)?;
        let request = self.speaker.http.post(url).basic_auth(&self.of.id, Some(self.of.secret.read()?));
        let response = request.form(&form).send().await.map_err(|wrong| cause(&wrong))?;
        let status = response.status();
        let body = read(response, ANSWER_BYTES_MAX).await?;
        if !status.is_success() {
            return Err(format!("cannot fetch token: {status}"));
        }
        let answer: Answer =
            serde_json::from_slice(&body).map_err(|wrong| format!("cannot fetch token: {wrong}"))?;
        let lasts = answer.expires_in.filter(|seconds| *seconds > 0).map(Duration::from_secs);
        let until = lasts.map(|lasts| Instant::now() + lasts.saturating_sub(EARLY));
        Ok(Token { text: answer.access_token, until })
    }
}
