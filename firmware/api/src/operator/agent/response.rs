//! What an agent answers an operator: `Response` and its members.
//!
//! Tables only, no behaviour: names, numbers and defaults are those of `mesos/v1/agent/agent.proto`,
//! nested types joined to one name. Used by agentd and operators' tools. Invariant: a published number never changes.

use crate::message::{Bytes, messages};
use crate::operator::common::*;
use crate::operator::statistics::*;
use crate::v1::*;

messages! {
    message Response {
        1 r#type: optional ResponseType;
        2 get_health: optional ResponseGetHealth;
        3 get_flags: optional ResponseGetFlags;
        4 get_version: optional ResponseGetVersion;
        5 get_metrics: optional ResponseGetMetrics;
        6 get_logging_level: optional ResponseGetLoggingLevel;
        7 list_files: optional ResponseListFiles;
        8 read_file: optional ResponseReadFile;
        9 get_state: optional ResponseGetState;
        10 get_containers: optional ResponseGetContainers;
        11 get_frameworks: optional ResponseGetFrameworks;
        12 get_executors: optional ResponseGetExecutors;
        18 get_operations: optional ResponseGetOperations;
        13 get_tasks: optional ResponseGetTasks;
        15 get_agent: optional ResponseGetAgent;
        17 get_resource_providers: optional ResponseGetResourceProviders;
        14 wait_nested_container: optional ResponseWaitNestedContainer;
        16 wait_container: optional ResponseWaitContainer;
    }

    enum ResponseType {
        0 Unknown = "UNKNOWN";
        1 GetHealth = "GET_HEALTH";
        2 GetFlags = "GET_FLAGS";
        3 GetVersion = "GET_VERSION";
        4 GetMetrics = "GET_METRICS";
        5 GetLoggingLevel = "GET_LOGGING_LEVEL";
        6 ListFiles = "LIST_FILES";
        7 ReadFile = "READ_FILE";
        8 GetState = "GET_STATE";
        9 GetContainers = "GET_CONTAINERS";
        10 GetFrameworks = "GET_FRAMEWORKS";
        11 GetExecutors = "GET_EXECUTORS";
        17 GetOperations = "GET_OPERATIONS";
        12 GetTasks = "GET_TASKS";
        14 GetAgent = "GET_AGENT";
        16 GetResourceProviders = "GET_RESOURCE_PROVIDERS";
        13 WaitNestedContainer = "WAIT_NESTED_CONTAINER";
        15 WaitContainer = "WAIT_CONTAINER";
    }

    message ResponseGetHealth {
        1 healthy: required bool;
    }

    message ResponseGetFlags {
        1 flags: repeated Flag;
    }

    message ResponseGetVersion {
        1 version_info: required VersionInfo;
    }

    message ResponseGetMetrics {
        1 metrics: repeated Metric;
    }

    message ResponseGetLoggingLevel {
        1 level: required u32;
    }

    message ResponseListFiles {
        1 file_infos: repeated FileInfo;
    }

    message ResponseReadFile {
        1 size: required u64;
        2 data: required Bytes;
    }

    message ResponseGetState {
        1 get_tasks: optional ResponseGetTasks;
        2 get_executors: optional ResponseGetExecutors;
        3 get_frameworks: optional ResponseGetFrameworks;
    }

    message ResponseGetContainers {
        1 containers: repeated ResponseGetContainersContainer;
    }

    message ResponseGetContainersContainer {
        1 framework_id: optional FrameworkID;
        2 executor_id: optional ExecutorID;
        3 executor_name: optional String;
        4 container_id: required ContainerID;
        5 container_status: optional ContainerStatus;
        6 resource_statistics: optional ResourceStatistics;
    }

    message ResponseGetFrameworks {
        1 frameworks: repeated ResponseGetFrameworksFramework;
        2 completed_frameworks: repeated ResponseGetFrameworksFramework;
    }

    message ResponseGetFrameworksFramework {
        1 framework_info: required FrameworkInfo;
    }

    message ResponseGetExecutors {
        1 executors: repeated ResponseGetExecutorsExecutor;
        2 completed_executors: repeated ResponseGetExecutorsExecutor;
    }

    message ResponseGetExecutorsExecutor {
        1 executor_info: required ExecutorInfo;
    }

    message ResponseGetOperations {
        1 operations: repeated Operation;
    }

    message ResponseGetTasks {
        1 pending_tasks: repeated Task;
        2 queued_tasks: repeated Task;
        3 launched_tasks: repeated Task;
        4 terminated_tasks: repeated Task;
        5 completed_tasks: repeated Task;
    }

    message ResponseGetAgent {
        1 agent_info: optional AgentInfo;
        2 drain_config: optional DrainConfig;
        3 estimated_drain_start_time: optional TimeInfo;
    }

    message ResponseGetResourceProviders {
        1 resource_providers: repeated ResponseGetResourceProvidersResourceProvider;
    }

    message ResponseGetResourceProvidersResourceProvider {
        1 resource_provider_info: required ResourceProviderInfo;
        2 total_resources: repeated Resource;
    }

    message ResponseWaitNestedContainer {
        1 exit_status: optional i32;
        2 state: optional TaskState;
        3 reason: optional TaskStatusReason;
        4 limitation: optional TaskResourceLimitation;
        5 message: optional String;
    }

    message ResponseWaitContainer {
        1 exit_status: optional i32;
        2 state: optional TaskState;
        3 reason: optional TaskStatusReason;
        4 limitation: optional TaskResourceLimitation;
        5 message: optional String;
    }
}
