//! A record of the queue: one batch as it is sent, and what the agent must know of it before it is.
//!
//! `│ 2 u8 │ kind 'm' 'l' 't' │ sender u128 │ tenant length u8 │ tenant │ positions length u32 │ positions JSON │ contents
//! length u32 │ contents JSON │ OTLP, zstd │`, little-endian. Earlier versions wrote no 2 and no sender, and a kind of 'M', 'L'
//! or 'T' where there are contents, else 'm', 'l' or 't' and none: those are of the sender that the queue's file names.

use super::contents::Contents;
use wal::Seq;

pub const KINDS: [(u8, &str); 3] = [(b'm', "metrics"), (b'l', "logs"), (b't', "traces")];

/// No letter: what begins with one is of an earlier version.
const VERSION: u8 = 2;

#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub seq: Seq,
    /// Ingest knows the record again by this and its place.
    pub sender: u128,
    pub kind: u8,
    pub tenant: String,
    pub positions: Vec<u8>,
    pub contents: Contents,
    pub body: Vec<u8>,
}

pub fn signal(kind: u8) -> usize {
    KINDS.iter().position(|(one, _)| *one == kind).unwrap_or(0)
}

impl Record {
    /// Path of the OTLP door.
    pub fn path(&self) -> &'static str {
        match self.kind {
            b'm' => "/otlp/v1/metrics",
            b'l' => "/otlp/v1/logs",
            _ => "/otlp/v1/traces",
        }
    }

    pub fn signal(&self) -> usize {
        signal(self.kind)
    }

    /// Without its place, which is told by where it lies.
    pub fn to_bytes(&self) -> Vec<u8> {
        let tenant = self.tenant.as_bytes();
        let contents = serde_json::to_vec(&self.contents).unwrap_or_default();
        let beside = tenant.len() + self.positions.len() + contents.len() + self.body.len();
        let mut out = Vec::with_capacity(27 + beside);
        out.extend_from_slice(&[VERSION, self.kind]);
        out.extend_from_slice(&self.sender.to_le_bytes());
        out.push(tenant.len() as u8);
        out.extend_from_slice(tenant);
        for counted in [&self.positions, &contents] {
            out.extend_from_slice(&(counted.len() as u32).to_le_bytes());
            out.extend_from_slice(counted);
        }
        out.extend_from_slice(&self.body);
        out
    }

    /// `earlier`: whose records are that name no sender.
    pub fn from_bytes(seq: Seq, bytes: &[u8], earlier: u128) -> Option<Record> {
        let (&kind, mut rest) = bytes.split_first()?;
        let (mut kind, mut sender) = (kind, earlier);
        let has_contents = kind == VERSION || kind.is_ascii_uppercase();
        if kind == VERSION {
            let (&own, after) = rest.split_first()?;
            let (of, after) = after.split_first_chunk::<16>()?;
            (kind, sender, rest) = (own, u128::from_le_bytes(*of), after);
        }
        let (&tenant_length, after) = rest.split_first()?;
        let (tenant, after) = after.split_at_checked(tenant_length as usize)?;
        let (positions, mut body) = counted(after)?;
        let mut contents = Contents::default();
        if has_contents {
            let (json, after) = counted(body)?;
            contents = serde_json::from_slice(json).unwrap_or_default();
            body = after;
        }
        Some(Record {
            seq,
            sender,
            kind: kind.to_ascii_lowercase(),
            tenant: String::from_utf8(tenant.to_vec()).ok()?,
            positions: positions.to_vec(),
            contents,
            body: body.to_vec(),
        })
    }
}

/// What stands behind its own length, and what follows.
fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_and_so_do_those_of_earlier_versions() {
        let record = Record {
            seq: 7,
            sender: 1 << 100,
            kind: b'l',
            tenant: "team".into(),
            positions: b"{}".to_vec(),
            contents: serde_json::from_str(r#"{"shop/p/cart":2}"#).unwrap(),
            body: b"body".to_vec(),
        };
        let told = |record: &Record| {
            let Record { sender, kind, tenant, positions, contents, body, .. } = record;
            (*sender, *kind, tenant.clone(), positions.clone(), contents.clone(), body.clone())
        };
        let bytes = record.to_bytes();
        assert_eq!(told(&Record::from_bytes(7, &bytes, 5).unwrap()), told(&record));
        for end in 0..bytes.len() - record.body.len() {
            assert!(Record::from_bytes(7, &bytes[..end], 5).is_none(), "{end}");
        }
        let contents = br#"{"shop/p/cart":2}"#;
        let with = [&b"L\x04team\x02\0\0\0{}"[..], &(contents.len() as u32).to_le_bytes(), contents, b"body"];
        let earlier = Record { sender: 5, ..record };
        assert_eq!(told(&Record::from_bytes(7, &with.concat(), 5).unwrap()), told(&earlier));
        let without = Record { contents: Contents::default(), ..earlier };
        let read = Record::from_bytes(7, b"l\x04team\x02\0\0\0{}body", 5).unwrap();
        assert_eq!(told(&read), told(&without));
    }
}
