//! Tasks: what a framework asks for, and what the master tells of them.
//!
//! Tables only, no behaviour: names, numbers and defaults are those of `mesos/v1/mesos.proto`,
//! nested types joined to one name.
//! Used by the daemons and the command line through the module above. Invariant: a published number never changes.

use super::*;
use crate::message::{Bytes, messages};

messages! {
    enum TaskState {
        6 Staging = "TASK_STAGING";
        0 Starting = "TASK_STARTING";
        1 Running = "TASK_RUNNING";
        8 Killing = "TASK_KILLING";
        2 Finished = "TASK_FINISHED";
        3 Failed = "TASK_FAILED";
        4 Killed = "TASK_KILLED";
        7 Error = "TASK_ERROR";
        5 Lost = "TASK_LOST";
        9 Dropped = "TASK_DROPPED";
        10 Unreachable = "TASK_UNREACHABLE";
        11 Gone = "TASK_GONE";
        12 GoneByOperator = "TASK_GONE_BY_OPERATOR";
        13 Unknown = "TASK_UNKNOWN";
    }

    message TaskInfo {
        1 name: required String;
        2 task_id: required TaskID;
        3 agent_id: required AgentID;
        4 resources: repeated Resource;
        5 executor: optional Box<ExecutorInfo>;
        7 command: optional CommandInfo;
        9 container: optional Box<ContainerInfo>;
        8 health_check: optional Box<HealthCheck>;
        13 check: optional Box<CheckInfo>;
        12 kill_policy: optional KillPolicy;
        6 data: optional Bytes;
        10 labels: optional Labels;
        11 discovery: optional Box<DiscoveryInfo>;
        14 max_completion_time: optional DurationInfo;
        15 limits: map ValueScalar;
    }

    /// What is shown of a `TaskInfo` beside what the master goes by: the rest of it is skipped, not decoded.
    message TaskInfoExtras {
        9 container: optional Box<ContainerInfo>;
        8 health_check: optional Box<HealthCheck>;
        10 labels: optional Labels;
        11 discovery: optional Box<DiscoveryInfo>;
    }

    message TaskGroupInfo {
        1 tasks: repeated TaskInfo;
    }

    message Task {
        1 name: required String;
        2 task_id: required TaskID;
        3 framework_id: required FrameworkID;
        4 executor_id: optional ExecutorID;
        5 agent_id: required AgentID;
        6 state: required TaskState;
        7 resources: repeated Resource;
        8 statuses: repeated TaskStatus;
        9 status_update_state: optional TaskState;
        10 status_update_uuid: optional Bytes;
        11 labels: optional Labels;
        12 discovery: optional Box<DiscoveryInfo>;
        13 container: optional Box<ContainerInfo>;
        15 health_check: optional Box<HealthCheck>;
        16 kill_policy: optional KillPolicy;
        14 user: optional String;
        17 limits: map ValueScalar;
    }

    message DiscoveryInfo {
        1 visibility: required DiscoveryInfoVisibility;
        2 name: optional String;
        3 environment: optional String;
        4 location: optional String;
        5 version: optional String;
        6 ports: optional Ports;
        7 labels: optional Labels;
    }

    enum DiscoveryInfoVisibility {
        0 Framework = "FRAMEWORK";
        1 Cluster = "CLUSTER";
        2 External = "EXTERNAL";
    }

    message Port {
        1 number: required u32;
        2 name: optional String;
        3 protocol: optional String;
        4 visibility: optional DiscoveryInfoVisibility;
        5 labels: optional Labels;
    }

    message Ports {
        1 ports: repeated Port;
    }

    message TaskResourceLimitation {
        1 resources: repeated Resource;
    }
}
