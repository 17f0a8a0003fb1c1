//! Whether LMDB's file is as long as its own head says. LMDB maps the file and trusts it: reading a page that is not
//! there kills the process with SIGBUS, without a word.
//!
//! Called by `Store::open` before the map is made. Not a check of the content: that is LMDB's and the registry's.
//! Invariant: a file that LMDB would not open anyway passes, so that LMDB says why.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// LMDB's two heads lie in the first two pages; whatever the page's size, a head's used part ends before this.
const HEAD: usize = 152;
/// LMDB's page size is the system's; the largest that Linux has.
const MAX_PAGE: u64 = 65_536;
/// Start of each of LMDB's heads, behind 16 bytes that all pages have.
const MAGIC: [u8; 4] = 0xBEEF_C0DE_u32.to_ne_bytes();
/// Offsets inside a page that holds a head; LMDB 0.9 on 64-bit machines.
const MAGIC_AT: usize = 16;
const PAGE_SIZE_AT: usize = 40;
const LAST_PAGE_AT: usize = 136;
const TRANSACTION_AT: usize = 144;

/// Says what is wrong with `data.mdb` in the folder, if the file is too short.
pub(super) fn check(folder: &Path) -> io::Result<()> {
    if usize::BITS != 64 {
        return Ok(());
    }
    let mut file = match File::open(folder.join("data.mdb")) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    let mut start = Vec::new();
    file.by_ref()
        .take(MAX_PAGE + HEAD as u64)
        .read_to_end(&mut start)?;
    let Some(needed) = needed(&start) else {
        return Ok(());
    };
    if needed > length {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            format!(
                "data.mdb has {length} bytes, but by its own head it should have {needed}: it is cut off or damaged"
            ),
        ));
    }
    Ok(())
}

/// Bytes that the newer of the two heads speaks of; `None`: this is no file of LMDB's, or an empty one.
fn needed(start: &[u8]) -> Option<u64> {
    let page_size = u64::from(u32::from_ne_bytes(at(start, PAGE_SIZE_AT)?));
    let is_head = |head: &&[u8]| at(head, MAGIC_AT) == Some(MAGIC);
    let first = Some(start).filter(is_head)?;
    let second = usize::try_from(page_size)
        .ok()
        .and_then(|size| start.get(size..));
    let transaction = |head: &[u8]| at(head, TRANSACTION_AT).map(u64::from_ne_bytes);
    let newer = second
        .filter(is_head)
        .filter(|second| transaction(second) > transaction(first))
        .unwrap_or(first);
    let last_page = u64::from_ne_bytes(at(newer, LAST_PAGE_AT)?);
    Some(last_page.saturating_add(1).saturating_mul(page_size))
}

fn at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..offset + N)?.try_into().ok()
}
