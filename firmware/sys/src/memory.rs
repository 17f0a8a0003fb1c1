//! Giving back memory that was only needed for a while. Called by `init` after the boot and by daemons after their start.
//!
//! Invariant: only pages that the kernel can read again from the program's file are given back.

use nix::errno::Errno;
use std::fs;

/// Unmaps this program's code and constants; what is used afterwards is mapped again from the page cache, what was
/// only used for booting is not. Returns the bytes that were unmapped.
pub fn release_code() -> Result<usize, Errno> {
    let maps = fs::read_to_string("/proc/self/maps").map_err(|_| Errno::ENOENT)?;
    let mut released = 0;
    for (start, length) in maps.lines().filter_map(code_range) {
        // SAFETY: the range is a private, never written mapping of the program's file (see `code_range`), so its
        // pages come back with the same content; the call does not change what is mapped.
        let result = unsafe {
            libc::madvise(
                std::ptr::without_provenance_mut(start),
                length,
                libc::MADV_DONTNEED,
            )
        };
        Errno::result(result)?;
        released += length;
    }
    Ok(released)
}

/// Start and length of a mapping in a line of /proc/self/maps, if it is code, or the constants at the beginning of the
/// file. Other read-only mappings may be relocated data, whose content is not in the file.
fn code_range(line: &str) -> Option<(usize, usize)> {
    let mut columns = line.split_ascii_whitespace();
    let (start, end) = columns.next()?.split_once('-')?;
    let (permissions, offset) = (columns.next()?, columns.next()?);
    let of_file = columns.nth(2).is_some_and(|path| path.starts_with('/'));
    let at_beginning = offset.bytes().all(|digit| digit == b'0');
    if !of_file || !(permissions == "r-xp" || permissions == "r--p" && at_beginning) {
        return None;
    }
    let (start, end) = (
        usize::from_str_radix(start, 16).ok()?,
        usize::from_str_radix(end, 16).ok()?,
    );
    Some((start, end.checked_sub(start)?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_code_and_leading_constants_of_a_file_count() {
        assert_eq!(
            code_range("00200000-0022f000 r--p 00000000 fe:02 12   /init"),
            Some((0x20_0000, 0x2_f000))
        );
        assert_eq!(
            code_range("0022f000-00280000 r-xp 0002e000 fe:02 12   /init"),
            Some((0x22_f000, 0x5_1000))
        );
        assert_eq!(
            code_range("00280000-00285000 r--p 0007f000 fe:02 12   /init"),
            None
        );
        assert_eq!(
            code_range("00285000-00286000 rw-p 00083000 fe:02 12   /init"),
            None
        );
        assert_eq!(
            code_range("ffff0000-ffff1000 r-xp 00000000 00:00 0    [vdso]"),
            None
        );
        assert_eq!(code_range("nonsense"), None);
    }

    #[test]
    fn the_program_goes_on_after_a_release() {
        assert!(release_code().unwrap() > 0);
        assert_eq!(format!("{:?}", [1, 2]), "[1, 2]");
    }
}
