//! The board's clocks: boot time, wall clock, real-time clock. Not a time source for cores (they are given `now`).
//!
//! Called by `init`. Invariant: reading never fails; a clock that does not exist reads as zero.

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime, clock_settime};
use std::fs;

/// Microseconds since the kernel started, the time of sleep included.
pub fn since_boot_micros() -> u64 {
    clock_gettime(ClockId::CLOCK_BOOTTIME)
        .map(|t| {
            (t.tv_sec() as u64)
                .saturating_mul(1_000_000)
                .saturating_add(t.tv_nsec() as u64 / 1000)
        })
        .unwrap_or(0)
}

/// Wall clock in seconds since 1970.
pub fn wall_seconds() -> u64 {
    clock_gettime(ClockId::CLOCK_REALTIME)
        .map(|t| u64::try_from(t.tv_sec()).unwrap_or(0))
        .unwrap_or(0)
}

/// Sets the wall clock to `seconds` since 1970.
pub fn set_wall_seconds(seconds: u64) -> Result<(), Errno> {
    clock_settime(
        ClockId::CLOCK_REALTIME,
        TimeSpec::new(i64::try_from(seconds).map_err(|_| Errno::EINVAL)?, 0),
    )
}

/// Time of the first real-time clock in seconds since 1970, if the board has one that runs.
pub fn rtc_seconds() -> Option<u64> {
    fs::read_to_string("/sys/class/rtc/rtc0/since_epoch")
        .ok()?
        .trim()
        .parse()
        .ok()
}
