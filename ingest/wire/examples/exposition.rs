//! How long a text takes to be read, here and by `prometheus-parse`, which is made of regular expressions:
//! `cargo run --release -p wire --example exposition -- FILE`. The quickest of 50 rounds of each, by turns.

use std::error::Error;
use std::time::{Duration, Instant};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("the file with the text is missing")?;
    let text = std::fs::read_to_string(path)?;
    let (mut ours, mut theirs) = (Duration::MAX, Duration::MAX);
    let mut samples = (0, 0);
    for _ in 0..50 {
        let from = Instant::now();
        samples.0 = wire::exposition::parse(&text, 0)?.batch.samples();
        ours = ours.min(from.elapsed());
        let from = Instant::now();
        let lines = text.lines().map(|line| Ok(line.to_owned()));
        samples.1 = prometheus_parse::Scrape::parse(lines)?.samples.len();
        theirs = theirs.min(from.elapsed());
    }
    let ratio = theirs.as_secs_f64() / ours.as_secs_f64();
    println!("{} bytes: {} samples in {ours:.2?}", text.len(), samples.0);
    println!("prometheus-parse: {} in {theirs:.2?}, {ratio:.1} times as long", samples.1);
    Ok(())
}
