use super::*;
use model::attribute;

/// As `journalctl -o export` writes: the second entry's message has a line feed, and so a length.
fn two() -> Vec<u8> {
    let mut body = b"__CURSOR=s=1;i=2\n__REALTIME_TIMESTAMP=1772366400123456\n__MONOTONIC_TIMESTAMP=77\n_BOOT_ID=b00\n\
        _HOSTNAME=node-1\nPRIORITY=3\nSYSLOG_IDENTIFIER=sshd\n_PID=42\n_SYSTEMD_UNIT=ssh.service\nMESSAGE=refused a=b\n\n"
        .to_vec();
    body.extend(b"__REALTIME_TIMESTAMP=1772366401000000\nSYSLOG_IDENTIFIER=kernel\nMESSAGE\n");
    body.extend(9u64.to_le_bytes());
    body.extend(b"one\ntwo\n\xff\nBLOB\n");
    body.extend(2u64.to_le_bytes());
    body.extend(b"\x00\xfe\n_TRANSPORT=kernel\n\n");
    body
}

fn decode(body: &[u8], piece: usize) -> Result<Decoded<LogBatch>, Malformed> {
    let mut decoder = Decoder::default();
    body.chunks(piece).try_for_each(|piece| decoder.feed(piece))?;
    decoder.finish()?;
    Ok(decoder.take())
}

#[test]
fn entries_are_the_same_however_the_bytes_arrive() {
    let whole = decode(&two(), usize::MAX).unwrap();
    for piece in [1, 2, 3, 7, 64] {
        assert_eq!(decode(&two(), piece).unwrap(), whole, "{piece}");
    }
    let streams = &whole.batch.streams;
    let labels =
        [("job", "systemd-journal"), ("unit", "ssh.service"), ("service_name", "ssh"), ("node", "node-1")];
    assert_eq!(streams[0].labels, Labels::from_pairs(labels));
    let (first, second) = (&streams[0].records[0], &streams[1].records[0]);
    assert_eq!(
        (first.ts_ns, first.severity, first.body.as_str()),
        (1_772_366_400_123_456_000, 17, "refused a=b")
    );
    let pairs = [("SYSLOG_IDENTIFIER", "sshd"), ("process.pid", "42"), ("_BOOT_ID", "b00")];
    let expected: Attributes =
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
    assert_eq!(first.attributes, expected);
    assert_eq!((second.severity, second.body.as_str()), (0, "one\ntwo\n\u{fffd}"));
    assert_eq!(attribute(&second.attributes, "BLOB"), Some(&Value::Bytes(vec![0, 0xfe])));
    assert_eq!(streams[1].labels.get("service_name"), Some("kernel"));
}

#[test]
fn a_body_that_is_cut_or_another_format_says_where() {
    let mut body = two();
    body.truncate(body.len() - 1);
    assert_eq!(decode(&body, 5).unwrap().batch.records(), 2, "the last empty line may be missing");
    for (cut, says) in [(2, "ends inside a field"), (30, "ends inside a field")] {
        let wrong = decode(&two()[..two().len() - cut], 5).unwrap_err();
        assert!(wrong.0.contains(says), "{cut}: {wrong}");
    }
    for (body, says) in [
        (&b"=x\n"[..], "without a name, at byte 0"),
        (&b"A\n\x01\0\0\0\0\0\0\0xy"[..], "no newline behind a value with a length, at byte 11"),
        (&[b'x'; 300][..], "name is too long"),
    ] {
        let wrong = decode(body, usize::MAX).unwrap_err();
        assert!(wrong.0.contains(says), "{wrong}");
    }
}

#[test]
fn an_entry_without_a_time_is_counted_and_the_others_stay() {
    let mut body = b"MESSAGE=lost\n\n__REALTIME_TIMESTAMP=soon\nMESSAGE=lost\n\n".to_vec();
    body.extend(two());
    let decoded = decode(&body, usize::MAX).unwrap();
    assert_eq!(decoded.batch.records(), 2);
    assert_eq!(
        (decoded.rejected.0[0].reason, decoded.rejected.0[0].count),
        (RejectReason::InvalidDocument, 2)
    );
}

#[test]
fn what_an_entry_holds_is_bounded() {
    let mut body = b"__REALTIME_TIMESTAMP=1\nMESSAGE=kept\nCOREDUMP\n".to_vec();
    body.extend((64u64 << 20).to_le_bytes());
    body.extend(vec![0; 64 << 20]);
    body.extend(b"\nMORE\n");
    body.extend((3u64 << 20).to_le_bytes());
    body.extend(vec![b'x'; 3 << 20]);
    body.push(b'\n');
    let decoded = decode(&body, 1 << 16).unwrap();
    let record = &decoded.batch.streams[0].records[0];
    assert_eq!(record.body, "kept");
    let held: usize = record.attributes.iter().map(|(_, value)| value.to_string().len()).sum();
    assert!(held <= 2 * ENTRY_BYTES_MAX, "{held}");
    assert_eq!(attribute(&record.attributes, DROPPED), Some(&Value::Int(1)));
}
