//! Images of a few MiB, made up here, written to files that stand for cards.
#![allow(clippy::unwrap_used)]
use super::*;
use crate::disk::tests::small_disk;

fn image(folder: &Path) -> PathBuf {
    let path = folder.join("nesos.img");
    std::fs::write(&path, small_disk()).unwrap();
    path
}

fn packed(folder: &Path, bytes: &[u8]) -> PathBuf {
    let path = folder.join("nesos.img.zst");
    std::fs::write(&path, zstd::encode_all(bytes, 3).unwrap()).unwrap();
    path
}

fn flash(image: &Path, target: &Target) -> Result<Written, FlashError> {
    let written = write(&mut Source::open(image)?, target, &mut |_| {})?;
    verify(target, &written, &mut |_| {})?;
    Ok(written)
}

#[test]
fn a_file_gets_every_byte_and_keeps_its_holes() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = small_disk();
    let card = folder.path().join("card.img");
    for source in [image(folder.path()), packed(folder.path(), &bytes)] {
        let written = flash(&source, &Target::file(&card).unwrap()).unwrap();
        assert!(std::fs::read(&card).unwrap() == bytes);
        assert_eq!(written.bytes, bytes.len() as u64);
        assert!(written.changed < written.bytes);
        assert_eq!(written.sha256, hex(&Sha256::digest(&bytes)));
    }
}

#[test]
fn nothing_of_what_a_card_held_is_left_inside_of_the_image() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = small_disk();
    let card = folder.path().join("card");
    std::fs::write(&card, vec![0xff; bytes.len() + CHUNK]).unwrap();
    // Opened as a disk: its length is its own, and what it holds counts.
    let target = Target::disk(&card, true).unwrap();
    let first = flash(&image(folder.path()), &target).unwrap();
    assert_eq!(first.changed, first.bytes);
    let held = std::fs::read(&card).unwrap();
    assert!(held[..bytes.len()] == bytes && held[bytes.len()..].iter().all(|b| *b == 0xff));
    let second = flash(&image(folder.path()), &target).unwrap();
    assert_eq!(
        second.changed, 0,
        "the same image again is not written again"
    );
}

#[test]
fn a_card_that_forgets_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let card = folder.path().join("card");
    let target = Target::file(&card).unwrap();
    let mut source = Source::open(&image(folder.path())).unwrap();
    let written = write(&mut source, &target, &mut |_| {}).unwrap();
    let at = CHUNK as u64 + 7;
    target.file.write_all_at(b"x", at).unwrap();
    let error = verify(&target, &written, &mut |_| {})
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("byte 1048576 and following differ"),
        "{error}"
    );
}

#[test]
fn what_is_no_whole_image_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = small_disk();
    let card = folder.path().join("card");
    let cut = packed(folder.path(), &bytes[..bytes.len() - 4096]);
    let error = flash(&cut, &Target::file(&card).unwrap())
        .unwrap_err()
        .to_string();
    assert!(error.contains("it is cut off"), "{error}");
    let mut damaged = std::fs::read(packed(folder.path(), &bytes)).unwrap();
    damaged.truncate(damaged.len() / 2);
    std::fs::write(folder.path().join("half"), &damaged).unwrap();
    assert!(flash(&folder.path().join("half"), &Target::file(&card).unwrap()).is_err());
    let holiday = folder.path().join("holiday.jpg");
    std::fs::write(&holiday, vec![1; 4096]).unwrap();
    let error = Source::open(&holiday).unwrap_err().to_string();
    assert!(
        error.contains("is not a Nesos image: no partition table"),
        "{error}"
    );
}
