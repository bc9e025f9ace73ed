//! A Grafana dashboard: what would keep it or one of its panels from being drawn, each mistake with its place.
//!
//! The JSON is read by a small reader that remembers where each value stands, as the parser for data does not.

use crate::config::place;
use serde_json::Value;

/// Its mistakes as `line:column: text`. `parses` says what is wrong with a query of a kind of data source, which is empty
/// where the dashboard leaves it open.
pub fn mistakes(text: &str, parses: &dyn Fn(&str, &str) -> Result<(), String>) -> Vec<String> {
    let json: Value = match serde_json::from_str(text) {
        Ok(json) => json,
        Err(wrong) => return vec![format!("{}:{}: not JSON: {wrong}", wrong.line(), wrong.column())],
    };
    let mut found = Found { text, mistakes: vec![] };
    if !json.is_object() {
        found.add(&[], "a dashboard is a JSON object");
        return found.mistakes;
    }
    if json["title"].as_str().is_none_or(str::is_empty) {
        found.add(&["title".into()], "no `title`; a dashboard needs one to be listed");
    }
    match json["panels"].as_array() {
        None if json["rows"].is_array() => found.add(
            &["rows".into()],
            "`rows` is how Grafana wrote dashboards before version 5; import it into a newer one and export it again",
        ),
        None => found
            .add(&["panels".into()], "no `panels`; export the dashboard as classic JSON (not as a resource)"),
        Some(panels) => {
            for (i, panel) in panels.iter().enumerate() {
                check_panel(panel, vec!["panels".into(), i.into()], parses, &mut found);
            }
        }
    }
    found.mistakes
}

/// A member's name or an element's number on the way to a value.
#[derive(Clone, Debug)]
enum Step {
    Name(String),
    Number(usize),
}

impl From<&str> for Step {
    fn from(name: &str) -> Step {
        Step::Name(name.to_owned())
    }
}

impl From<usize> for Step {
    fn from(number: usize) -> Step {
        Step::Number(number)
    }
}

struct Found<'t> {
    text: &'t str,
    mistakes: Vec<String>,
}

impl Found<'_> {
    /// At the value, or at the closest one around it that is there.
    fn add(&mut self, path: &[Step], why: &str) {
        let at = (0..=path.len()).rev().find_map(|length| offset(self.text, &path[..length])).unwrap_or(0);
        self.mistakes.push(format!("{}: {why}", place(self.text, at)));
    }
}

fn check_panel(
    panel: &Value,
    path: Vec<Step>,
    parses: &dyn Fn(&str, &str) -> Result<(), String>,
    found: &mut Found<'_>,
) {
    let name = panel["title"].as_str().filter(|title| !title.is_empty()).unwrap_or("without title");
    let below = |step: &str| path.iter().cloned().chain([step.into()]).collect::<Vec<Step>>();
    let Some(kind) = panel["type"].as_str() else {
        found.add(&path, &format!("panel {name:?} has no `type`, such as \"timeseries\""));
        return;
    };
    if kind == "row" {
        for (i, inner) in panel["panels"].as_array().into_iter().flatten().enumerate() {
            let inner_path = path.iter().cloned().chain(["panels".into(), i.into()]).collect();
            check_panel(inner, inner_path, parses, found);
        }
        return;
    }
    let place = &panel["gridPos"];
    // What is left out has a default.
    if !place.is_null()
        && ["x", "y", "w", "h"].iter().any(|side| !place[side].is_null() && !place[side].is_number())
    {
        found.add(&below("gridPos"), &format!("panel {name:?}: x, y, w and h of `gridPos` are numbers"));
    }
    for (i, target) in panel["targets"].as_array().into_iter().flatten().enumerate() {
        let source = [&target["datasource"], &panel["datasource"]]
            .into_iter()
            .find_map(|source| source["type"].as_str())
            .unwrap_or("");
        for field in ["expr", "query", "rawSql"] {
            let Some(query) = target[field].as_str().filter(|query| !query.trim().is_empty()) else {
                continue;
            };
            // A variable may stand for a number or for a name; a query that is right with either is right.
            let fillings = ["1", "x"].map(|filling| parses(source, &without_variables(query, filling)));
            if let [Err(why), Err(_)] = fillings {
                let path: Vec<Step> =
                    path.iter().cloned().chain(["targets".into(), i.into(), field.into()]).collect();
                found.add(&path, &format!("panel {name:?}: {why}"));
            }
        }
    }
}

