//! The interactive prompt: history in the user's home, completion of keywords, tables and columns. SQL statements end
//! with `;` and may span lines; the other languages are a line each.

use super::{QueryArgs, Server, answer};
use crate::cli::Language;
use reedline::{
    ColumnarMenu, DefaultCompleter, DefaultPrompt, DefaultPromptSegment, Emacs, FileBackedHistory, KeyCode,
    KeyModifiers, MenuBuilder, Reedline, ReedlineEvent, ReedlineMenu, Signal, ValidationResult, Validator,
    default_emacs_keybindings,
};

/// Entries of the history file; enough for months, small enough to read at every start.
const HISTORY_ENTRIES_MAX: usize = 2_000;

const SQL_WORDS: &[&str] = &[
    "select",
    "from",
    "where",
    "group",
    "order",
    "by",
    "limit",
    "join",
    "left",
    "inner",
    "on",
    "using",
    "as",
    "and",
    "or",
    "not",
    "between",
    "like",
    "ilike",
    "is",
    "null",
    "having",
    "with",
    "distinct",
    "count",
    "sum",
    "avg",
    "min",
    "max",
    "date_bin",
    "now",
    "interval",
    "label",
    "attr",
    "metrics",
    "series",
    "logs",
    "spans",
    "changes",
    "allocation",
    "alerts",
    "slos",
    "promql",
    "logql",
    "traceql",
    "name",
    "value",
    "labels",
    "severity",
    "body",
    "service",
    "namespace",
    "container",
    "trace_id",
    "span_id",
    "parent_span_id",
    "start_ts",
    "duration_ns",
    "kind",
    "status",
    "attributes",
    "resource",
    "explain",
    "describe",
    "show",
];

const PROMQL_WORDS: &[&str] = &[
    "rate",
    "irate",
    "increase",
    "delta",
    "sum",
    "avg",
    "min",
    "max",
    "count",
    "topk",
    "bottomk",
    "quantile",
    "histogram_quantile",
    "label_replace",
    "label_join",
    "avg_over_time",
    "max_over_time",
    "min_over_time",
    "sum_over_time",
    "count_over_time",
    "quantile_over_time",
    "last_over_time",
    "absent",
    "clamp",
    "without",
    "ignoring",
    "group_left",
    "group_right",
    "offset",
    "bool",
];

pub fn run(
    runtime: &tokio::runtime::Runtime,
    server: &Server,
    language: Language,
    args: &QueryArgs,
) -> anyhow::Result<()> {
    let mut editor = editor(language);
    let name = match language {
        Language::Sql => "sql",
        Language::Promql => "promql",
        Language::Logql => "logql",
        Language::Traceql => "traceql",
    };
    println!("{} · {name} · \\q or Ctrl-D ends", args.server);
    let prompt = DefaultPrompt::new(DefaultPromptSegment::Basic(name.into()), DefaultPromptSegment::Empty);
    loop {
        let line = match editor.read_line(&prompt)? {
            Signal::Success(line) => line,
            Signal::CtrlD => return Ok(()),
            _ => continue,
        };
        let query = line.trim().trim_end_matches(';').trim();
        if matches!(query, "\\q" | "quit" | "exit") {
            return Ok(());
        }
        if query.is_empty() {
            continue;
        }
        match runtime.block_on(server.ask(language, query, args)) {
            Ok(bytes) => answer::print(&bytes)?,
            Err(wrong) => eprintln!("{wrong:#}"),
        }
    }
}

fn editor(language: Language) -> Reedline {
    let words: &[&str] = match language {
        Language::Sql => SQL_WORDS,
        Language::Promql => PROMQL_WORDS,
        Language::Logql => {
            &["rate", "count_over_time", "json", "logfmt", "line_format", "label_format", "unwrap"]
        }
        Language::Traceql => &["resource.", "span.", "duration", "status", "name", "kind", "error"],
    };
    let mut completer = DefaultCompleter::with_inclusions(&['_', '.']).set_min_word_len(2);
    completer.insert(words.iter().map(|word| (*word).to_owned()).collect());
    let mut keys = default_emacs_keybindings();
    keys.add_binding(
        KeyModifiers::NONE,
        KeyCode::Tab,
        ReedlineEvent::UntilFound(vec![ReedlineEvent::Menu("words".into()), ReedlineEvent::MenuNext]),
    );
    let mut editor = Reedline::create()
        .with_completer(Box::new(completer))
        .with_menu(ReedlineMenu::EngineCompleter(Box::new(ColumnarMenu::default().with_name("words"))))
        .with_edit_mode(Box::new(Emacs::new(keys)));
    if language == Language::Sql {
        editor = editor.with_validator(Box::new(Statement));
    }
    // A home that cannot be written costs the history, not the prompt.
    let history = std::env::home_dir()
        .map(|home| home.join(".binnacle_history"))
        .and_then(|path| FileBackedHistory::with_file(HISTORY_ENTRIES_MAX, path).ok());
    match history {
        Some(history) => editor.with_history(Box::new(history)),
        None => editor,
    }
}

/// A statement is complete at its `;`; `\q` and the like need none.
struct Statement;

impl Validator for Statement {
    fn validate(&self, line: &str) -> ValidationResult {
        let line = line.trim();
        if line.is_empty() || line.ends_with(';') || matches!(line, "\\q" | "quit" | "exit") {
            ValidationResult::Complete
        } else {
            ValidationResult::Incomplete
        }
    }
}
