//! What is counted by keys, side and step is what is counted row by row.

use super::super::rows::Judged;
use super::*;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, UnboundedMemoryPool};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::borrow::Cow;
use std::sync::Arc;

const STEPS: usize = 7;
const ROWS: usize = 6_000;

fn held() -> Held {
    let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
    Held::of(MemoryConsumer::new("test").register(&pool))
}

/// Most rows of a batch, one in so many of which is selected.
fn rows(rng: &mut StdRng, selected: u32, weighed: bool) -> Rows {
    let weights: Option<Vec<f64>> =
        weighed.then(|| (0..ROWS).map(|_| [1.0, 1.1, 2.0, 7.3][rng.random_range(0..4)]).collect());
    let counted: Vec<bool> = (0..ROWS).map(|_| !rng.random_bool(0.1)).collect();
    let selected = counted.iter().map(|counted| *counted && rng.random_ratio(1, selected)).collect();
    // Now and then from the first step again.
    let runs = (0..ROWS.div_ceil(400)).map(|run| (run % STEPS, run * 400..ROWS.min((run + 1) * 400)));
    Rows::new(runs, &Judged { counted, selected }, weights.as_deref(), STEPS)
}

fn told(column: &Column) -> String {
    let of_slot = |(slot, numbers): (&Slot, &[u32; 2])| {
        let counts = |(side, number): (&Side, &u32)| -> Vec<f64> {
            if *number == NONE { vec![] } else { side.counts(*number).collect() }
        };
        let counts: Vec<Vec<f64>> = column.sides.iter().zip(numbers).map(counts).collect();
        (*numbers != [NONE; 2]).then(|| format!("{} {:?} {counts:?}", slot.key, slot.value))
    };
    let mut slots: Vec<String> = column.slots.iter().zip(&column.numbers).filter_map(of_slot).collect();
    slots.sort();
    let side = |side: &Side| format!("{:?} {} {}", side.totals, side.distinct, side.too_many);
    format!("{:?} {slots:#?}", column.sides.iter().map(side).collect::<Vec<_>>())
}

fn place(keyed: &Keyed<'_>, column: &mut Column, row: usize, grown: &mut usize) -> Place {
    let kind = keyed.kinds.map_or(b's', |kinds| kinds[row]);
    if kind == 0 || keyed.keys[row] == u32::MAX {
        return Place::Nowhere;
    }
    column.place(kind, keyed.text(row), || value_of(typed(kind, keyed.text(row))), grown)
}

/// As many keys; each row has one of the types, 0 of none.
fn check(name: &str, seed: u64, words: u32, types: &[u8], weighed: bool) -> Column {
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut fast, mut plain) = (Column::new("n".into(), STEPS), Column::new("n".into(), STEPS));
    let (mut held, mut grown) = (held(), 0);
    for part in 0..2u32 {
        let text = |word: u32| match word % 9 {
            0 => "[]".to_owned(),
            1 => format!("[{word}]"),
            2 => format!("{}.50", word + part),
            _ => (word + part * 3).to_string(),
        };
        let dictionary = StringArray::from_iter_values((0..words).map(text));
        for batch in 0..8 {
            let (one, few) = (rng.random_range(0..words), batch == 1);
            let keys = (0..ROWS).map(|_| match rng.random_range(0..10) {
                _ if batch == 2 => one,
                0 if types.is_empty() => u32::MAX,
                _ if few => one,
                _ => rng.random_range(0..words),
            });
            let keys: Vec<u32> = keys.collect();
            let kinds: Vec<u8> = match types {
                [] => vec![],
                types => (0..ROWS).map(|_| types[rng.random_range(0..types.len())]).collect(),
            };
            let keyed = Keyed {
                keys: Cow::Owned(keys),
                kinds: (!kinds.is_empty()).then_some(&kinds[..]),
                words: words as usize,
                dictionary: Some(&dictionary),
            };
            let rows = rows(&mut rng, 2 + batch % 2, weighed);
            fast.count_keyed(&keyed, &rows, &mut held, |column, row, grown| {
                place(&keyed, column, row, grown)
            })
            .unwrap();
            for (row, one) in rows.iter() {
                let place = place(&keyed, &mut plain, row, &mut grown);
                plain.count(place, one, &mut grown);
            }
            assert_eq!(told(&fast), told(&plain), "{name} {part} {batch}");
        }
    }
    fast
}

#[test]
fn keys_are_counted_as_row_by_row() {
    for weighed in [false, true] {
        for (number, types) in
            [&b""[..], b"s", b"i", b"s\0", b"id\0", b"jsb\0\0", b"\0", b"j\0"].iter().enumerate()
        {
            for words in [1, 3, 2_000] {
                check(&format!("{types:?} {words} {weighed}"), number as u64, words, types, weighed);
            }
        }
    }
}

#[test]
fn the_first_of_too_many_values_are_those_that_are_counted() {
    for (weighed, types) in [(false, &b"s"[..]), (false, &b"is\0"[..]), (true, &b"sss\0"[..])] {
        let counted = check(&format!("{types:?} {weighed}"), 31, 60_000, types, weighed);
        assert!(counted.sides.iter().all(|side| side.distinct == VALUES_MAX && side.too_many), "{types:?}");
    }
}

#[test]
fn texts_are_counted_as_row_by_row() {
    for (weighed, messages) in [(false, 1), (false, 50), (false, 100_000), (true, 50)] {
        let mut rng = StdRng::seed_from_u64(messages);
        let (mut fast, mut plain) = (Column::new("n".into(), STEPS), Column::new("n".into(), STEPS));
        let (mut held, mut grown) = (held(), 0);
        for batch in 0..12 {
            let text = |rng: &mut StdRng| match rng.random_bool(if batch == 3 { 0.0 } else { 0.7 }) {
                true => format!("bad {}", rng.random_range(0..messages)),
                false => String::new(),
            };
            let texts = StringArray::from_iter_values((0..ROWS).map(|_| text(&mut rng)));
            let rows = rows(&mut rng, 3, weighed);
            fast.count_texts(Some(&texts), &rows, &mut held).unwrap();
            for (row, one) in rows.iter() {
                let place = plain.place_of_text(texts.value(row), &mut grown);
                plain.count(place, one, &mut grown);
            }
            assert_eq!(told(&fast), told(&plain), "{messages} {weighed} {batch}");
        }
        assert_eq!(fast.sides[0].too_many, messages > 10_000, "{messages}");
    }
}
