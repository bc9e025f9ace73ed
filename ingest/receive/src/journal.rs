//! What systemd-journal-upload sends: the whole journal, or all that is new in it, as one body of any length. It is
//! stored batch by batch while it arrives, so memory does not follow its length.

use crate::body::{self, text};
use crate::doors::{Caller, Doors, Refusal, told};
use crate::prometheus::refused;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use model::{Batch, Receipt};
use std::sync::Arc;
use std::time::Duration;
use wire::Malformed;
use wire::compression::Encoding;
use wire::journal::Decoder;

const CONTENT_TYPE: &str = "application/vnd.fdo.journal";

/// A batch is written at either size.
const BATCH_RECORDS: usize = 1_000;
const BATCH_BYTES: usize = 1 << 20;

/// What an upload may take while it lasts: an entry, a batch, and what arrived last.
const ROOM_BYTES: usize = 8 << 20;

/// A store that is busy is asked again: an upload that is refused in its middle begins anew, and what was stored of it
/// would be there twice.
const TRIES: usize = 30;

/// Fed at one time, so that a large piece does not become a batch of its own size.
const PIECE_BYTES: usize = 64 << 10;

/// 202, as systemd-journal-remote says it. The uploader takes any other answer for the end of its work, so what was left
/// out is told with it.
pub async fn upload(State(doors): State<Arc<Doors>>, headers: HeaderMap, body: Body) -> Response {
    match take(&doors, headers, body).await {
        Ok(receipt) => {
            let said = told(&receipt).map_or_else(|| "OK.\n".into(), |why| format!("OK, but {why}\n"));
            (StatusCode::ACCEPTED, said).into_response()
        }
        Err(refusal) => refused(&doors, &refusal),
    }
}

async fn take(doors: &Doors, headers: HeaderMap, body: Body) -> Result<Receipt, Refusal> {
    // An origin names one batch, and this is many.
    let caller = Caller { origin: None, ..Caller::of(&headers)? };
    let kind = text(&headers, header::CONTENT_TYPE).unwrap_or("");
    if kind.split(';').next().unwrap_or("").trim() != CONTENT_TYPE {
        let why = format!("Content-Type {kind:?}: the journal export format is {CONTENT_TYPE}");
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
    }
    let mut upload = Upload { doors, caller, decoder: Decoder::default(), receipt: Receipt::default() };
    if text(&headers, header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        let body = body::read(doors, &headers, body, Encoding::Identity).await?;
        upload.feed(&body.bytes).await?;
        return upload.finish().await;
    }
    let _room = doors.admit(ROOM_BYTES)?;
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|wrong| Malformed(format!("the body ended early: {wrong}")))?;
        upload.feed(&piece).await?;
    }
    upload.finish().await
}

struct Upload<'d> {
    doors: &'d Doors,
    caller: Caller,
    decoder: Decoder,
    receipt: Receipt,
}

impl Upload<'_> {
    async fn feed(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        for piece in bytes.chunks(PIECE_BYTES) {
            // What was whole before a mistake is stored.
            let fed = self.decoder.feed(piece);
            let (records, bytes) = self.decoder.held();
            if records >= BATCH_RECORDS || bytes >= BATCH_BYTES || fed.is_err() {
                self.write().await?;
            }
            fed?;
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<Receipt, Refusal> {
        let ended = self.decoder.finish();
        self.write().await?;
        ended?;
        Ok(self.receipt)
    }

    async fn write(&mut self) -> Result<(), Refusal> {
        let decoded = self.decoder.take();
        let mut tries = 1;
        let written = loop {
            let batch = Batch::Logs(decoded.batch.clone());
            match self.doors.write(self.caller.clone(), batch, decoded.rejected.clone()).await {
                Err(busy) if busy.status == StatusCode::TOO_MANY_REQUESTS && tries < TRIES => {
                    tries += 1;
                    tokio::time::sleep(busy.retry_after.unwrap_or(Duration::from_secs(1))).await;
                }
                other => break other?,
            }
        };
        self.receipt.accepted += written.accepted;
        for row in written.rejected {
            self.receipt.reject_many(row.reason, row.count, || row.example);
        }
        Ok(())
    }
}
