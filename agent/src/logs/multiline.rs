//! Lines that belong to one another: stack traces of Java, Node, .NET and Ruby, tracebacks of Python, panics of Go, or
//! whatever a pattern says begins a record.
//!
//! A line that may begin one is held until the next line of its stream does not go on, or for a moment. What is held is
//! part of the file's position, so a crash neither loses nor doubles it.

use memchr::memmem::Finder;
use regex::bytes::Regex;
use serde::{Deserialize, Serialize};
use std::sync::LazyLock;

/// What a held line is the beginning of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// And whatever has frames below an error likewise: Node, .NET, Ruby.
    Java,
    /// Behind Node's last frame, in braces: what the error has beside its message.
    Properties,
    Python,
    /// Several exceptions as a tree, each line of it indented.
    PythonGroup,
    /// Behind the last line of a traceback: only what is chained to it goes on.
    PythonEnd,
    Go,
    /// By a pattern for first lines.
    Pattern,
}

impl Kind {
    /// As rules name it.
    fn language(self) -> Kind {
        match self {
            Kind::Properties => Kind::Java,
            Kind::PythonEnd | Kind::PythonGroup => Kind::Python,
            other => other,
        }
    }
}

/// How the lines of a container are joined.
#[derive(Clone, Debug, Default)]
pub enum Joining {
    None,
    /// Traces of the languages that are known.
    #[default]
    Traces,
    Only(Kind),
    /// Each record begins with a line that matches.
    Starts(Regex),
}

impl Joining {
    /// What this line begins, if it may have more lines.
    pub fn begins(&self, line: &[u8]) -> Option<Kind> {
        match self {
            Joining::None => None,
            Joining::Starts(_) => Some(Kind::Pattern),
            Joining::Only(kind) => begins(line).filter(|found| found.language() == *kind),
            Joining::Traces => begins(line),
        }
    }

    /// Whether a line goes on what is held, and what it then is. `held` is all of it so far.
    pub fn goes_on(&self, kind: Kind, held: &[u8], line: &[u8]) -> Option<Kind> {
        match (self, kind) {
            (Joining::None, _) => None,
            (Joining::Starts(first), _) => (!first.is_match(line)).then_some(Kind::Pattern),
            (_, Kind::Java) if !is_frame(line) => None,
            (_, Kind::Java) => Some(if line.ends_with(b" {") { Kind::Properties } else { kind }),
            (_, Kind::Properties) if line == b"}" => Some(Kind::Java),
            (_, Kind::Properties) => line.starts_with(b" ").then_some(kind),
            (_, Kind::PythonGroup) => {
                let indented = line.trim_ascii_start();
                let is_of_tree = indented.starts_with(b"|") || indented.starts_with(b"+");
                if is_of_tree && indented.len() < line.len() { Some(kind) } else { chained(held, line) }
            }
            (_, Kind::Python) if line.starts_with(b" ") || line.starts_with(b"\t") => Some(kind),
            // The first line without an indent says what was raised.
            (_, Kind::Python) => held.contains(&b'\n').then_some(Kind::PythonEnd),
            (_, Kind::PythonEnd) => chained(held, line),
            (_, Kind::Go) => is_of_go(line).then_some(kind),
            (_, Kind::Pattern) => None,
        }
    }
}

fn begins(line: &[u8]) -> Option<Kind> {
    // Most lines are none of it, and this is asked of every line.
    let first = *line.first()?;
    if (first == b'p' && line.starts_with(b"panic: "))
        || (first == b'f' && line.starts_with(b"fatal error: "))
    {
        return Some(Kind::Go);
    }
    // A line of JSON is whole, whatever it tells of.
    if first == b'{' {
        return None;
    }
    if SERVED.find(&line[..line.len().min(SERVED_WITHIN)]).is_some() {
        return Some(Kind::Go);
    }
    if TRACEBACK.find(line).is_some() {
        return Some(if is_group(line) { Kind::PythonGroup } else { Kind::Python });
    }
    // `app.rb:3:in 'Cart#add': no stock (Sold)`.
    let is_of_ruby = || memchr::memchr(b':', line).is_some_and(|at| line[..at].ends_with(b".rb"));
    (is_of_ruby() || JAVA.iter().any(|word| word.find(line).is_some())).then_some(Kind::Java)
}

/// To make ready for a search costs more than to search a line.
static TRACEBACK: LazyLock<Finder<'static>> =
    LazyLock::new(|| Finder::new("Traceback (most recent call last):"));
