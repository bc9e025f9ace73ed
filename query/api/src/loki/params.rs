//! Parameters of a Loki call, from the query string and from a form.

use super::Refusal;
use axum::body::to_bytes;
use axum::extract::{FromRequest, Query, Request};
use axum::http::{StatusCode, header};
use engine::Direction;
use model::TimeRange;

/// A form longer than this is no query.
const FORM_BYTES_MAX: usize = 1 << 20;
const HOUR_NS: i64 = 3_600_000_000_000;

pub(super) struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequest<S> for Params {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Self::Rejection> {
        Params::of(request).await
    }
}

impl Params {
    pub async fn of(request: Request) -> Result<Params, Refusal> {
        let in_url: Query<Vec<(String, String)>> =
            Query::try_from_uri(request.uri()).map_err(|why| Refusal::bad(why.to_string()))?;
        let mut pairs = in_url.0;
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
        if kind.starts_with("application/x-www-form-urlencoded") {
            let body = to_bytes(request.into_body(), FORM_BYTES_MAX).await;
            let body = body.map_err(|why| Refusal(StatusCode::PAYLOAD_TOO_LARGE, why.to_string()))?;
            // A form is written as a query string is, so one reader does for both.
            let form = String::from_utf8_lossy(&body).into_owned();
            let uri = format!("/?{form}").parse().map_err(|_| Refusal::bad("form is not URL-encoded"))?;
            let in_body: Query<Vec<(String, String)>> =
                Query::try_from_uri(&uri).map_err(|why| Refusal::bad(why.to_string()))?;
            pairs.extend(in_body.0);
        }
        Ok(Params(pairs))
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(n, _)| n == name).map(|(_, value)| value.clone()).collect()
    }

    pub fn required(&self, name: &str) -> Result<&str, Refusal> {
        let value = self.get(name).filter(|value| !value.trim().is_empty());
        value.ok_or_else(|| {
            // What Loki's parser says of an empty query.
            Refusal::bad(match name {
                "query" => "parse error : syntax error: unexpected $end".to_owned(),
                name => format!("parameter {name:?} is missing or empty"),
            })
        })
    }

    /// The selector that narrows a labels call; `{}` narrows nothing.
    pub fn selector(&self) -> Option<&str> {
        self.get("query").filter(|query| !matches!(query.trim(), "" | "{}"))
    }

    pub fn time(&self, name: &str) -> Result<Option<i64>, Refusal> {
        let Some(text) = self.get(name).filter(|text| !text.is_empty()) else { return Ok(None) };
        parse_time(text).map(Some).ok_or_else(|| {
            let why = format!("strconv.ParseInt: parsing {text:?}: invalid syntax");
            Refusal::bad(match name {
                "start" | "end" => format!("could not parse '{name}' parameter: {why}"),
                _ => why,
            })
        })
    }

    /// Start and end, by default the last hour.
    pub fn range(&self, now_ns: i64) -> Result<(i64, i64), Refusal> {
        let end = self.time("end")?.unwrap_or(now_ns);
        // A range that is asked for without a start ends at the latest now.
        let until = end.min(now_ns);
        let since = match self.get("since").filter(|text| !text.is_empty()) {
            None => HOUR_NS,
            Some(text) => logql::parse_duration_ns(text).ok_or_else(|| {
                Refusal::bad(format!(
                    "could not parse 'since' parameter: not a valid duration string: {text:?}"
                ))
            })?,
        };
        let start = self.time("start")?.unwrap_or(until.saturating_sub(since));
        if end < start {
            return Err(Refusal::bad("end timestamp must not be before or equal to start time"));
        }
        Ok((start, end))
    }

    pub fn time_range(&self, now_ns: i64) -> Result<TimeRange, Refusal> {
        self.range(now_ns).map(|(start, end)| TimeRange { start, end })
    }

    /// A duration or seconds; by default about 250 points.
    pub fn step_ms(&self, start_ns: i64, end_ns: i64) -> Result<i64, Refusal> {
        let Some(text) = self.get("step").filter(|text| !text.is_empty()) else {
            let seconds = end_ns.saturating_sub(start_ns) / 250 / 1_000_000_000;
            return Ok(seconds.max(1) * 1_000);
        };
        let seconds = text.parse::<f64>().ok().filter(|s| s.is_finite()).map(|s| (s * 1e3) as i64);
        let step = seconds.or_else(|| logql::parse_duration_ns(text).map(|ns| ns / 1_000_000));
        match step {
            Some(step) if step > 0 => Ok(step),
            Some(_) => Err(Refusal::bad(
                "zero or negative query resolution step widths are not accepted. Try a positive integer",
            )),
            None => Err(Refusal::bad(format!("cannot parse {text:?} to a valid duration"))),
        }
    }

    /// Of lines, fields or values; Loki refuses what is not above nothing.
    pub fn limit(&self, name: &str, default: usize) -> Result<usize, Refusal> {
        let Some(text) = self.get(name).filter(|text| !text.is_empty()) else { return Ok(default) };
        match text.parse::<i64>() {
            Ok(limit) if limit > 0 => Ok(limit as usize),
            Ok(_) => Err(Refusal::bad("limit must be a positive value")),
            Err(_) => Err(Refusal::bad(format!("strconv.Atoi: parsing {text:?}: invalid syntax"))),
        }
    }

    /// The least time between two lines of an answer; 0 where every line is wanted.
    pub fn interval_ns(&self) -> Result<i64, Refusal> {
        let Some(text) = self.get("interval").filter(|text| !text.is_empty()) else { return Ok(0) };
        let seconds = text.parse::<f64>().ok().filter(|s| s.is_finite()).map(|s| (s * 1e9) as i64);
        match seconds.or_else(|| logql::parse_duration_ns(text)) {
            Some(interval) if interval >= 0 => Ok(interval),
            Some(_) => Err(Refusal::bad("interval must be >= 0")),
            None => Err(Refusal::bad(format!("cannot parse {text:?} to a valid duration"))),
        }
    }

    pub fn direction(&self) -> Result<Direction, Refusal> {
        match self.get("direction").unwrap_or("").to_ascii_lowercase().as_str() {
            "" | "backward" => Ok(Direction::Backward),
            "forward" => Ok(Direction::Forward),
            other => Err(Refusal::bad(format!("invalid direction '{other}'"))),
        }
    }
}

/// Whole numbers of at most ten digits are seconds, longer ones nanoseconds.
fn parse_time(text: &str) -> Option<i64> {
    if let Ok(number) = text.parse::<i64>() {
        let digits = text.trim_start_matches(['-', '+']).len();
        return if digits <= 10 { number.checked_mul(1_000_000_000) } else { Some(number) };
    }
    if let Ok(seconds) = text.parse::<f64>() {
        let ns = seconds * 1e9;
        // Milliseconds survive a double; below that its digits are noise.
        return (ns.is_finite() && ns.abs() < i64::MAX as f64)
            .then(|| (seconds * 1e3).round() as i64 * 1_000_000);
    }
    chrono::DateTime::parse_from_rfc3339(text).ok()?.timestamp_nanos_opt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(parse_time("4000000000"), Some(4_000_000_000_000_000_000));
        assert_eq!(parse_time("1700000000123456789"), Some(1_700_000_000_123_456_789));
        assert_eq!(parse_time("1700000000.5"), Some(1_700_000_000_500_000_000));
        assert_eq!(parse_time("1970-01-01T00:00:01.5Z"), Some(1_500_000_000));
        for bad in ["yesterday", "1e99", "NaN", ""] {
            assert_eq!(parse_time(bad), None, "{bad}");
        }
    }
}
