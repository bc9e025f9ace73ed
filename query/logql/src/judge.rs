//! A log query as those see it who keep records and know no language: a deletion names its records by one.

use crate::ast::Expr;
use crate::parser::parse;
use crate::pipeline::{Fields, Pipeline};
use model::{JudgeLog, JudgedLog, LogQuery, level};
use std::sync::Arc;

/// Reads a stream selector and the stages behind it. A query that gives numbers names no records.
pub fn read_log_query(text: &str) -> Result<LogQuery, String> {
    let log = match parse(text).map_err(|why| why.to_string())? {
        Expr::Log(log) => log,
        Expr::Metric(_) => return Err("a log selector is expected, as {app=\"web\"} |= \"text\"".into()),
    };
    let judge = (!log.stages.is_empty())
        .then(|| -> Arc<dyn JudgeLog> { Arc::new(Judge(Pipeline::new(&log.stages, None, None))) });
    Ok(LogQuery { matchers: log.matchers, judge })
}

/// A name of metadata as labels spell it, as Loki has it from OpenTelemetry: other characters than letters and digits are
/// `_`, of which no two follow each other but around a name that is reserved (`__name__`), and before a digit stands `key_`.
pub fn metadata_name(key: &str) -> impl Iterator<Item = char> + '_ {
    let before = if key.starts_with(|c: char| c.is_ascii_digit()) { "key_" } else { "" };
    let reserved = key.strip_prefix("__").and_then(|rest| rest.strip_suffix("__"));
    let (edge, inside) = reserved.filter(|name| !name.is_empty()).map_or(("", key), |name| ("__", name));
    let mut last = None;
    let once = move |c: &char| last.replace(*c) != Some('_') || *c != '_';
    let plain = inside.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' });
    before.chars().chain(edge.chars()).chain(plain.filter(once)).chain(edge.chars())
}

struct Judge(Pipeline);

impl std::fmt::Debug for Judge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Judge")
    }
}

impl JudgeLog for Judge {
    fn passes(&self, record: &JudgedLog<'_>) -> bool {
        let mut fields = Fields::default();
        if !self.0.keeps_labels() {
            let labels = record.labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
            fields.start(&labels.collect());
            // As a query shows them: names as labels spell them, and what a label says already is not said twice.
            for (name, value) in record.metadata {
                let name: String = metadata_name(name).collect();
                if fields.get(&name) != Some(*value) {
                    fields.add_metadata(&name, value);
                }
            }
            if fields.get("detected_level").is_none() {
                let of_label = level::named(|name| record.labels.get(name));
                let of_name = |name: &str| record.metadata.iter().find(|(other, _)| *other == name);
                let said = of_label.or_else(|| level::named(|name| of_name(name).map(|(_, value)| *value)));
                let level = said.unwrap_or_else(|| model::severity_text(record.severity));
                fields.add_metadata("detected_level", level);
            }
        }
        self.0.run(record.ts_ns, record.body, &mut fields).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Labels;

    /// What Loki 3.7.6 was seen to make of them.
    #[test]
    fn names_of_metadata_are_spelled_as_in_loki() {
        for (key, name) in [
            ("http.route", "http_route"),
            ("a..b", "a_b"),
            ("a__b", "a_b"),
            ("a-é-b", "a_b"),
            ("__x", "_x"),
            ("x__", "x_"),
            ("__x__", "__x__"),
            ("__a..b__", "__a_b__"),
            ("1..2", "key_1_2"),
            ("_own", "_own"),
        ] {
            assert_eq!(metadata_name(key).collect::<String>(), name, "{key}");
        }
    }

    #[test]
    fn a_query_names_lines_as_it_would_show_them() {
        let labels = Labels::from_pairs([("app", "api")]);
        let record = JudgedLog {
            ts_ns: 0,
            body: r#"level=debug user=7 msg="card 4111""#,
            labels: &labels,
            metadata: &[("user.id", "7")],
            severity: 5,
        };
        for (query, expected) in [
            (r#"{app="api"} |= "card""#, true),
            (r#"{app="api"} != "card""#, false),
            (r#"{app="api"} |~ "card [0-9]+" |= "user""#, true),
            (r#"{app="api"} | user_id="7""#, true),
            (r#"{app="api"} | logfmt | user="8""#, false),
            (r#"{app="api"} | detected_level="debug""#, true),
        ] {
            let query = read_log_query(query).unwrap();
            assert_eq!(query.judge.unwrap().passes(&record), expected);
            assert!(query.matchers[0].matches_labels(&labels));
        }
        assert!(read_log_query(r#"{app="api"}"#).unwrap().judge.is_none());
        assert!(read_log_query(r#"rate({app="api"}[1m])"#).unwrap_err().contains("selector"));
        assert!(read_log_query(r#"{app="api"} |= 5"#).unwrap_err().contains("line 1, col"));
    }
}
