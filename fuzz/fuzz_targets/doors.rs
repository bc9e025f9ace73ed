//! What senders may write to any door. The first byte chooses the decoder, the rest is the body. A decoder may refuse;
//! it may not panic, and what it takes it must be able to write and read again where there is a writer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::compression::Encoding;
use wire::otlp::{self, Notation};

const NOW_NS: i64 = 1_790_000_000_000_000_000;
const NOW_MS: i64 = NOW_NS / 1_000_000;
const DECOMPRESSED_MAX: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let Some((which, body)) = data.split_first() else { return };
    match which % 20 {
        0 => otlp_metrics(Notation::Protobuf, body),
        1 => otlp_metrics(Notation::Json, body),
        2 => otlp_logs(Notation::Protobuf, body),
        3 => otlp_logs(Notation::Json, body),
        4 => otlp_spans(Notation::Protobuf, body),
        5 => otlp_spans(Notation::Json, body),
        6 => remote_write(body),
        7 => drop(wire::remote_write::v2::decode(body)),
        8 => exposition(body),
        9 => drop(wire::exposition::protobuf::parse(body, NOW_MS, true)),
        10 => drop(wire::loki::decode_protobuf(body, &[])),
        11 => drop(wire::loki::decode_json(body, &["app".to_owned()])),
        12 => drop(wire::elastic::bulk(body, Some("logs"), NOW_NS, &mut |_, _, _, _| None)),
        13 => drop(wire::jsonline::decode(body, &Default::default(), NOW_NS)),
        14 => syslog(body),
        15 => journal(body),
        16 => drop(wire::jaeger::decode_thrift(body)),
        17 => drop((wire::zipkin::decode_json(body), wire::zipkin::decode_protobuf(body))),
        18 => influx(body),
        _ => compressed(body),
    }
});

fn otlp_metrics(notation: Notation, body: &[u8]) {
    let Ok(request) = notation.read::<otlp::ExportMetricsServiceRequest>(body) else { return };
    let deltas = otlp::Deltas::new(1 << 20);
    let mut sums = otlp::Sums::over(&deltas, NOW_MS);
    otlp::metrics(request, &otlp::Translation::default(), &mut sums);
}

fn otlp_logs(notation: Notation, body: &[u8]) {
    let Ok(request) = notation.read::<otlp::ExportLogsServiceRequest>(body) else { return };
    let batch = otlp::logs(request, NOW_NS, &[]).batch;
    Notation::Protobuf
        .read::<otlp::ExportLogsServiceRequest>(&otlp::encode_logs(&batch))
        .expect("what was written is read");
}

fn otlp_spans(notation: Notation, body: &[u8]) {
    let Ok(decoded) = otlp::decode_spans(notation, body, &otlp::Resources::default()) else { return };
    let batch = decoded.batch;
    Notation::Protobuf
        .read::<otlp::TracesData>(&otlp::encode_spans(&batch))
        .expect("what was written is read");
}

fn remote_write(body: &[u8]) {
    let Ok(decoded) = wire::remote_write::decode(body) else { return };
    let written = Encoding::Snappy.decompress(wire::remote_write::encode(&decoded.batch).into(), usize::MAX);
    wire::remote_write::decode(&written.expect("it is compressed")).expect("what was written is read");
}

fn exposition(body: &[u8]) {
    let Ok(text) = std::str::from_utf8(body) else { return };
    if let Ok(decoded) = wire::exposition::parse(text, NOW_MS) {
        wire::exposition::native::classic_to_native(decoded.batch, true);
    }
    drop(wire::exposition::openmetrics::parse(text, NOW_MS));
}

fn syslog(body: &[u8]) {
    let arrival = wire::syslog::Arrival { now_ns: NOW_NS, peer: "192.0.2.1", zone: chrono::Utc };
    let mut framer = wire::syslog::Framer::default();
    // In two parts, as a socket may give them.
    let (head, tail) = body.split_at(body.len() / 2);
    let mut frames = framer.feed(head);
    frames.extend(framer.feed(tail));
    frames.extend(framer.finish());
    frames.extend(wire::syslog::datagram(body));
    wire::syslog::batch(&frames, &arrival);
}

fn journal(body: &[u8]) {
    let mut decoder = wire::journal::Decoder::default();
    let (head, tail) = body.split_at(body.len() / 2);
    if decoder.feed(head).and_then(|()| decoder.feed(tail)).and_then(|()| decoder.finish()).is_ok() {
        decoder.take();
    }
}

fn influx(body: &[u8]) {
    let Ok(text) = std::str::from_utf8(body) else { return };
    for word in ["ns", "s"] {
        if let Some(precision) = wire::influx::Precision::from_word(word) {
            wire::influx::decode(text, precision, Some("db"), NOW_MS);
        }
    }
}

fn compressed(body: &[u8]) {
    for name in ["gzip", "snappy", "zstd", "deflate"] {
        if let Some(encoding) = Encoding::from_header(name)
            && let Ok(bytes) = encoding.decompress(bytes::Bytes::copy_from_slice(body), DECOMPRESSED_MAX)
        {
            assert!(bytes.len() <= DECOMPRESSED_MAX);
        }
    }
}
