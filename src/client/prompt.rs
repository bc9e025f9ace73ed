//! The interactive prompt: history in the user's home, completion of keywords, tables and columns. SQL statements end
//! with `;` and may span lines; the other languages are a line each. Where input is no terminal, it is a script: its
//! statements are run in turn, up to the first that fails.

mod command;

use super::{Format, QueryArgs, Server, answer, statement};
use crate::cli::Language;
use crate::output::{self, Reader};
use command::{Command, Layout};
use reedline::{
    ColumnarMenu, DefaultCompleter, DefaultPrompt, DefaultPromptSegment, Emacs, FileBackedHistory, KeyCode,
    KeyModifiers, MenuBuilder, Reedline, ReedlineEvent, ReedlineMenu, Signal, ValidationResult, Validator,
    default_emacs_keybindings,
};
use std::io::IsTerminal;

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
    "histograms",
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

/// What a prompt or a script holds from query to query.
struct Conversation<'a> {
    runtime: &'a tokio::runtime::Runtime,
    server: &'a Server,
    language: Language,
    args: &'a QueryArgs,
    layout: Layout,
}

pub fn run(
    runtime: &tokio::runtime::Runtime,
    server: &Server,
    language: Language,
    args: &QueryArgs,
) -> anyhow::Result<()> {
    let mut conversation = Conversation { runtime, server, language, args, layout: Layout::Auto };
    if !std::io::stdin().is_terminal() {
        return conversation.script(&std::io::read_to_string(std::io::stdin())?);
    }
    let mut editor = editor(language);
    let name = match language {
        Language::Sql => "sql",
        Language::Promql => "promql",
        Language::Logql => "logql",
        Language::Traceql => "traceql",
    };
    say(&format!("{} · {name} · \\? helps, \\q or Ctrl-D ends", args.server))?;
    let prompt = DefaultPrompt::new(DefaultPromptSegment::Basic(name.into()), DefaultPromptSegment::Empty);
    loop {
        let text = match editor.read_line(&prompt)? {
            Signal::Success(text) => text,
            Signal::CtrlD => return Ok(()),
            _ => continue,
        };
        match command::parse(&text) {
            Some(Command::Quit) => return Ok(()),
            Some(Command::Help) => {
                say(command::HELP)?;
            }
            Some(Command::Layout(layout)) => {
                say(conversation.lay_out(layout))?;
            }
            Some(Command::Unknown(why)) => eprintln!("{why}"),
            Some(Command::Ask(query)) => conversation.report(Language::Sql, &query),
            None => {
                queries(language, &text).into_iter().for_each(|query| conversation.report(language, query))
            }
        }
    }
}

/// The queries of a text: statements, or the text as it is.
fn queries(language: Language, text: &str) -> Vec<&str> {
    let mut queries = match language {
        Language::Sql => {
            let split = statement::split(text);
            [split.whole, vec![split.begun]].concat()
        }
        _ => vec![text.trim().trim_end_matches(';').trim_end()],
    };
    queries.retain(|query| !query.is_empty());
    queries
}

impl Conversation<'_> {
    /// A line each, but for SQL, whose statements may span lines.
    fn script(&self, text: &str) -> anyhow::Result<()> {
        let texts: Vec<&str> = match self.language {
            Language::Sql => vec![text],
            _ => text.lines().collect(),
        };
        for query in texts.into_iter().flat_map(|text| queries(self.language, text)) {
            let bytes = self.runtime.block_on(self.server.ask(self.language, query, self.args))?;
            if output::print(&bytes)? == Reader::Gone {
                break;
            }
        }
        Ok(())
    }

    /// What to say of it.
    fn lay_out(&mut self, layout: Option<Layout>) -> &'static str {
        let other = if self.layout == Layout::Records { Layout::Table } else { Layout::Records };
        self.layout = layout.unwrap_or(other);
        match self.layout {
            Layout::Auto => "Rows are shown as a table where it fits, and as records otherwise.",
            Layout::Table => "Rows are shown as a table.",
            Layout::Records => "Rows are shown as records.",
        }
    }

    fn report(&self, language: Language, query: &str) {
        if let Err(wrong) = self.answer(language, query) {
            eprintln!("{wrong:#}");
        }
    }

    /// Asks and prints. Ctrl-C gives the query up, and the server, to which nobody listens then, stops it.
    fn answer(&self, language: Language, query: &str) -> anyhow::Result<()> {
        let laid_out = language == Language::Sql && self.args.format == Format::Table;
        let args = QueryArgs {
            format: if laid_out { Format::Arrow } else { self.args.format },
            ..self.args.clone()
        };
        let bytes = self.runtime.block_on(async {
            tokio::select! {
                bytes = self.server.ask(language, query, &args) => bytes.map(Some),
                _ = tokio::signal::ctrl_c() => Ok(None),
            }
        })?;
        let Some(bytes) = bytes else {
            eprintln!("stopped");
            return Ok(());
        };
        if !laid_out {
            output::print(&bytes)?;
            return Ok(());
        }
        let columns = crossterm::terminal::size().map_or(usize::MAX, |(columns, _)| columns as usize);
        output::print(&match self.layout {
            Layout::Auto => answer::arrow_within(&bytes, columns)?,
            Layout::Table => answer::arrow_table(&bytes)?,
            Layout::Records => answer::arrow_records(&bytes)?,
        })?;
        Ok(())
    }
}

fn say(text: &str) -> std::io::Result<Reader> {
    output::print(format!("{text}\n").as_bytes())
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

/// A statement is complete at its `;`; commands need none.
struct Statement;

impl Validator for Statement {
    fn validate(&self, text: &str) -> ValidationResult {
        if command::parse(text).is_some() || statement::split(text).begun.is_empty() {
            ValidationResult::Complete
        } else {
            ValidationResult::Incomplete
        }
    }
}