/// Of a handler that panicked, as net/http logs it behind the date and perhaps a file.
static SERVED: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("http: panic serving "));
const SERVED_WITHIN: usize = 96;
static JAVA: LazyLock<[Finder<'static>; 3]> =
    LazyLock::new(|| ["Exception", "Error", "Throwable"].map(Finder::new));

fn is_group(line: &[u8]) -> bool {
    line.trim_ascii_start().starts_with(b"+ Exception Group Traceback ")
}

/// Of Java and Node (`at …`), .NET (`---> ` and what was thrown inside, lines between two traces) or Ruby (`from file:3:in …`).
fn is_frame(line: &[u8]) -> bool {
    let indented = line.trim_ascii_start();
    let is_indented = indented.len() < line.len();
    let counts = || {
        let rest = indented.strip_prefix(b"... ").unwrap_or(b"");
        rest.first().is_some_and(u8::is_ascii_digit)
    };
    let starts = [&b"at "[..], b"Suppressed: ", b"[CIRCULAR REFERENCE: ", b"---> "];
    let is_of_ruby = || indented.starts_with(b"from ") && indented.windows(4).any(|four| four == b":in ");
    indented.starts_with(b"Caused by: ")
        || indented.starts_with(b"--- End of ")
        || is_indented && (starts.iter().any(|start| indented.starts_with(start)) || counts() || is_of_ruby())
}

/// Between two chained tracebacks is an empty line, a sentence, another empty line.
fn chained(held: &[u8], line: &[u8]) -> Option<Kind> {
    const SENTENCES: [&[u8]; 2] =
        [b"During handling of the above exception", b"The above exception was the direct cause"];
    if line.is_empty() {
        return (!held.ends_with(b"\n\n")).then_some(Kind::PythonEnd);
    }
    if SENTENCES.iter().any(|sentence| line.starts_with(sentence)) {
        return Some(Kind::PythonEnd);
    }
    if !held.ends_with(b"\n") {
        return None;
    }
    if is_group(line) {
        return Some(Kind::PythonGroup);
    }
    line.starts_with(b"Traceback (most recent call last):").then_some(Kind::Python)
}

fn is_of_go(line: &[u8]) -> bool {
    let starts = [
        &b"\t"[..],
        b"goroutine ",
        b"created by ",
        b"[signal ",
        b"exit status ",
        b"panic: ",
        // A frame: what panics again, or panics in a handler, has one.
        b"panic(",
        b"runtime.",
        b"runtime stack:",
    ];
    let is_cut = || line.starts_with(b"...") && line.ends_with(b" elided...");
    // `main.handle(0xc000, {0x1, 0x2})`.
    let is_call = || {
        let name = line.iter().position(|byte| *byte == b'(').map(|at| &line[..at]);
        line.ends_with(b")") && name.is_some_and(|name| name.contains(&b'.') && !name.contains(&b' '))
    };
    line.is_empty() || starts.iter().any(|start| line.starts_with(start)) || is_call() || is_cut()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records as they come out.
    fn joined(joining: &Joining, text: &str) -> Vec<String> {
        let mut out: Vec<String> = vec![];
        let mut held: Option<(Kind, Vec<u8>)> = None;
        for line in text.split('\n') {
            let line = line.as_bytes();
            if let Some((kind, body)) = &mut held {
                if let Some(next) = joining.goes_on(*kind, body, line) {
                    *kind = next;
                    body.push(b'\n');
                    body.extend_from_slice(line);
                    continue;
                }
                let (_, body) = held.take().unwrap();
                out.push(String::from_utf8(body).unwrap());
            }
            match joining.begins(line) {
                Some(kind) => held = Some((kind, line.to_vec())),
                None => out.push(String::from_utf8(line.to_vec()).unwrap()),
            }
        }
        out.extend(held.map(|(_, body)| String::from_utf8(body).unwrap()));
        out
    }

    #[test]
    fn traces_of_each_language_are_one_record_each() {
        const JAVA: &str = "java.lang.IllegalStateException: no stock\n\tat shop.Cart.add(Cart.java:12)\n\tat shop.Main.main(Main.java:3)\nCaused by: java.io.IOException: gone\n\t... 2 more";
        const PYTHON: &str = "Traceback (most recent call last):\n  File \"a.py\", line 1, in <module>\n    f()\nKeyError: 'a'\n\nDuring handling of the above exception, another exception occurred:\n\nTraceback (most recent call last):\n  File \"a.py\", line 3, in <module>\nValueError: b";
        const GO: &str = "panic: runtime error: index out of range [5] with length 3\n\ngoroutine 1 [running]:\nmain.get(...)\n\t/app/main.go:8\nmain.main()\n\t/app/main.go:4 +0x1d\nexit status 2";
        for trace in [JAVA, PYTHON, GO] {
            let text = format!("before\n{trace}\nafter one\nafter two");
            assert_eq!(joined(&Joining::Traces, &text), ["before", trace, "after one", "after two"]);
            assert_eq!(joined(&Joining::None, &text).len(), text.split('\n').count());
        }
        const CIRCLE: &str = "a.XException: x\n\tat a.B.c(B.java:1)\n\tSuppressed: a.YException\n\t\tat a.C.d(C.java:2)\n\t\t[CIRCULAR REFERENCE: a.XException: x]";
        const GROUP: &str = "  + Exception Group Traceback (most recent call last):\n  |   File \"a.py\", line 2, in <module>\n  | ExceptionGroup: x (1 sub-exception)\n  +-+---------------- 1 ----------------\n    | ValueError: 1\n    +------------------------------------";
        const NODE: &str = "TypeError: x\n    at f (/app/a.js:3:11)\n    at async main (/app/a.js:9:1) {\n  code: 'ENOENT',\n  [cause]: Error: y\n      at g (/app/a.js:1:1)\n}";
        const NET: &str = "Unhandled exception. System.InvalidOperationException: outer\n ---> System.ArgumentException: inner\n   at A.B() in /app/x.cs:line 3\n   --- End of inner exception stack trace ---\n   at A.C() in /app/x.cs:line 9\n--- End of stack trace from previous location ---\n   at Program.Main()";
        const RUBY: &str = "app.rb:3:in 'Cart#add': no stock (Sold)\n\tfrom app.rb:7:in 'Cart#buy'\n\tfrom app.rb:9:in '<main>'";
        const SERVED: &str = "2026/11/28 12:00:00 http: panic serving 10.0.0.1:5000: no stock\ngoroutine 20 [running]:\nnet/http.(*conn).serve.func1()\n\t/go/src/net/http/server.go:1903 +0xbe\npanic({0x6a1d40?, 0x76b3f0?})\n\t/go/src/runtime/panic.go:770 +0x132\nmain.handle({0x7f, 0xc0}, 0x1)\n\t/app/main.go:8 +0x1d\ncreated by net/http.(*Server).Serve in goroutine 1\n\t/go/src/net/http/server.go:3285 +0x4b4";
        const DEEP: &str = "fatal error: stack overflow\n\nruntime stack:\nruntime.throw({0x47, 0xe})\n\t/go/src/runtime/panic.go:1077 +0x5c\n\ngoroutine 1 [running]:\nmain.f(0x1)\n\t/app/main.go:3 +0x2f\n...12 frames elided...\nmain.main()\n\t/app/main.go:6 +0x1d";
        const BETWEEN: &str = "During handling of the above exception, another exception occurred:";
        let before_group = format!(
            "Traceback (most recent call last):\n  File \"a.py\"\nKeyError: 1\n\n{BETWEEN}\n\n{GROUP}"
        );
        let after_group = format!(
            "{GROUP}\n\n{BETWEEN}\n\nTraceback (most recent call last):\n  File \"a.py\"\nKeyError: 1"
        );
        let of_python = [GROUP, before_group.as_str(), after_group.as_str()];
        for trace in [CIRCLE, NODE, NET, RUBY, SERVED, DEEP].into_iter().chain(of_python) {
            let text = format!("before\n{trace}\nafter one\n  after two");
            assert_eq!(joined(&Joining::Traces, &text), ["before", trace, "after one", "  after two"]);
        }
        assert_eq!(joined(&Joining::Only(Kind::Python), GROUP).len(), 1);
        assert_eq!(joined(&Joining::Only(Kind::Java), NODE).len(), 1);
        assert_eq!(joined(&Joining::Only(Kind::Go), SERVED).len(), 1);
        // Errors without a trace stay lines of their own.
        assert_eq!(joined(&Joining::Traces, "Error: a\nError: b\n  indented").len(), 3);
        assert_eq!(joined(&Joining::Only(Kind::Go), "FooException: a\n\tat b").len(), 2);
        assert_eq!(joined(&Joining::Traces, "{\"m\":\"Error\"}\n\tat b").len(), 2);
        let of_json = "{\"m\":\"Traceback (most recent call last):\"}\n  b";
        assert_eq!(joined(&Joining::Traces, of_json).len(), 2);
    }

    #[test]
    fn a_pattern_says_what_begins_a_record() {
        let dated = Joining::Starts(Regex::new(r"^\d{4}-").unwrap());
        assert_eq!(joined(&dated, "2026-01 a\n b\nc\n2026-02 d"), ["2026-01 a\n b\nc", "2026-02 d"]);
    }
}
