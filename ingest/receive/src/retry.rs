//! How long a sender is asked to wait, in gRPC's words: `google.rpc.RetryInfo` among a status's details. Exporters of OTLP
//! that are not told come again sooner, and give up sooner.

use bytes::Bytes;
use prost::Message;
use std::time::Duration;
use tonic::{Code, Status};

/// `google.rpc.Status`, as it is in the trailer `grpc-status-details-bin`.
#[derive(Clone, PartialEq, prost::Message)]
struct Details {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, prost::Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, prost::Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

pub fn unavailable(why: String, after: Option<Duration>) -> Status {
    let Some(after) = after else { return Status::unavailable(why) };
    let delay = Delay { seconds: after.as_secs() as i64, nanos: after.subsec_nanos() as i32 };
    let info = RetryInfo { retry_delay: Some(delay) };
    let type_url = "type.googleapis.com/google.rpc.RetryInfo".to_owned();
    let details = vec![Any { type_url, value: info.encode_to_vec() }];
    let details = Details { code: Code::Unavailable as i32, message: why.clone(), details };
    Status::with_details(Code::Unavailable, why, Bytes::from(details.encode_to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_how_long_to_wait() {
        let status = unavailable("full".into(), Some(Duration::from_millis(5_250)));
        assert_eq!((status.code(), status.message()), (Code::Unavailable, "full"));
        // Code 14, the text, and an Any with 5 s and 250,000,000 ns.
        let mut expected = vec![0x08, 14, 0x12, 4, b'f', b'u', b'l', b'l', 0x1a, 53, 0x0a, 40];
        expected.extend_from_slice(b"type.googleapis.com/google.rpc.RetryInfo");
        expected.extend_from_slice(&[0x12, 9, 0x0a, 7, 0x08, 5, 0x10, 0x80, 0xe5, 0x9a, 0x77]);
        assert_eq!(status.details(), expected);
        assert!(unavailable("stopping".into(), None).details().is_empty());
    }
}
