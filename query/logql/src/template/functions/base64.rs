//! Standard base64 with padding, as templates use it.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub(super) fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0u32, |group, b| group << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let code = (group >> (18 - 6 * at)) & 63;
            out.push(if at <= chunk.len() { ALPHABET[code as usize] as char } else { '=' });
        }
    }
    out
}

/// The text, or what Go says of one that is none. Ends of lines may stand between its characters.
pub(super) fn decode(text: &str) -> Result<String, String> {
    let illegal = |at: usize| format!("illegal base64 data at input byte {at}");
    let text = text.as_bytes();
    let behind_lines = |mut at: usize| {
        while matches!(text.get(at), Some(b'\n' | b'\r')) {
            at += 1;
        }
        at
    };
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut at, mut group, mut count) = (behind_lines(0), 0u32, 0);
    while let Some(byte) = text.get(at) {
        let Some(code) = ALPHABET.iter().position(|known| known == byte) else { break };
        group = group << 6 | code as u32;
        count += 1;
        if count == 4 {
            bytes.extend_from_slice(&group.to_be_bytes()[1..]);
            (group, count) = (0, 0);
        }
        at = behind_lines(at + 1);
    }
    match text.get(at) {
        None if count == 0 => {}
        None => return Err(illegal(text.len() - count)),
        Some(b'=') if count >= 2 => {
            let end = padding_end(text, behind_lines(at + 1), count).map_err(illegal)?;
            let end = behind_lines(end);
            if end < text.len() {
                return Err(illegal(end));
            }
            group <<= 6 * (4 - count);
            bytes.extend_from_slice(&group.to_be_bytes()[1..count]);
        }
        Some(_) => return Err(illegal(at)),
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Where the padding ends whose second character would stand at `at`; else where it is wrong.
fn padding_end(text: &[u8], at: usize, count: usize) -> Result<usize, usize> {
    match text.get(at) {
        _ if count == 3 => Ok(at),
        Some(b'=') => Ok(at + 1),
        Some(_) => Err(at - 1),
        None => Err(text.len()),
    }
}
