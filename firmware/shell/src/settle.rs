//! What a daemon gives back once it has started.
//!
//! Called once by a daemon's `main`, as a task beside everything else. The kernel maps sixteen pages of a program's code for each that is
//! touched, so that after the start nearly all of it counts as resident. Invariant: nothing is lost; what is used again is mapped again, from
//! the page cache as long as the kernel has no better use for that.

use std::time::Duration;

/// By then a daemon has read its disk, made its keys, and found the others.
const SETTLED: Duration = Duration::from_secs(10);

/// Waits until the start is over, then unmaps the program's code.
pub async fn release_startup_code() {
    tokio::time::sleep(SETTLED).await;
    match nesos_sys::memory::release_code() {
        Ok(bytes) => tracing::debug!("unmapped {bytes} bytes of code"),
        Err(error) => tracing::debug!("unmap code: {error}"),
    }
}
