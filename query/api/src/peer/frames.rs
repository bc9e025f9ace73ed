//! Frames: how an answer is cut into pieces, each whole by itself.

use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::Serialize;
use store::ReadError;

/// A frame that claims more is not one of ours.
const FRAME_BYTES_MAX: usize = 1 << 30;

#[derive(Debug, PartialEq)]
pub struct Frame {
    pub kind: u8,
    pub body: Bytes,
}

impl Frame {
    fn new(kind: u8, body: impl Into<Bytes>) -> Frame {
        Frame { kind, body: body.into() }
    }

    pub fn json(value: &impl Serialize) -> Frame {
        match serde_json::to_vec(value) {
            Ok(text) => Frame::new(b'j', text),
            Err(wrong) => Frame::error(&ReadError::Io(wrong.to_string())),
        }
    }

    pub fn warnings(warnings: &[String]) -> Frame {
        let mut frame = Frame::json(&warnings);
        frame.kind = b'w';
        frame
    }

    pub fn error(wrong: &ReadError) -> Frame {
        let kind = match wrong {
            ReadError::Io(_) => b'e',
            ReadError::TooMuch(_) => b't',
        };
        Frame::new(kind, wrong.to_string())
    }

    pub fn end() -> Frame {
        Frame::new(b'z', Bytes::new())
    }

    pub fn of(batch: Result<RecordBatch, ReadError>) -> Frame {
        let encoded = batch.and_then(|batch| {
            let mut out = vec![];
            let failed = |wrong: arrow::error::ArrowError| ReadError::Io(wrong.to_string());
            let mut writer = StreamWriter::try_new(&mut out, &batch.schema()).map_err(failed)?;
            writer.write(&batch).and_then(|()| writer.finish()).map_err(failed)?;
            Ok(out)
        });
        match encoded {
            Ok(body) if body.len() > FRAME_BYTES_MAX => Frame::error(&ReadError::TooMuch(format!(
                "a batch of {} bytes is more than a peer takes; narrow the range or the labels",
                body.len()
            ))),
            Ok(body) => Frame::new(b'b', body),
            Err(wrong) => Frame::error(&wrong),
        }
    }

    pub fn batches(&self) -> Result<Vec<RecordBatch>, ReadError> {
        let failed = |wrong: arrow::error::ArrowError| ReadError::Io(format!("a peer's batch: {wrong}"));
        StreamReader::try_new(&self.body[..], None).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)
    }

    pub fn encode(self) -> Bytes {
        let mut out = BytesMut::with_capacity(5 + self.body.len());
        out.put_u8(self.kind);
        out.put_u32_le(self.body.len() as u32);
        out.put(self.body);
        out.freeze()
    }

    /// Takes a whole frame from the front, if there is one.
    pub fn take(buffer: &mut BytesMut) -> Result<Option<Frame>, ReadError> {
        if buffer.len() < 5 {
            return Ok(None);
        }
        let length = (&buffer[1..5]).get_u32_le() as usize;
        if length > FRAME_BYTES_MAX {
            return Err(ReadError::Io(format!("a peer's frame of {length} bytes")));
        }
        if buffer.len() < 5 + length {
            return Ok(None);
        }
        let kind = buffer.get_u8();
        buffer.advance(4);
        Ok(Some(Frame { kind, body: buffer.split_to(length).freeze() }))
    }
}
