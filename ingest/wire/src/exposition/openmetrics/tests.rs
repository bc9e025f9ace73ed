use super::*;

fn found(text: &str) -> Vec<String> {
    let decoded = parse(text, 42).unwrap_or_else(|wrong| panic!("{wrong}: {text}"));
    decoded
        .batch
        .iter()
        .map(|(labels, ts, values)| {
            format!("{} {} {}", Labels::from_bytes(labels).unwrap(), values[0], ts[0])
        })
        .collect()
}

#[test]
fn a_text_becomes_its_samples() {
    let text = "# TYPE a counter\n# HELP a How\\nmany\n# UNIT b_s s\n# TYPE b_s gauge\nb_s 1 1.5\nc{x=\"y\"} 2\n# EOF\n";
    let wrong = parse(text, 0);
    assert_eq!(found(text), ["b_s 1 1500", "c{x=\"y\"} 2 42"], "{wrong:?}");
    let metadata = parse(text, 0).unwrap().batch.metadata;
    assert_eq!((metadata[0].help.as_str(), metadata[1].unit.as_str()), ("How\nmany", "s"));
}

#[test]
fn an_error_says_where() {
    for (text, place) in [
        ("a 1\n", "line 1: the text ends without # EOF"),
        ("a 1\n# EOF\nb 1\n", "line 2, column 1: text after # EOF"),
        ("a 1\n\n# EOF\n", "line 2, column 1: a metric name"),
        ("# TYPE a gauge\na  1\n# EOF\n", "line 2, column 3"),
        ("# TYPE a counter\na 1\n# EOF\n", "line 2, column 1: a counter has no sample \"a\""),
        ("# TYPE a gauge\na 1\n# TYPE a gauge\n# EOF\n", "line 3, column 1: TYPE of \"a\" comes after"),
    ] {
        let wrong = parse(text, 0).unwrap_err();
        assert!(wrong.0.contains(place), "{text}: {wrong}");
    }
}

#[test]
fn what_only_looks_like_openmetrics_is_refused() {
    for text in [
        "a{b=\"1\",} 1\n",
        "a{b=\"1\", } 1\n",
        "# TYPE a histogram\na_bucket{le=\"+Inf\"} 2 # {} 7 \n",
        "# TYPE a histogram\na_bucket{le=\"+INF\"} 2\n",
        "# TYPE a histogram\na_bucket{le=\"inf\"} 2\n",
        "# TYPE a gaugehistogram\na_bucket{le=\"1.0\"} 1\na_bucket{le=\"+Inf\"} 1\na_gcount 1\na_gsum -3\n",
    ] {
        let text = format!("{text}# EOF\n");
        assert!(parse(&text, 0).is_err(), "{text}");
    }
    assert_eq!(found("a{b=\",}\"} 1\n# EOF\n"), ["a{b=\",}\"} 1 42"]);
}

#[test]
fn a_sum_below_zero_is_taken_as_a_client_writes_it() {
    let with = |samples: &str| {
        let buckets = "a_bucket{le=\"-0.5\"} 2\na_bucket{le=\"1.0\"} 3\na_bucket{le=\"+Inf\"} 3\n";
        parse(&format!("# TYPE a histogram\n{buckets}{samples}# EOF\n"), 0).is_ok()
    };
    assert!(with(""));
    assert!(with("a_sum -1.25\na_count 3\n"));
    assert!(!with("a_sum -1.25\n"));
    let none_yet =
        "# TYPE a histogram\na_bucket{le=\"-2.0\"} 0\na_bucket{le=\"+Inf\"} 0\na_sum 0.0\na_count 0\n# EOF\n";
    assert!(parse(none_yet, 0).is_ok());
    assert!(parse(&none_yet.replace("-2.0", "-2"), 0).is_err());
}

/// OpenMetrics' own cases and Prometheus', where they lie beside the checkout.
#[test]
fn the_suites_cases_parse_as_they_should() {
    let folder =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/suites/data/prometheus");
    let mut wrong = vec![];
    let mut note = |name: &str, text: &[u8], should: bool, parsed: Result<(), String>| {
        if parsed.is_ok() != should {
            wrong.push(format!("{name} {should}: {parsed:?}\n{}", String::from_utf8_lossy(text)));
        }
    };
    let openmetrics = |bytes: &[u8]| {
        let text = std::str::from_utf8(bytes).map_err(|wrong| wrong.to_string())?;
        parse(text, 0).map(|_| ()).map_err(|wrong| wrong.0)
    };
    let plain = |bytes: &[u8]| {
        let text = std::str::from_utf8(bytes).map_err(|wrong| wrong.to_string())?;
        super::super::parse(text, 0).map(|_| ()).map_err(|wrong| wrong.0)
    };
    let Ok(entries) = std::fs::read_dir(folder.join("openmetrics_parsers")) else {
        println!("no {}: the suites' cases were not run", folder.display());
        return;
    };
    for entry in entries.map(Result::unwrap) {
        let text = std::fs::read(entry.path().join("metrics")).unwrap();
        let says: serde_json::Value =
            serde_json::from_slice(&std::fs::read(entry.path().join("test.json")).unwrap()).unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        note(&name, &text, says["shouldParse"] == true, openmetrics(&text));
    }
    for (file, read) in [
        ("exposition_openmetrics_cases.jsonl", &openmetrics as &dyn Fn(&[u8]) -> Result<(), String>),
        ("exposition_prom_cases.jsonl", &plain),
    ] {
        for line in std::fs::read_to_string(folder.join(file)).unwrap().lines() {
            let case: serde_json::Value = serde_json::from_str(line).unwrap();
            // A ÿ in the list stands for the byte 0xff that is no UTF-8.
            let mut text = case["input"].as_str().unwrap().as_bytes().to_vec();
            while let Some(at) = memchr::memmem::find(&text, "ÿ".as_bytes()) {
                text.splice(at..at + 2, [0xff]);
            }
            // Prometheus' test has this one among those that end well: no metric at all.
            let should = case["parse"] == "ok" || text == b"# EOF";
            note(file, &text, should, read(&text));
        }
    }
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
}
