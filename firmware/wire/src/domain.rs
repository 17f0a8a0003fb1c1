//! Fault domains: in which zone of which region a node stands.
//!
//! Called by the daemons' flags, the constraints on offers and displays. Invariant of a parsed one: neither name is empty.

use alloc::string::String;

use serde::{Deserialize, Serialize};

/// Where a node stands: what fails together has the same zone, what is far apart another region.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Domain {
    /// Such as a town.
    pub region: String,
    /// Such as a shelf; names of zones count within their region.
    pub zone: String,
}

/// Why a text is no fault domain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}': expected region/zone such as garden/shed")]
pub struct DomainError(String);

impl Domain {
    /// Reads `region/zone`.
    pub fn parse(text: &str) -> Result<Self, DomainError> {
        match text.split_once('/') {
            Some((region, zone)) if !region.trim().is_empty() && !zone.trim().is_empty() => {
                Ok(Self {
                    region: region.trim().into(),
                    zone: zone.trim().into(),
                })
            }
            _ => Err(DomainError(text.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_names_are_needed() {
        let shed = Domain::parse("garden/ shed").expect("valid");
        assert_eq!(
            (shed.region.as_str(), shed.zone.as_str()),
            ("garden", "shed")
        );
        for bad in ["", "garden", "garden/", "/shed", " / "] {
            assert!(Domain::parse(bad).is_err(), "{bad}");
        }
    }
}
