//! What a daemon gives back once it has started.
//!
//! Called once by a daemon's `main`, as a task beside everything else; by masterd's also whenever it has been busy and is not any more. The kernel maps sixteen pages of a program's code for each that is
//! touched, so that after the start nearly all of it counts as resident. Invariant: nothing is lost; what is used again is mapped again, from
//! the page cache as long as the kernel has no better use for that.

use std::time::Duration;

use tokio::sync::watch;

/// By then a daemon has read its disk, made its keys, and found the others.
const SETTLED: Duration = Duration::from_secs(10);

/// Quiet for so long, a daemon has no use any more for what it did before.
const QUIET: Duration = Duration::from_secs(5);

/// Waits until the start is over, then unmaps the program's code.
pub async fn release_startup_code() {
    tokio::time::sleep(SETTLED).await;
    release_code();
}

/// The same, and then again each time after there was something to do, which `busy` tells, and is nothing any more. Who is quiet
/// is not woken up.
pub async fn release_unused_code(mut busy: watch::Receiver<()>) {
    release_startup_code().await;
    while busy.changed().await.is_ok() {
        loop {
            busy.mark_unchanged();
            tokio::time::sleep(QUIET).await;
            if !busy.has_changed().unwrap_or_default() {
                break;
            }
        }
        release_code();
    }
}

fn release_code() {
    match nesos_sys::memory::release_code() {
        Ok(bytes) => tracing::debug!("unmapped {bytes} bytes of code"),
        Err(error) => tracing::debug!("unmap code: {error}"),
    }
}
