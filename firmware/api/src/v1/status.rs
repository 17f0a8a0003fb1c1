//! Status of tasks, checks, containers and operations.
//!
//! Tables only, no behaviour: names, numbers and defaults are those of `mesos/v1/mesos.proto`,
//! nested types joined to one name.
//! Used by the daemons and the command line through the module above. Invariant: a published number never changes.

use super::*;
use crate::message::{Bytes, messages};

messages! {
    message TaskStatus {
        1 task_id: required TaskID;
        2 state: required TaskState;
        4 message: optional String;
        9 source: optional TaskStatusSource;
        10 reason: optional TaskStatusReason;
        3 data: optional Bytes;
        5 agent_id: optional AgentID;
        7 executor_id: optional ExecutorID;
        6 timestamp: optional f64;
        11 uuid: optional Bytes;
        8 healthy: optional bool;
        15 check_status: optional CheckStatusInfo;
        12 labels: optional Labels;
        13 container_status: optional Box<ContainerStatus>;
        14 unreachable_time: optional TimeInfo;
        16 limitation: optional Box<TaskResourceLimitation>;
    }

    enum TaskStatusSource {
        0 Master = "SOURCE_MASTER";
        1 Agent = "SOURCE_AGENT";
        2 Executor = "SOURCE_EXECUTOR";
    }

    enum TaskStatusReason {
        0 CommandExecutorFailed = "REASON_COMMAND_EXECUTOR_FAILED";
        21 ContainerLaunchFailed = "REASON_CONTAINER_LAUNCH_FAILED";
        19 ContainerLimitation = "REASON_CONTAINER_LIMITATION";
        20 ContainerLimitationDisk = "REASON_CONTAINER_LIMITATION_DISK";
        8 ContainerLimitationMemory = "REASON_CONTAINER_LIMITATION_MEMORY";
        17 ContainerPreempted = "REASON_CONTAINER_PREEMPTED";
        22 ContainerUpdateFailed = "REASON_CONTAINER_UPDATE_FAILED";
        33 MaxCompletionTimeReached = "REASON_MAX_COMPLETION_TIME_REACHED";
        23 ExecutorRegistrationTimeout = "REASON_EXECUTOR_REGISTRATION_TIMEOUT";
        24 ExecutorReregistrationTimeout = "REASON_EXECUTOR_REREGISTRATION_TIMEOUT";
        1 ExecutorTerminated = "REASON_EXECUTOR_TERMINATED";
        2 ExecutorUnregistered = "REASON_EXECUTOR_UNREGISTERED";
        3 FrameworkRemoved = "REASON_FRAMEWORK_REMOVED";
        4 GcError = "REASON_GC_ERROR";
        5 InvalidFrameworkid = "REASON_INVALID_FRAMEWORKID";
        6 InvalidOffers = "REASON_INVALID_OFFERS";
        27 IoSwitchboardExited = "REASON_IO_SWITCHBOARD_EXITED";
        7 MasterDisconnected = "REASON_MASTER_DISCONNECTED";
        9 Reconciliation = "REASON_RECONCILIATION";
        18 ResourcesUnknown = "REASON_RESOURCES_UNKNOWN";
        10 AgentDisconnected = "REASON_AGENT_DISCONNECTED";
        34 AgentDraining = "REASON_AGENT_DRAINING";
        11 AgentRemoved = "REASON_AGENT_REMOVED";
        31 AgentRemovedByOperator = "REASON_AGENT_REMOVED_BY_OPERATOR";
        32 AgentReregistered = "REASON_AGENT_REREGISTERED";
        12 AgentRestarted = "REASON_AGENT_RESTARTED";
        13 AgentUnknown = "REASON_AGENT_UNKNOWN";
        30 TaskKilledDuringLaunch = "REASON_TASK_KILLED_DURING_LAUNCH";
        28 TaskCheckStatusUpdated = "REASON_TASK_CHECK_STATUS_UPDATED";
        29 TaskHealthCheckStatusUpdated = "REASON_TASK_HEALTH_CHECK_STATUS_UPDATED";
        25 TaskGroupInvalid = "REASON_TASK_GROUP_INVALID";
        26 TaskGroupUnauthorized = "REASON_TASK_GROUP_UNAUTHORIZED";
        14 TaskInvalid = "REASON_TASK_INVALID";
        15 TaskUnauthorized = "REASON_TASK_UNAUTHORIZED";
        16 TaskUnknown = "REASON_TASK_UNKNOWN";
    }

    message CheckStatusInfo {
        1 r#type: optional CheckInfoType;
        2 command: optional CheckStatusInfoCommand;
        3 http: optional CheckStatusInfoHttp;
        4 tcp: optional CheckStatusInfoTcp;
    }

    message CheckStatusInfoCommand {
        1 exit_code: optional i32;
    }

    message CheckStatusInfoHttp {
        1 status_code: optional u32;
    }

    message CheckStatusInfoTcp {
        1 succeeded: optional bool;
    }

    enum OperationState {
        0 Unsupported = "OPERATION_UNSUPPORTED";
        1 Pending = "OPERATION_PENDING";
        2 Finished = "OPERATION_FINISHED";
        3 Failed = "OPERATION_FAILED";
        4 Error = "OPERATION_ERROR";
        5 Dropped = "OPERATION_DROPPED";
        6 Unreachable = "OPERATION_UNREACHABLE";
        7 GoneByOperator = "OPERATION_GONE_BY_OPERATOR";
        8 Recovering = "OPERATION_RECOVERING";
        9 Unknown = "OPERATION_UNKNOWN";
    }

    message OperationStatus {
        1 operation_id: optional OperationID;
        2 state: required OperationState;
        3 message: optional String;
        4 converted_resources: repeated Resource;
        5 uuid: optional UUID;
        6 agent_id: optional AgentID;
        7 resource_provider_id: optional ResourceProviderID;
    }

    message ContainerStatus {
        4 container_id: optional ContainerID;
        1 network_infos: repeated NetworkInfo;
        2 cgroup_info: optional CgroupInfo;
        3 executor_pid: optional u32;
    }

    message CgroupInfo {
        1 net_cls: optional CgroupInfoNetCls;
    }

    message CgroupInfoNetCls {
        1 classid: optional u32;
    }
}
