//! JSON answers of any length, written piece by piece while they are sent: never is the whole text in memory.

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::stream;
use std::convert::Infallible;

/// About what one piece holds, in bytes; an item is never cut.
const PIECE_BYTES: usize = 64 << 10;

/// A text with a list in it.
pub(crate) struct Pieces<I, W> {
    /// What stands before the list, then what is written and not yet given.
    text: String,
    items: I,
    write: W,
    any: bool,
    /// What stands behind the list, until it is written.
    tail: Option<String>,
}

impl<I: Iterator, W: Fn(&mut String, I::Item)> Pieces<I, W> {
    /// `write` appends an item; commas are set here.
    pub fn new(head: String, items: I, tail: String, write: W) -> Pieces<I, W> {
        Pieces { text: head, items, write, any: false, tail: Some(tail) }
    }
}

impl<I: Iterator, W: Fn(&mut String, I::Item)> Iterator for Pieces<I, W> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let mut text = std::mem::take(&mut self.text);
        while text.len() < PIECE_BYTES {
            match self.items.next() {
                Some(item) => {
                    if std::mem::replace(&mut self.any, true) {
                        text.push(',');
                    }
                    (self.write)(&mut text, item);
                }
                None => {
                    text.push_str(&self.tail.take()?);
                    return Some(text);
                }
            }
        }
        Some(text)
    }
}

impl<I, W> IntoResponse for Pieces<I, W>
where
    I: Iterator + Send + 'static,
    W: Fn(&mut String, I::Item) + Send + 'static,
{
    /// What is one piece is sent with its length.
    fn into_response(mut self) -> Response {
        let first = self.next().unwrap_or_default();
        let body = match self.tail {
            None => Body::from(first),
            Some(_) => {
                Body::from_stream(stream::iter(std::iter::once(first).chain(self).map(Ok::<_, Infallible>)))
            }
        };
        ([(header::CONTENT_TYPE, "application/json")], body).into_response()
    }
}