/// Grafana puts values in for `$name`, `${name:format}` and `[[name]]`: a duration where one belongs, else `filling`.
fn without_variables(query: &str, filling: &str) -> String {
    let mut out = String::with_capacity(query.len());
    let mut rest = query;
    while let Some(at) = rest.find(['$', '[']) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let end = if let Some(inner) = from.strip_prefix("${") {
            inner.find('}').map(|end| end + 3)
        } else if let Some(inner) = from.strip_prefix("[[") {
            inner.find("]]").map(|end| end + 4)
        } else if let Some(inner) = from.strip_prefix('$') {
            let end = inner.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(inner.len());
            (end > 0).then_some(end + 1)
        } else {
            None
        };
        match end {
            Some(end) => {
                let is_duration = out.trim_end().ends_with(['[', ':']) || out.trim_end().ends_with("offset");
                out.push_str(if is_duration { "5m" } else { filling });
                rest = &from[end..];
            }
            None => {
                out.push_str(&from[..1]);
                rest = &from[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// Where the value at a path begins in a text that is JSON.
fn offset(text: &str, path: &[Step]) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = skip_space(bytes, 0);
    for step in path {
        at = match (step, bytes.get(at)?) {
            (Step::Name(name), b'{') => member(bytes, at, name)?,
            (Step::Number(number), b'[') => element(bytes, at, *number)?,
            _ => return None,
        };
    }
    Some(at)
}

fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(u8::is_ascii_whitespace) {
        at += 1;
    }
    at
}

/// Past a value. The text has been parsed before, so brackets match.
fn skip_value(bytes: &[u8], at: usize) -> usize {
    let (mut at, mut depth) = (at, 0usize);
    loop {
        match bytes.get(at) {
            None => return at,
            Some(b'"') => at = skip_string(bytes, at),
            Some(b'{' | b'[') => {
                depth += 1;
                at += 1;
            }
            Some(b'}' | b']') if depth == 0 => return at,
            Some(b'}' | b']') => {
                depth -= 1;
                at += 1;
            }
            Some(b',') if depth == 0 => return at,
            Some(_) => at += 1,
        }
        if depth == 0 && matches!(bytes.get(at), Some(b',' | b'}' | b']')) {
            return at;
        }
    }
}

fn skip_string(bytes: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    at
}

fn member(bytes: &[u8], at: usize, name: &str) -> Option<usize> {
    let mut at = skip_space(bytes, at + 1);
    while bytes.get(at) == Some(&b'"') {
        let end = skip_string(bytes, at);
        let is_it = serde_json::from_slice::<String>(&bytes[at..end]).is_ok_and(|found| found == name);
        // Past the colon.
        at = skip_space(bytes, skip_space(bytes, end) + 1);
        if is_it {
            return Some(at);
        }
        at = skip_space(bytes, skip_value(bytes, at));
        if bytes.get(at) == Some(&b',') {
            at = skip_space(bytes, at + 1);
        }
    }
    None
}

fn element(bytes: &[u8], at: usize, number: usize) -> Option<usize> {
    let mut at = skip_space(bytes, at + 1);
    for _ in 0..number {
        at = skip_space(bytes, skip_value(bytes, at));
        if bytes.get(at) != Some(&b',') {
            return None;
        }
        at = skip_space(bytes, at + 1);
    }
    (bytes.get(at) != Some(&b']')).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn promql(source: &str, query: &str) -> Result<(), String> {
        match source {
            "prometheus" | "" => promql::parse(query).map(|_| ()).map_err(|wrong| wrong.to_string()),
            _ => Ok(()),
        }
    }

    #[test]
    fn mistakes_stand_where_they_are() {
        let text = "{\n \"title\": \"t\",\n \"panels\": [\n  {\"title\": \"a\", \"type\": \"timeseries\",\n   \"targets\": [{\"expr\": \"sum(rate(x{a=~\\\"$job\\\"}[$__rate_interval]))\"},\n    {\"expr\": \"sum(\"}]},\n  {\"title\": \"b, \\\"}\"},\n  {\"type\": \"row\", \"panels\": [\n   {\"type\": \"stat\", \"gridPos\": {\"x\": \"1\"}}]}\n ]\n}";
        let found = mistakes(text, &promql);
        assert_eq!(found.len(), 3, "{found:#?}");
        for (mistake, (place, part)) in
            found.iter().zip([("6:14", "panel \"a\""), ("7:3", "no `type`"), ("9:32", "gridPos")])
        {
            assert!(mistake.starts_with(&format!("{place}: ")) && mistake.contains(part), "{mistake}");
        }
        assert!(mistakes("{", &promql)[0].starts_with("1:1"));
        assert_eq!(mistakes("[]", &promql), ["1:1: a dashboard is a JSON object"]);
        assert_eq!(mistakes("{\"title\":\"t\",\"panels\":[]}", &promql), [] as [&str; 0]);
    }

    #[test]
    fn variables_become_what_can_stand_there() {
        assert_eq!(without_variables("rate(x{a=\"$b\"}[${c:raw}])", "1"), "rate(x{a=\"1\"}[5m])");
        assert_eq!(without_variables("x[[job]] > $", "1"), "x1 > $");
        assert_eq!(without_variables("topk($n, x offset $o)", "1"), "topk(1, x offset 5m)");
    }
}
