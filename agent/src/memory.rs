//! Memory of a process that is an agent and nothing else: what only the start needed is given back.

use tracing::debug;

/// Code and constants of the program's file are in memory since something touched them or their neighbours, most of them in
/// the first second: loading, relocation, the command line. What is still used comes back from the page cache as it is used.
pub fn give_back_code() {
    let (Ok(maps), Ok(program)) =
        (std::fs::read_to_string("/proc/self/maps"), std::fs::read_link("/proc/self/exe"))
    else {
        return;
    };
    for (start, end) in unwritten(&maps, &program.to_string_lossy()) {
        let given = give_back(start, end);
        debug!(bytes = end - start, given, "pages of the program's file are given back");
    }
}

/// Stretches of the program's file that nobody can have written to: its code, and the constants before it. Constants with
/// addresses in them stand behind the code; the loader has written those, and they are no longer what the file has.
fn unwritten(maps: &str, program: &str) -> Vec<(usize, usize)> {
    let mut found = vec![];
    for line in maps.lines() {
        // `start-end permissions offset device inode path`
        let mut words = line.split_whitespace();
        let (Some(range), Some(permissions), Some(offset)) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        let is_ours = words.nth(2).is_some_and(|path| path == program);
        let is_first = offset.bytes().all(|digit| digit == b'0');
        let is_unwritten = permissions == "r-xp" || (permissions == "r--p" && is_first);
        let bounds = range.split_once('-').and_then(|(start, end)| {
            Some((usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?))
        });
        if let Some(bounds) = bounds.filter(|_| is_ours && is_unwritten) {
            found.push(bounds);
        }
    }
    found
}

#[allow(unsafe_code)]
fn give_back(start: usize, end: usize) -> bool {
    // SAFETY: the range is a mapping of the program's own file, private and never written to. Its pages are read from the
    // file again when they are next used, with the same bytes.
    unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_DONTNEED) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
55d0c0000000-55d0c1000000 r--p 00000000 fe:00 123 /usr/local/bin/binnacle
55d0c1000000-55d0c2000000 r-xp 00fff000 fe:00 123 /usr/local/bin/binnacle
55d0c2000000-55d0c2100000 r--p 01ffe000 fe:00 123 /usr/local/bin/binnacle
55d0c2100000-55d0c2200000 rw-p 020fd000 fe:00 123 /usr/local/bin/binnacle
7f0000000000-7f0000100000 rw-p 00000000 00:00 0
7f1000000000-7f1000100000 r-xp 00028000 fe:00 456 /usr/lib/x86_64-linux-gnu/libc.so.6
7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0 [stack]
";

    #[test]
    fn only_what_nobody_wrote_to_is_given_back() {
        let found = unwritten(MAPS, "/usr/local/bin/binnacle");
        assert_eq!(found, [(0x55d0c0000000, 0x55d0c1000000), (0x55d0c1000000, 0x55d0c2000000)]);
        assert!(unwritten(MAPS, "/other").is_empty());
    }

    #[test]
    fn a_program_goes_on_after_it() {
        give_back_code();
        let text: String = (0..100).map(|n| n.to_string()).collect();
        assert_eq!(text.len(), 190);
    }
}
