//! Identities, times, addresses and labels: the small messages that all others are made of.
//!
//! Tables only, no behaviour: names, numbers and defaults are those of `mesos/v1/mesos.proto`,
//! nested types joined to one name.
//! Used by the daemons and the command line through the module above. Invariant: a published number never changes.

use crate::message::{Bytes, messages};

messages! {
    message FrameworkID {
        1 value: required String;
    }

    message OfferID {
        1 value: required String;
    }

    message AgentID {
        1 value: required String;
    }

    message TaskID {
        1 value: required String;
    }

    message ExecutorID {
        1 value: required String;
    }

    message ContainerID {
        1 value: required String;
        2 parent: optional Box<ContainerID>;
    }

    message ResourceProviderID {
        1 value: required String;
    }

    message OperationID {
        1 value: required String;
    }

    message UUID {
        1 value: required Bytes;
    }

    message TimeInfo {
        1 nanoseconds: required i64;
    }

    message DurationInfo {
        1 nanoseconds: required i64;
    }

    message Address {
        1 hostname: optional String;
        2 ip: optional String;
        3 port: required i32;
    }

    message URL {
        1 scheme: required String;
        2 address: required Address;
        3 path: optional String;
        4 query: repeated Parameter;
        5 fragment: optional String;
    }

    message MachineID {
        1 hostname: optional String;
        2 ip: optional String;
    }

    message Unavailability {
        1 start: required TimeInfo;
        2 duration: optional DurationInfo;
    }

    message Parameter {
        1 key: required String;
        2 value: required String;
    }

    message Parameters {
        1 parameter: repeated Parameter;
    }

    message Label {
        1 key: required String;
        2 value: optional String;
    }

    message Labels {
        1 labels: repeated Label;
    }

    message DomainInfo {
        1 fault_domain: optional DomainInfoFaultDomain;
    }

    message DomainInfoFaultDomain {
        1 region: required DomainInfoFaultDomainRegionInfo;
        2 zone: required DomainInfoFaultDomainZoneInfo;
    }

    message DomainInfoFaultDomainRegionInfo {
        1 name: required String;
    }

    message DomainInfoFaultDomainZoneInfo {
        1 name: required String;
    }

    message VersionInfo {
        1 version: required String;
        2 build_date: optional String;
        3 build_time: optional f64;
        4 build_user: optional String;
        5 git_sha: optional String;
        6 git_branch: optional String;
        7 git_tag: optional String;
    }

    message WeightInfo {
        1 weight: required f64;
        2 role: optional String;
    }
}
