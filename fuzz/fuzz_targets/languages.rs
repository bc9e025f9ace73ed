//! Queries. The first byte chooses the language. What is accepted must print to a query that is accepted again and prints alike.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((which, text)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    match which % 6 {
        0 => prints_alike(text, |text| promql::parse(text).map(|query| query.to_string())),
        1 => prints_alike(text, |text| logql::parse(text).map(|query| query.to_string())),
        2 => prints_alike(text, |text| traceql::parse(text).map(|query| query.to_string())),
        3 => drop(promql::series::parse_series(text)),
        4 => drop(logql::Template::parse("line", text)),
        _ => drop(model::regexp::compile_whole(text)),
    }
});

fn prints_alike<E: std::fmt::Debug>(text: &str, print: impl Fn(&str) -> Result<String, E>) {
    let Ok(printed) = print(text) else { return };
    match print(&printed) {
        Ok(again) => assert_eq!(again, printed, "of {text:?}"),
        Err(wrong) => panic!("{text:?} was printed as {printed:?}, which is refused: {wrong:?}"),
    }
}
