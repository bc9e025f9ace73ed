//! Jaeger's own spans: the messages of `api_v2/model.proto` of jaegertracing/jaeger-idl, by their numbers.

#[derive(Clone, PartialEq, prost::Message)]
pub struct Span {
    #[prost(bytes = "vec", tag = "1")]
    pub trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub span_id: Vec<u8>,
    #[prost(string, tag = "3")]
    pub operation_name: String,
    #[prost(message, repeated, tag = "4")]
    pub references: Vec<SpanRef>,
    #[prost(message, optional, tag = "6")]
    pub start_time: Option<Seconds>,
    #[prost(message, optional, tag = "7")]
    pub duration: Option<Seconds>,
    #[prost(message, repeated, tag = "8")]
    pub tags: Vec<KeyValue>,
    #[prost(message, repeated, tag = "9")]
    pub logs: Vec<Log>,
    #[prost(message, optional, tag = "10")]
    pub process: Option<Process>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct SpanRef {
    #[prost(bytes = "vec", tag = "1")]
    pub trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub span_id: Vec<u8>,
    #[prost(int32, tag = "3")]
    pub ref_type: i32,
}

/// Types of references.
pub const CHILD_OF: i32 = 0;
pub const FOLLOWS_FROM: i32 = 1;

#[derive(Clone, PartialEq, prost::Message)]
pub struct Log {
    #[prost(message, optional, tag = "1")]
    pub timestamp: Option<Seconds>,
    #[prost(message, repeated, tag = "2")]
    pub fields: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Process {
    #[prost(string, tag = "1")]
    pub service_name: String,
    #[prost(message, repeated, tag = "2")]
    pub tags: Vec<KeyValue>,
}

/// Of the values one counts, as the type says.
#[derive(Clone, PartialEq, prost::Message)]
pub struct KeyValue {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(int32, tag = "2")]
    pub v_type: i32,
    #[prost(string, tag = "3")]
    pub v_str: String,
    #[prost(bool, tag = "4")]
    pub v_bool: bool,
    #[prost(int64, tag = "5")]
    pub v_int64: i64,
    #[prost(double, tag = "6")]
    pub v_float64: f64,
    #[prost(bytes = "vec", tag = "7")]
    pub v_binary: Vec<u8>,
}

/// Types of values; text is 0.
pub const BOOL: i32 = 1;
pub const INT64: i32 = 2;
pub const FLOAT64: i32 = 3;
pub const BINARY: i32 = 4;

impl KeyValue {
    pub fn text(key: &str, value: &str) -> KeyValue {
        KeyValue { key: key.to_owned(), v_str: value.to_owned(), ..KeyValue::default() }
    }

    pub fn of_type(key: &str, v_type: i32) -> KeyValue {
        KeyValue { key: key.to_owned(), v_type, ..KeyValue::default() }
    }
}

/// `google.protobuf.Timestamp`, and its `Duration`.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Seconds {
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

/// What Go's clients send where no time is given: the first of January of the year 1.
const NO_TIME_S: i64 = -62_135_596_800;

impl Seconds {
    pub fn of(ns: i64) -> Seconds {
        const SECOND_NS: i64 = 1_000_000_000;
        Seconds { seconds: ns.div_euclid(SECOND_NS), nanos: ns.rem_euclid(SECOND_NS) as i32 }
    }

    pub fn ns(self) -> i64 {
        self.seconds.saturating_mul(1_000_000_000).saturating_add(i64::from(self.nanos))
    }

    /// As a time, where one is given.
    pub fn time_ns(given: Option<Seconds>) -> Option<i64> {
        given.filter(|time| time.seconds > NO_TIME_S).map(Seconds::ns)
    }

    /// As a duration, where one is given: Go's clients send 0 where none is.
    pub fn length_ns(given: Option<Seconds>) -> Option<i64> {
        given.map(Seconds::ns).filter(|ns| *ns != 0)
    }
}
