//! Elasticsearch's bulk request: a line that says what to do, a line that is the document, and so on (source:
//! elastic.co/guide, "Bulk API"). Records are only ever added, as in a data stream: `index` and `create` do the same,
//! `update` and `delete` are answered per item as a data stream answers them. An `_id` that was stored lately is not stored
//! again: it is how shippers send a batch once more without doubling it.

use crate::document::{Document, Names, Place, Streams};
use crate::{Decoded, Malformed, Rejected};
use model::{Labels, LogBatch, RejectReason};
use serde::Deserialize;
use serde_json::Number;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// One item costs about a hundred bytes and its answer twice that, whatever its document is.
pub const ITEMS_MAX: usize = 100_000;

/// Ids and indices are short; a tree of what a line names is many times as large.
const ACTION_BYTES_MAX: usize = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Create,
    Index,
    Update,
    Delete,
}

impl Action {
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Create => "create",
            Action::Index => "index",
            Action::Update => "update",
            Action::Delete => "delete",
        }
    }
}

/// What one action line asked for, in the order of the request.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    pub action: Action,
    pub index: String,
    pub id: Option<String>,
    pub outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It is this record of the batch, counted over its streams in order.
    Record(u32),
    /// It is not in the batch: the type of Elasticsearch's error, and why.
    Refused { kind: &'static str, why: String },
    /// It was stored before under its id: `create` may not do so again,
    Exists,
    /// and `index` would put the same in its place.
    Same,
}

/// What is known of an id that was stored before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    SameDocument,
    OtherDocument,
}

impl Known {
    pub fn of(same: bool) -> Known {
        if same { Known::SameDocument } else { Known::OtherDocument }
    }
}

#[derive(Debug)]
pub struct Bulk {
    pub decoded: Decoded<LogBatch>,
    pub items: Vec<Item>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Target<'a> {
    #[serde(borrow, rename = "_index")]
    index: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "_id")]
    id: Option<Id<'a>>,
}

/// A number is one, too.
#[derive(Deserialize)]
#[serde(untagged)]
enum Id<'a> {
    Text(#[serde(borrow)] Cow<'a, str>),
    Number(Number),
}

impl<'a> Id<'a> {
    fn into_text(self) -> Cow<'a, str> {
        match self {
            Id::Text(text) => text,
            Id::Number(number) => number.to_string().into(),
        }
    }
}

/// What is known of an action's index, id and document.
pub type AskKnown<'a> = dyn FnMut(Action, &str, &str, &[u8]) -> Option<Known> + 'a;

/// Before all documents are read, it is not known where in the batch a record will be.
enum Read {
    At(Place),
    Refused(RejectReason, &'static str, String),
    Exists,
    Same,
}

/// `index` is the one of the path, for actions that name none; `now_ns` the time of documents that carry none. `known` is
/// asked of each action, index, id and document that comes with an id.
pub fn bulk(
    body: &[u8],
    index: Option<&str>,
    now_ns: i64,
    known: &mut AskKnown<'_>,
) -> Result<Bulk, Malformed> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(Malformed("request body is required".into()));
    }
    if !body.ends_with(b"\n") {
        return Err(Malformed("The bulk request must be terminated by a newline [\\n]".into()));
    }
    let mut streams = Streams::default();
    let mut read = vec![];
    let mut lines =
        body.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.trim_ascii().is_empty());
    while let Some((at, line)) = lines.next() {
        if read.len() == ITEMS_MAX {
            return Err(Malformed(format!("more than {ITEMS_MAX} items; send smaller batches")));
        }
        let (action, target) = action(line)
            .map_err(|wrong| Malformed(format!("Malformed action/metadata line [{}], {wrong}", at + 1)))?;
        let index = target.index.as_deref().or(index).unwrap_or("").to_owned();
        let document = match action {
            Action::Delete => None,
            _ => {
                let next = lines.next().ok_or_else(|| {
                    Malformed(format!("the action of line [{}] has no document after it", at + 1))
                })?;
                Some(next.1)
            }
        };
        let id = target.id.map(Id::into_text);
        let before = match (&id, document) {
            (Some(id), Some(document)) => known(action, &index, id, document),
            _ => None,
        };
        let outcome = match (action, document) {
            (Action::Create, _) if before.is_some() => Read::Exists,
            (Action::Index, _) if before == Some(Known::SameDocument) => Read::Same,
            (Action::Create | Action::Index, Some(document)) => {
                record(document, &index, now_ns, &mut streams).map_or_else(
                    |why| Read::Refused(RejectReason::InvalidDocument, "document_parsing_exception", why),
                    Read::At,
                )
            }
            _ => Read::Refused(
                RejectReason::UnsupportedAction,
                "illegal_argument_exception",
                "only write ops with an op_type of create are allowed in data streams".into(),
            ),
        };
        read.push((action, index, id.map(Cow::into_owned), outcome));
    }
    let (batch, before) = streams.finish();
    let mut rejected = Rejected::default();
    let items = read.into_iter().map(|(action, index, id, outcome)| {
        let outcome = match outcome {
            Read::At(place) => Outcome::Record(before.position(place)),
            Read::Refused(reason, kind, why) => {
                rejected.add(reason, 1, || why.clone());
                Outcome::Refused { kind, why }
            }
            Read::Exists => {
                rejected.add(RejectReason::DuplicateId, 1, || "an _id that was stored before".into());
                Outcome::Exists
            }
            Read::Same => Outcome::Same,
        };
        Item { action, index, id, outcome }
    });
    let items = items.collect();
    Ok(Bulk { decoded: Decoded { batch, rejected }, items })
}

fn action(line: &[u8]) -> Result<(Action, Target<'_>), String> {
    if line.len() > ACTION_BYTES_MAX {
        return Err(format!("it has more than {ACTION_BYTES_MAX} bytes"));
    }
    let mut line: BTreeMap<Cow<'_, str>, Target<'_>> =
        serde_json::from_slice(line).map_err(|wrong| format!("expected {{\"create\":{{…}}}}: {wrong}"))?;
    let found = line.pop_first();
    let Some((name, target)) = found.filter(|_| line.is_empty()) else {
        return Err("expected one action".into());
    };
    let action = match name.as_ref() {
        "create" => Action::Create,
        "index" => Action::Index,
        "update" => Action::Update,
        "delete" => Action::Delete,
        other => {
            return Err(format!(
                "expected field [create], [delete], [index] or [update] but found [{other}]"
            ));
        }
    };
    Ok((action, target))
}

fn record(document: &[u8], index: &str, now_ns: i64, streams: &mut Streams) -> Result<Place, String> {
    let mut document = Document::parse(document)?;
    let labels = document.take_labels();
    let pairs = labels.iter().map(|(name, value)| (*name, value.as_str())).chain([("index", index)]);
    let labels = Labels::from_pairs(pairs);
    let record = document.into_record(&Names::USUAL, now_ns)?;
    Ok(streams.push(labels, record))
}

#[cfg(test)]
mod tests;
