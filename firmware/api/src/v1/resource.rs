//! Resources and attributes, with reservations, disks and allocation.
//!
//! Tables only, no behaviour: names, numbers and defaults are those of `mesos/v1/mesos.proto`,
//! nested types joined to one name.
//! Used by the daemons and the command line through the module above. Invariant: a published number never changes.

use super::*;
use crate::message::messages;

messages! {
    enum ValueType {
        0 Scalar = "SCALAR";
        1 Ranges = "RANGES";
        2 Set = "SET";
        3 Text = "TEXT";
    }

    message ValueScalar {
        1 value: required f64;
    }

    message ValueRange {
        1 begin: required u64;
        2 end: required u64;
    }

    message ValueRanges {
        1 range: repeated ValueRange;
    }

    message ValueSet {
        1 item: repeated String;
    }

    message ValueText {
        1 value: required String;
    }

    message Attribute {
        1 name: required String;
        2 r#type: required ValueType;
        3 scalar: optional ValueScalar;
        4 ranges: optional ValueRanges;
        6 set: optional ValueSet;
        5 text: optional ValueText;
    }

    message Resource {
        12 provider_id: optional ResourceProviderID;
        1 name: required String;
        2 r#type: required ValueType;
        3 scalar: optional ValueScalar;
        4 ranges: optional ValueRanges;
        5 set: optional ValueSet;
        6 role: optional String;
        11 allocation_info: optional ResourceAllocationInfo;
        8 reservation: optional ResourceReservationInfo;
        13 reservations: repeated ResourceReservationInfo;
        7 disk: optional Box<ResourceDiskInfo>;
        9 revocable: optional ResourceRevocableInfo;
        10 shared: optional ResourceSharedInfo;
    }

    message ResourceAllocationInfo {
        1 role: optional String;
    }

    message ResourceReservationInfo {
        4 r#type: optional ResourceReservationInfoType;
        3 role: optional String;
        1 principal: optional String;
        2 labels: optional Labels;
    }

    enum ResourceReservationInfoType {
        0 Unknown = "UNKNOWN";
        1 Static = "STATIC";
        2 Dynamic = "DYNAMIC";
    }

    message ResourceDiskInfo {
        1 persistence: optional ResourceDiskInfoPersistence;
        2 volume: optional Box<Volume>;
        3 source: optional ResourceDiskInfoSource;
    }

    message ResourceDiskInfoPersistence {
        1 id: required String;
        2 principal: optional String;
    }

    message ResourceDiskInfoSource {
        1 r#type: required ResourceDiskInfoSourceType;
        2 path: optional ResourceDiskInfoSourcePath;
        3 mount: optional ResourceDiskInfoSourceMount;
        7 vendor: optional String;
        4 id: optional String;
        5 metadata: optional Labels;
        6 profile: optional String;
    }

    enum ResourceDiskInfoSourceType {
        0 Unknown = "UNKNOWN";
        1 Path = "PATH";
        2 Mount = "MOUNT";
        3 Block = "BLOCK";
        4 Raw = "RAW";
    }

    message ResourceDiskInfoSourcePath {
        1 root: optional String;
    }

    message ResourceDiskInfoSourceMount {
        1 root: optional String;
    }

    message ResourceRevocableInfo {}

    message ResourceSharedInfo {}

    message Request {
        1 agent_id: optional AgentID;
        2 resources: repeated Resource;
    }
}
