//! What may be typed at the prompt beside queries: psql's commands, as far as they mean something here.

/// How rows are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// A table where it fits the terminal's width, records otherwise.
    Auto,
    Table,
    Records,
}

#[derive(Debug, PartialEq)]
pub enum Command {
    Quit,
    Help,
    /// This query instead.
    Ask(String),
    /// `None`: the other than now.
    Layout(Option<Layout>),
    /// Why what was typed is no command.
    Unknown(String),
}

pub const HELP: &str = r"\d            tables and views      \d NAME    columns of one
\x            rows as records or as a table (\x auto: whichever fits, as at the start)
\?            this                  \q         end, as Ctrl-D
Ctrl-C        drops what is typed, or stops a query that runs
An SQL statement ends with ; and may span lines.";

/// `None` where the text is a query, or the beginning of one.
pub fn parse(text: &str) -> Option<Command> {
    let text = text.trim().trim_end_matches(';').trim_end();
    match text {
        "quit" | "exit" => return Some(Command::Quit),
        "help" => return Some(Command::Help),
        _ => {}
    }
    let rest = text.strip_prefix('\\')?;
    let (name, argument) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    Some(match (name, argument.trim()) {
        ("q", _) => Command::Quit,
        ("?" | "h", _) => Command::Help,
        ("d" | "d+" | "dt" | "dt+" | "dv" | "dv+", "") => Command::Ask(tables(name)),
        ("d" | "d+", table) => Command::Ask(columns(table)),
        ("x", "") => Command::Layout(None),
        ("x", "on") => Command::Layout(Some(Layout::Records)),
        ("x", "off") => Command::Layout(Some(Layout::Table)),
        ("x", "auto") => Command::Layout(Some(Layout::Auto)),
        _ => Command::Unknown(format!(r"\{rest} is not known here; \? lists what is")),
    })
}

fn tables(name: &str) -> String {
    let kinds = match name.trim_end_matches('+') {
        "dt" => " and table_type = 'BASE TABLE'",
        "dv" => " and table_type = 'VIEW'",
        _ => "",
    };
    format!(
        "select table_name as name, table_type as type from information_schema.tables \
         where table_schema = 'public'{kinds} order by 1"
    )
}

fn columns(table: &str) -> String {
    let table = table.trim_start_matches("public.").trim_matches('"').replace('\'', "''");
    // Arrow's own names of types are a line long.
    format!(
        "select column_name as column, case when starts_with(data_type, 'Map') then 'map' \
         when starts_with(data_type, 'Timestamp') then 'timestamp' when starts_with(data_type, 'Utf8') then 'text' \
         else lower(data_type) end as type, is_nullable as nullable from information_schema.columns \
         where table_schema = 'public' and table_name = '{table}' order by ordinal_position"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_told_from_queries() {
        for (text, expected) in [
            ("select 1;", None),
            ("exit;", Some(Command::Quit)),
            (" \\q ", Some(Command::Quit)),
            ("\\?", Some(Command::Help)),
            ("help", Some(Command::Help)),
            ("\\x", Some(Command::Layout(None))),
            ("\\x auto", Some(Command::Layout(Some(Layout::Auto)))),
            ("\\foo bar", Some(Command::Unknown("\\foo bar is not known here; \\? lists what is".into()))),
        ] {
            assert_eq!(parse(text), expected, "{text:?}");
        }
        let Some(Command::Ask(query)) = parse("\\d public.it's;") else { panic!("a question") };
        assert!(query.contains("table_name = 'it''s'"), "{query}");
    }
}
