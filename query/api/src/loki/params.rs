//! Parameters of a Loki call, from the query string and from a form.

use super::Refusal;
use crate::form;
use axum::extract::{FromRequest, Request};
use engine::Direction;
use model::TimeRange;
use std::num::IntErrorKind;

const HOUR_NS: i64 = 3_600_000_000_000;
/// Of a series, as Prometheus and Loki have it.
const POINTS_MAX: i64 = 11_000;

pub(super) struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequest<S> for Params {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Self::Rejection> {
        Params::of(request).await
    }
}

impl Params {
    pub async fn of(request: Request) -> Result<Params, Refusal> {
        let in_url = read(request.uri().query().unwrap_or("").as_bytes())?;
        // Of a parameter that both have, the form's is the one that counts.
        let mut pairs = read(&form::of_body(request).await?)?;
        pairs.extend(in_url);
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

    /// The selector that narrows a labels call, which may be asked for without, and not with one that narrows nothing.
    pub fn selector(&self) -> Result<Option<&str>, Refusal> {
        let Some(selector) = self.get("query").filter(|query| !query.is_empty()) else { return Ok(None) };
        logql::parse_selector(selector).map_err(Refusal::bad)?;
        Ok(Some(selector))
    }

    pub fn time(&self, name: &str) -> Result<Option<i64>, Refusal> {
        let Some(text) = self.get(name).filter(|text| !text.is_empty()) else { return Ok(None) };
        parse_time(text).map(Some).map_err(|why| {
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
            Some(text) => logql::parse_duration_ns(text).filter(|since| *since >= 0).ok_or_else(|| {
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

    /// The same, where it has any time: its end is not of it. Only labels are told of a range that begins where it ends.
    pub fn times(&self, now_ns: i64) -> Result<Option<TimeRange>, Refusal> {
        self.time_range(now_ns).map(|range| (range.start < range.end).then_some(range))
    }

    /// A duration or seconds; by default about 250 points.
    pub fn step_ms(&self, start_ns: i64, end_ns: i64) -> Result<i64, Refusal> {
        let Some(text) = self.get("step").filter(|text| !text.is_empty()) else {
            let seconds = end_ns.saturating_sub(start_ns) / 250 / 1_000_000_000;
            return Ok(seconds.max(1) * 1_000);
        };
        let step_ns = duration(text)?;
        if step_ns <= 0 {
            return Err(Refusal::bad(
                "zero or negative query resolution step widths are not accepted. Try a positive integer",
            ));
        }
        // More are refused below, too, but not of steps under the millisecond that is counted in.
        if end_ns.saturating_sub(start_ns) / step_ns > POINTS_MAX {
            return Err(Refusal::bad(
                "exceeded maximum resolution of 11,000 points per time series. Try increasing the value of the step parameter",
            ));
        }
        Ok((step_ns / 1_000_000).max(1))
    }

    /// Of lines, fields or values; Loki refuses what is not above nothing.
    pub fn limit(&self, name: &str, default: usize) -> Result<usize, Refusal> {
        let Some(text) = self.get(name).filter(|text| !text.is_empty()) else { return Ok(default) };
        match text.parse::<i64>() {
            Ok(limit) if limit > 0 => Ok(limit as usize),
            Ok(_) => Err(Refusal::bad("limit must be a positive value")),
            Err(why) => {
                let is_long = matches!(why.kind(), IntErrorKind::PosOverflow | IntErrorKind::NegOverflow);
                let why = if is_long { "value out of range" } else { "invalid syntax" };
                Err(Refusal::bad(format!("strconv.Atoi: parsing {text:?}: {why}")))
            }
        }
    }

    /// The least time between two lines of an answer; 0 where every line is wanted.
    pub fn interval_ns(&self) -> Result<i64, Refusal> {
        let Some(text) = self.get("interval").filter(|text| !text.is_empty()) else { return Ok(0) };
        match duration(text)? {
            interval @ 0.. => Ok(interval),
            _ => Err(Refusal::bad("interval must be >= 0")),
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

fn read(encoded: &[u8]) -> Result<Vec<(String, String)>, Refusal> {
    form::pairs(encoded).map(pair).collect()
}

/// Bytes of a query that are no text would ask for another line than was meant.
fn pair((name, value): (String, Vec<u8>)) -> Result<(String, String), Refusal> {
    let value = match name.as_str() {
        "query" => logql::text_of(&value).map_err(|why| Refusal::bad(why.to_string()))?.to_owned(),
        _ => form::text(value),
    };
    Ok((name, value))
}

/// Nanoseconds of seconds, or of a duration in the units of Prometheus.
fn duration(text: &str) -> Result<i64, Refusal> {
    if let Ok(seconds) = text.parse::<f64>() {
        let ns = seconds * 1e9;
        if ns.abs() > i64::MAX as f64 {
            let why = format!("cannot parse {text:?} to a valid duration. It overflows int64");
            return Err(Refusal::bad(why));
        }
        // What is no number is no step either.
        return Ok(if ns.is_nan() { -1 } else { ns as i64 });
    }
    // Nothing is finer than a millisecond. Loki refuses fractions, which clients here send: `20.0s`.
    let is_known = !text.contains(['-', '+', 'n', 'u', 'µ', 'μ']);
    let ns = logql::parse_duration_ns(text).filter(|_| is_known);
    ns.ok_or_else(|| Refusal::bad(format!("cannot parse {text:?} to a valid duration")))
}

/// Whole numbers of at most ten characters are seconds, longer ones nanoseconds; seconds with a fraction need its point. What is
/// none of these is refused in Go's words.
fn parse_time(text: &str) -> Result<i64, String> {
    let refused = |why: &str| Err(format!("strconv.ParseInt: parsing {text:?}: {why}"));
    if let (true, Ok(seconds)) = (text.contains('.'), text.parse::<f64>()) {
        // Milliseconds survive a double; below that its digits are noise.
        return match seconds.is_finite() && (seconds * 1e9).abs() < i64::MAX as f64 {
            true => Ok((seconds * 1e3).round() as i64 * 1_000_000),
            false => refused("value out of range"),
        };
    }
    match text.parse::<i64>() {
        Ok(number) if text.len() <= 10 => {
            number.checked_mul(1_000_000_000).map_or_else(|| refused("value out of range"), Ok)
        }
        Ok(number) => Ok(number),
        Err(why) => {
            let read =
                chrono::DateTime::parse_from_rfc3339(text).ok().and_then(|time| time.timestamp_nanos_opt());
            let is_long = matches!(why.kind(), IntErrorKind::PosOverflow | IntErrorKind::NegOverflow);
            match read {
                Some(time) => Ok(time),
                None => refused(if is_long { "value out of range" } else { "invalid syntax" }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::header;

    #[tokio::test]
    async fn a_form_may_be_written_by_hand() {
        let of = async |kind: &str, form: String| {
            let request =
                axum::http::Request::post("/x?limit=1&query=no&step=5").header(header::CONTENT_TYPE, kind);
            let params = Params::of(request.body(form.into()).unwrap()).await;
            params
                .map(|params| params.0.into_iter().take(2).collect::<Vec<_>>())
                .map_err(|Refusal(_, why)| why)
        };
        let pairs = |query: &str, limit: &str| {
            Ok(vec![("query".to_owned(), query.to_owned()), ("limit".to_owned(), limit.to_owned())])
        };
        let form = "application/x-www-form-urlencoded";
        let plain = r#"query={app="a"} |= "<é>"&&limit=2"#;
        assert_eq!(of(form, plain.to_owned()).await, pairs(r#"{app="a"} |= "<é>""#, "2"));
        let escaped = "query=%7Bapp%3D%22a%22%7D+%7c%3d+%22%%2B%zz%22&limit=";
        assert_eq!(of(form, escaped.to_owned()).await, pairs(r#"{app="a"} |= "%+%zz""#, ""));
        let kind = "Application/X-WWW-Form-Urlencoded; charset=utf-8";
        let long = "x".repeat(200_000);
        assert_eq!(of(kind, format!("query={long}&limit=3")).await, pairs(&long, "3"));
        let told = "parse error at line 1, col 6: invalid UTF-8 encoding";
        assert_eq!(of(form, r#"query={app="%ff"}"#.to_owned()).await, Err(told.to_owned()));
    }

    #[test]
    fn times() {
        assert_eq!(parse_time("4000000000"), Ok(4_000_000_000_000_000_000));
        assert_eq!(parse_time("1700000000123456789"), Ok(1_700_000_000_123_456_789));
        assert_eq!(parse_time("1700000000.5"), Ok(1_700_000_000_500_000_000));
        assert_eq!(parse_time("1970-01-01T00:00:01.5Z"), Ok(1_500_000_000));
        for bad in ["yesterday", "1e99", "1e9", "NaN", ""] {
            assert_eq!(
                parse_time(bad),
                Err(format!("strconv.ParseInt: parsing {bad:?}: invalid syntax")),
                "{bad}"
            );
        }
        for long in ["99999999999999999999", "1.5e300", "9999999999999.5"] {
            assert!(parse_time(long).is_err_and(|why| why.ends_with("value out of range")), "{long}");
        }
    }

    #[test]
    fn a_range_reaches_back() {
        let range = |since: &str| {
            let params = Params(vec![("since".into(), since.into())]);
            params.range(7_200_000_000_000).map_err(|Refusal(_, why)| why)
        };
        assert_eq!(range("1h"), Ok((3_600_000_000_000, 7_200_000_000_000)));
        assert!(range("-1h").is_err_and(|why| why.contains("not a valid duration string: \"-1h\"")));
    }

    #[test]
    fn steps() {
        let step = |text: &str| {
            let params = Params(vec![("step".into(), text.into())]);
            params.step_ms(0, 3_600_000_000_000).map_err(|Refusal(_, why)| why)
        };
        for (text, ms) in [
            ("60", 60_000),
            ("1.5", 1_500),
            ("20.0s", 20_000),
            ("1h30m", 5_400_000),
            ("500ms", 500),
            ("1e3", 1_000_000),
        ] {
            assert_eq!(step(text), Ok(ms), "{text}");
        }
        for (text, why) in [
            ("0", "zero or negative"),
            ("-1", "zero or negative"),
            ("NaN", "zero or negative"),
            ("0s", "zero or negative"),
            ("0.0001", "11,000 points"),
            ("1ms", "11,000 points"),
            ("5us", "to a valid duration"),
            ("-5m", "to a valid duration"),
            ("x", "to a valid duration"),
            ("1e300", "overflows int64"),
        ] {
            assert!(step(text).is_err_and(|told| told.contains(why)), "{text}");
        }
    }
}
