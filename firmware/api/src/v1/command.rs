//! What runs: commands, environments, secrets, executors and their checks.
//!
//! Tables only, no behaviour: names, numbers and defaults are those of `mesos/v1/mesos.proto`,
//! nested types joined to one name.
//! Used by the daemons and the command line through the module above. Invariant: a published number never changes.

use super::*;
use crate::message::{Bytes, messages};

messages! {
    message CommandInfo {
        1 uris: repeated CommandInfoURI;
        2 environment: optional Environment;
        6 shell: optional bool = true;
        3 value: optional String;
        7 arguments: repeated String;
        5 user: optional String;
    }

    message CommandInfoURI {
        1 value: required String;
        2 executable: optional bool;
        3 extract: optional bool = true;
        4 cache: optional bool;
        5 output_file: optional String;
    }

    message Environment {
        1 variables: repeated EnvironmentVariable;
    }

    message EnvironmentVariable {
        1 name: required String;
        3 r#type: optional EnvironmentVariableType = EnvironmentVariableType::Value;
        2 value: optional String;
        4 secret: optional Box<Secret>;
    }

    enum EnvironmentVariableType {
        0 Unknown = "UNKNOWN";
        1 Value = "VALUE";
        2 Secret = "SECRET";
    }

    message Secret {
        1 r#type: optional SecretType;
        2 reference: optional SecretReference;
        3 value: optional SecretValue;
    }

    enum SecretType {
        0 Unknown = "UNKNOWN";
        1 Reference = "REFERENCE";
        2 Value = "VALUE";
    }

    message SecretReference {
        1 name: required String;
        2 key: optional String;
    }

    message SecretValue {
        1 data: required Bytes;
    }

    message ExecutorInfo {
        15 r#type: optional ExecutorInfoType;
        1 executor_id: required ExecutorID;
        8 framework_id: optional FrameworkID;
        7 command: optional CommandInfo;
        11 container: optional Box<ContainerInfo>;
        5 resources: repeated Resource;
        9 name: optional String;
        10 source: optional String;
        4 data: optional Bytes;
        12 discovery: optional Box<DiscoveryInfo>;
        13 shutdown_grace_period: optional DurationInfo;
        14 labels: optional Labels;
    }

    enum ExecutorInfoType {
        0 Unknown = "UNKNOWN";
        1 Default = "DEFAULT";
        2 Custom = "CUSTOM";
    }

    message CheckInfo {
        1 r#type: optional CheckInfoType;
        2 command: optional CheckInfoCommand;
        3 http: optional CheckInfoHttp;
        7 tcp: optional CheckInfoTcp;
        4 delay_seconds: optional f64 = 15.0;
        5 interval_seconds: optional f64 = 10.0;
        6 timeout_seconds: optional f64 = 20.0;
    }

    enum CheckInfoType {
        0 Unknown = "UNKNOWN";
        1 Command = "COMMAND";
        2 Http = "HTTP";
        3 Tcp = "TCP";
    }

    message CheckInfoCommand {
        1 command: required CommandInfo;
    }

    message CheckInfoHttp {
        1 port: required u32;
        2 path: optional String;
    }

    message CheckInfoTcp {
        1 port: required u32;
    }

    message HealthCheck {
        2 delay_seconds: optional f64 = 15.0;
        3 interval_seconds: optional f64 = 10.0;
        4 timeout_seconds: optional f64 = 20.0;
        5 consecutive_failures: optional u32 = 3;
        6 grace_period_seconds: optional f64 = 10.0;
        8 r#type: optional HealthCheckType;
        7 command: optional CommandInfo;
        1 http: optional HealthCheckHTTPCheckInfo;
        9 tcp: optional HealthCheckTCPCheckInfo;
    }

    enum HealthCheckType {
        0 Unknown = "UNKNOWN";
        1 Command = "COMMAND";
        2 Http = "HTTP";
        3 Tcp = "TCP";
    }

    message HealthCheckHTTPCheckInfo {
        5 protocol: optional NetworkInfoProtocol = NetworkInfoProtocol::IPv4;
        3 scheme: optional String;
        1 port: required u32;
        2 path: optional String;
        4 statuses: repeated u32;
    }

    message HealthCheckTCPCheckInfo {
        2 protocol: optional NetworkInfoProtocol = NetworkInfoProtocol::IPv4;
        1 port: required u32;
    }

    message KillPolicy {
        1 grace_period: optional DurationInfo;
    }
}
