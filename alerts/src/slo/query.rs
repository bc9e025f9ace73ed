//! From the query of an indicator to the same over a window.
//!
//! OpenSLO leaves open how a query speaks of its window. Accepted are a selector or the sum of one (`rate` and the
//! range are added), a query with a range (each range is replaced) and one with `{{.window}}` or `$window` in it.

/// The sum of events a second over `window`: one series without labels.
pub fn over(query: &str, counter: bool, window: &str) -> Result<String, String> {
    let query = query.trim();
    for placeholder in ["{{.window}}", "{{ .window }}", "${window}", "$window"] {
        if query.contains(placeholder) {
            return Ok(format!("sum({})", query.replace(placeholder, window)));
        }
    }
    if let Some(replaced) = with_ranges(query, window) {
        return Ok(format!("sum({replaced})"));
    }
    let selector = match summed(query) {
        Some(inner) => inner,
        None => query,
    };
    if !is_selector(selector) {
        return Err(format!(
            "{query:?} does not say its window; write a selector such as http_requests_total{{code!~\"5..\"}}, \
             or put {{{{.window}}}} where the range belongs"
        ));
    }
    let function = if counter { "rate" } else { "sum_over_time" };
    Ok(format!("sum({function}({selector}[{window}]))"))
}

/// 1 where the value misses the threshold, 0 where it does not; no data and NaN (no traffic) are neither.
pub fn threshold_error(query: &str, op: &str, value: f64) -> String {
    format!("1 - avg((({query}) == ({query})) {op} bool {value})")
}

/// Byte ranges outside of quotes are what a caller may look at: calls `each` with the position of every such byte.
fn outside_quotes(text: &str, mut each: impl FnMut(usize, u8)) {
    let (mut quote, mut escaped) = (None, false);
    for (i, byte) in text.bytes().enumerate() {
        match quote {
            Some(open) => {
                if escaped {
                    escaped = false;
                } else if byte == b'\\' && open != b'`' {
                    escaped = true;
                } else if byte == open {
                    quote = None;
                }
            }
            None if matches!(byte, b'"' | b'\'' | b'`') => quote = Some(byte),
            None => each(i, byte),
        }
    }
}

/// The query with each `[range]` replaced; `None` where it has none.
fn with_ranges(query: &str, window: &str) -> Option<String> {
    let mut ranges = vec![];
    let mut open = None;
    outside_quotes(query, |i, byte| match byte {
        b'[' => open = Some(i),
        b']' => ranges.extend(open.take().map(|start| (start, i))),
        _ => {}
    });
    if ranges.is_empty() {
        return None;
    }
    let (mut replaced, mut rest) = (String::new(), 0);
    for (start, end) in ranges {
        // A subquery's step stays: `[5m:30s]`.
        let step = query[start..end].find(':').map_or("", |at| &query[start + at..end]);
        replaced.push_str(&query[rest..=start]);
        replaced.push_str(window);
        replaced.push_str(step);
        rest = end;
    }
    replaced.push_str(&query[rest..]);
    Some(replaced)
}

/// What is inside `sum(…)`.
fn summed(query: &str) -> Option<&str> {
    let inside = query.strip_prefix("sum")?.trim_start().strip_prefix('(')?.strip_suffix(')')?;
    Some(inside.trim())
}

fn is_selector(text: &str) -> bool {
    let name = text.len()
        - text.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':').len();
    let rest = text[name..].trim();
    if rest.is_empty() {
        return name > 0;
    }
    let mut braces = vec![];
    outside_quotes(rest, |i, byte| {
        if matches!(byte, b'{' | b'}') {
            braces.push(i);
        }
    });
    braces == [0, rest.len() - 1] && rest.starts_with('{')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_gets_its_window() {
        let check = |query: &str, expected: &str| {
            assert_eq!(over(query, true, "1h").as_deref(), Ok(expected), "{query}")
        };
        check("http_total", "sum(rate(http_total[1h]))");
        check("http_total{code=\"200\"}", "sum(rate(http_total{code=\"200\"}[1h]))");
        check("sum(http_total{code=~\"2..|}\"})", "sum(rate(http_total{code=~\"2..|}\"}[1h]))");
        check("{__name__=\"x\"}", "sum(rate({__name__=\"x\"}[1h]))");
        check(
            "sum(rate(x{a=\"[5m]\"}[5m])) + sum(rate(y[5m:30s]))",
            "sum(sum(rate(x{a=\"[5m]\"}[1h])) + sum(rate(y[1h:30s])))",
        );
        check("sum(rate(x[{{.window}}]))", "sum(sum(rate(x[1h])))");
        assert_eq!(over("x", false, "1h").as_deref(), Ok("sum(sum_over_time(x[1h]))"));
        for bad in ["x + y", "sum(x) / sum(y)", "", "x{a=\"1\"} > 5", "}{"] {
            assert!(over(bad, true, "1h").is_err(), "{bad}");
        }
    }
}
