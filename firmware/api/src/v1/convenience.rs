//! Small constructors and tests that everybody who handles these messages would write again.
//!
//! No policy: nothing here validates. Called by the daemons, the command line and tests.
//! Invariant: nothing here fails or panics.

use super::*;
use std::fmt;
use std::time::Duration;

macro_rules! identity {
    ($($name:ident)*) => {$(
        impl From<&str> for $name {
            fn from(value: &str) -> Self {
                Self::from(value.to_owned())
            }
        }
        impl From<String> for $name {
            #[allow(clippy::needless_update)] // only ContainerID has more than a value
            fn from(value: String) -> Self {
                Self { value, ..Self::default() }
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.value)
            }
        }
    )*};
}
identity!(FrameworkID OfferID AgentID TaskID ExecutorID ContainerID ResourceProviderID OperationID);

impl From<Duration> for DurationInfo {
    /// Saturates at 292 years.
    fn from(duration: Duration) -> Self {
        Self {
            nanoseconds: i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX),
        }
    }
}

impl From<&DurationInfo> for Duration {
    /// Negative durations become zero.
    fn from(info: &DurationInfo) -> Self {
        Self::from_nanos(u64::try_from(info.nanoseconds).unwrap_or(0))
    }
}

impl Resource {
    /// An amount, such as cores or megabytes.
    #[must_use]
    pub fn scalar(name: &str, value: f64) -> Self {
        Self {
            name: name.to_owned(),
            r#type: ValueType::Scalar,
            scalar: Some(ValueScalar { value }),
            ..Self::default()
        }
    }

    /// Inclusive ranges, such as ports.
    #[must_use]
    pub fn ranges(name: &str, ranges: impl IntoIterator<Item = (u64, u64)>) -> Self {
        let range = ranges
            .into_iter()
            .map(|(begin, end)| ValueRange { begin, end })
            .collect();
        Self {
            name: name.to_owned(),
            r#type: ValueType::Ranges,
            ranges: Some(ValueRanges { range }),
            ..Self::default()
        }
    }
}

impl FrameworkInfo {
    /// Whether the framework declared the capability.
    #[must_use]
    pub fn has_capability(&self, capability: FrameworkInfoCapabilityType) -> bool {
        self.capabilities
            .iter()
            .any(|declared| declared.r#type == Some(capability))
    }
}

impl From<FrameworkInfoCapabilityType> for FrameworkInfoCapability {
    fn from(capability: FrameworkInfoCapabilityType) -> Self {
        Self {
            r#type: Some(capability),
        }
    }
}

impl TaskState {
    /// Whether the task has ended for good as the scheduler API counts it (`TASK_LOST` included, `TASK_UNREACHABLE` not).
    #[must_use]
    pub fn is_terminal(self) -> bool {
        !matches!(
            self,
            Self::Staging
                | Self::Starting
                | Self::Running
                | Self::Killing
                | Self::Unreachable
                | Self::Unknown
        )
    }
}
