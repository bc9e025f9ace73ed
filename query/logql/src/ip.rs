//! `ip("…")`: one address, a CIDR block or a range, sought in a label's value or anywhere in a line.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A set of addresses, with the text that it was written as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpMatch {
    text: String,
    first: u128,
    last: u128,
    v4: bool,
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => u128::from(ip),
    }
}

impl IpMatch {
    /// A set of no address, for a text that is none.
    pub(crate) fn none(text: &str) -> IpMatch {
        IpMatch { text: text.to_owned(), first: 1, last: 0, v4: true }
    }

    /// `None` where the text is no address, block or range.
    pub fn parse(text: &str) -> Option<IpMatch> {
        let make = |first: u128, last: u128, v4| {
            (first <= last).then(|| IpMatch { text: text.to_owned(), first, last, v4 })
        };
        if let Some((address, bits)) = text.split_once('/') {
            let ip: IpAddr = address.trim().parse().ok()?;
            let bits: u32 = bits.trim().parse().ok()?;
            let width = if ip.is_ipv4() { 32 } else { 128 };
            let host = width - bits.min(width);
            if bits > width {
                return None;
            }
            let mask = if host == 128 { u128::MAX } else { (1u128 << host) - 1 };
            return make(number(ip) & !mask, number(ip) | mask, ip.is_ipv4());
        }
        if let Some((from, to)) = text.split_once('-') {
            let (from, to): (IpAddr, IpAddr) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
            if from.is_ipv4() != to.is_ipv4() {
                return None;
            }
            return make(number(from), number(to), from.is_ipv4());
        }
        let ip: IpAddr = text.trim().parse().ok()?;
        make(number(ip), number(ip), ip.is_ipv4())
    }

    pub fn contains(&self, address: &str) -> bool {
        let ip: Option<IpAddr> = if self.v4 {
            address.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
        } else {
            address.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
        };
        ip.is_some_and(|ip| (self.first..=self.last).contains(&number(ip)))
    }

    /// Whether any address of the set stands in the line, between characters that cannot belong to an address.
    pub fn found_in(&self, line: &str) -> bool {
        let part = |c: char| c.is_ascii_hexdigit() || c == '.' || c == ':';
        let v4_part = |c: char| c.is_ascii_digit() || c == '.';
        line.split(|c| if self.v4 { !v4_part(c) } else { !part(c) })
            .filter(|word| word.len() >= 2)
            .any(|word| self.contains(word.trim_end_matches(['.', ':'])) || self.contains(word))
    }
}

impl fmt::Display for IpMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_ranges_and_addresses() {
        let block = IpMatch::parse("192.168.4.5/16").unwrap();
        assert!(block.contains("192.168.255.1") && !block.contains("192.169.0.0"));
        let range = IpMatch::parse("2001:db8::1-2001:db8::8").unwrap();
        assert!(range.contains("2001:db8::7") && !range.contains("2001:db8::9"));
        assert!(IpMatch::parse("1.2.3.4").unwrap().found_in("from 1.2.3.4:80 ok"));
        assert!(!IpMatch::parse("1.2.3.4").unwrap().found_in("from 11.2.3.4"));
        for bad in ["", "abc", "1.2.3.4/33", "9.9.9.9-1.1.1.1", "1.1.1.1-::1"] {
            assert!(IpMatch::parse(bad).is_none(), "{bad}");
        }
        assert!(IpMatch::parse("::/0").unwrap().contains("::1"));
    }
}
