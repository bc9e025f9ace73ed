use super::super::{OnError, Script};
use super::*;

fn script(text: &str) -> Result<Arc<Script>, String> {
    Script::compile(text, 1, OnError::Keep).map_err(|wrong| wrong.to_string())
}

/// What is compiled of it at the moment among the written-out ones.
fn kept(text: &str) -> Option<Arc<Regex>> {
    WRITTEN.lock().get(text).and_then(Weak::upgrade)
}

#[test]
fn regexes_that_are_written_out_live_as_long_as_their_scripts() {
    let (one, other) =
        (script("matches(line, \"kept a+\")").unwrap(), script("replace(line, `kept a+`, \"\")").unwrap());
    let first = kept("kept a+").unwrap();
    for made in 0..10 * MADE_MAX {
        regex(&format!("made {made}")).unwrap();
    }
    assert!(Arc::ptr_eq(&first, &regex("kept a+").unwrap()));
    drop((first, one));
    assert!(kept("kept a+").is_some());
    drop(other);
    assert!(kept("kept a+").is_none());
}

#[test]
fn of_regexes_that_scripts_make_the_last_used_are_kept() {
    let mut made = Made(vec![]);
    let first = made.get("first").unwrap();
    for other in 0..10 * MADE_MAX {
        made.get(&format!("other {other}")).unwrap();
        assert!(Arc::ptr_eq(&first, &made.get("first").unwrap()));
        assert!(made.0.len() <= MADE_MAX);
    }
}

#[test]
fn a_regex_that_is_too_large_is_told() {
    let wrong = script("\nmatches(line, \"\\\\w{1000}\")").unwrap_err();
    assert_eq!(
        wrong,
        r#"script line 2, column 15: regex "\\w{1000}" takes more than 2097152 bytes, compiled"#
    );
    assert!(script("matches(line, \"\\\\w{30}\")").is_ok());
    let wrong = regex(r"\w{31}").unwrap_err();
    let more = "takes more than 262144 bytes, compiled; one that is written out in the call may take more";
    assert_eq!(wrong, format!(r#"regex "\\w{{31}}" {more}"#));
    let long = "ä".repeat(MADE_TEXT_BYTES_MAX);
    let wrong = regex(&long).unwrap_err();
    assert!(wrong.len() < 400 && wrong.contains("ä\"… is longer than 2048 bytes"), "{wrong}");
    let wrong = regex(&format!("({}", &long[..1000])).unwrap_err();
    assert!(wrong.len() < 400 && wrong.contains("ä\"… is none"), "{wrong}");
}

/// What would become many gigabytes ends before its memory is taken.
#[test]
fn a_replacement_ends_before_it_is_longer_than_text_may_be() {
    let replaced = |text: &str, regex: &str, with: &str| replaced(text, &Regex::new(regex).unwrap(), with);
    let (text, long) = ("a".repeat(TEXT_BYTES_MAX), "x".repeat(TEXT_BYTES_MAX));
    let (whole, each) = ("$0".repeat(TEXT_BYTES_MAX / 2), "${1}".repeat(TEXT_BYTES_MAX / 4));
    for (regex, with) in [("", &long), ("a", &long), ("a+", &whole), ("(a)", &each)] {
        let wrong = replaced(&text, regex, with).unwrap_err();
        assert!(matches!(*wrong, EvalAltResult::ErrorDataTooLarge(..)), "{regex}: {wrong}");
    }
    let half = &text[..TEXT_BYTES_MAX / 2];
    let made = replaced(half, "a", "bb").unwrap();
    assert_eq!(made.map(|text| text.len()), Some(TEXT_BYTES_MAX), "what fits is made");
    assert!(replaced(half, "a", "bbb").is_err());
    assert!(replaced(half, "(a)$", "$1$1").unwrap().is_some_and(|text| text.ends_with("aaa")));
}
