//! What `/logging/toggle?level=&duration=` asks for.
//!
//! Mesos's levels are glog's: 0 is what the flags say, each further one logs more. Called by both daemons' handlers.

use std::time::Duration;

use super::Refusal;
use super::query::Query;
use crate::flags;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Tell the level.
    Tell,
    /// Log at this level for a while.
    Set {
        /// Levels more than the flags say.
        level: u32,
        /// For how long.
        duration: Duration,
    },
}

/// Reads the query: without parameters it asks for the level, with both of them it changes it.
pub fn wish(query: &Query) -> Result<Wish, Refusal> {
    let (level, duration) = match (query.get("level"), query.get("duration")) {
        (None, None) => return Ok(Wish::Tell),
        (Some(level), Some(duration)) => (level, duration),
        (None, Some(_)) => return Err(Refusal::bad("Expecting 'level=value' in query")),
        (Some(_), None) => return Err(Refusal::bad("Expecting 'duration=value' in query")),
    };
    let level = level
        .parse()
        .map_err(|_| Refusal::bad(format!("'level' must be a whole number, not '{level}'")))?;
    let duration = flags::parse_duration(duration).ok_or_else(|| {
        Refusal::bad(format!(
            "'duration' must be a duration such as 10secs, not '{duration}'"
        ))
    })?;
    Ok(Wish::Set { level, duration })
}
