//! What the master answers an operator: `Response`, and `Event` of its stream.
//!
//! Tables only, no behaviour: names, numbers and defaults are those of `mesos/v1/master/master.proto`,
//! nested types joined to one name. Used by masterd and operators' tools. Invariant: a published number never changes.

use crate::message::{Bytes, messages};
use crate::operator::common::*;
use crate::scheduler::OfferConstraints;
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
        10 get_agents: optional ResponseGetAgents;
        11 get_frameworks: optional ResponseGetFrameworks;
        12 get_executors: optional ResponseGetExecutors;
        20 get_operations: optional ResponseGetOperations;
        13 get_tasks: optional ResponseGetTasks;
        14 get_roles: optional ResponseGetRoles;
        15 get_weights: optional ResponseGetWeights;
        16 get_master: optional ResponseGetMaster;
        17 get_maintenance_status: optional ResponseGetMaintenanceStatus;
        18 get_maintenance_schedule: optional ResponseGetMaintenanceSchedule;
        19 get_quota: optional ResponseGetQuota;
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
        9 GetAgents = "GET_AGENTS";
        10 GetFrameworks = "GET_FRAMEWORKS";
        11 GetExecutors = "GET_EXECUTORS";
        19 GetOperations = "GET_OPERATIONS";
        12 GetTasks = "GET_TASKS";
        13 GetRoles = "GET_ROLES";
        14 GetWeights = "GET_WEIGHTS";
        15 GetMaster = "GET_MASTER";
        16 GetMaintenanceStatus = "GET_MAINTENANCE_STATUS";
        17 GetMaintenanceSchedule = "GET_MAINTENANCE_SCHEDULE";
        18 GetQuota = "GET_QUOTA";
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
        4 get_agents: optional ResponseGetAgents;
    }

    message ResponseGetAgents {
        1 agents: repeated ResponseGetAgentsAgent;
        2 recovered_agents: repeated AgentInfo;
    }

    message ResponseGetAgentsAgent {
        1 agent_info: required AgentInfo;
        2 active: required bool;
        12 deactivated: optional bool;
        3 version: required String;
        4 pid: optional String;
        5 registered_time: optional TimeInfo;
        6 reregistered_time: optional TimeInfo;
        7 total_resources: repeated Resource;
        8 allocated_resources: repeated Resource;
        9 offered_resources: repeated Resource;
        10 capabilities: repeated AgentInfoCapability;
        11 resource_providers: repeated ResponseGetAgentsAgentResourceProvider;
        13 drain_info: optional DrainInfo;
        14 estimated_drain_start_time: optional TimeInfo;
    }

    message ResponseGetAgentsAgentResourceProvider {
        1 resource_provider_info: required ResourceProviderInfo;
        2 total_resources: repeated Resource;
    }

    message ResponseGetFrameworks {
        1 frameworks: repeated ResponseGetFrameworksFramework;
        2 completed_frameworks: repeated ResponseGetFrameworksFramework;
        3 recovered_frameworks: repeated FrameworkInfo;
    }

    message ResponseGetFrameworksFramework {
        1 framework_info: required FrameworkInfo;
        2 active: required bool;
        3 connected: required bool;
        11 recovered: required bool;
        4 registered_time: optional TimeInfo;
        5 reregistered_time: optional TimeInfo;
        6 unregistered_time: optional TimeInfo;
        7 offers: repeated Offer;
        8 inverse_offers: repeated InverseOffer;
        9 allocated_resources: repeated Resource;
        10 offered_resources: repeated Resource;
        12 offer_constraints: optional OfferConstraints;
    }

    message ResponseGetExecutors {
        1 executors: repeated ResponseGetExecutorsExecutor;
        2 orphan_executors: repeated ResponseGetExecutorsExecutor;
    }

    message ResponseGetExecutorsExecutor {
        1 executor_info: required ExecutorInfo;
        2 agent_id: required AgentID;
    }

    message ResponseGetOperations {
        1 operations: repeated Operation;
    }

    message ResponseGetTasks {
        1 pending_tasks: repeated Task;
        2 tasks: repeated Task;
        5 unreachable_tasks: repeated Task;
        3 completed_tasks: repeated Task;
        4 orphan_tasks: repeated Task;
    }

    message ResponseGetRoles {
        1 roles: repeated Role;
    }

    message ResponseGetWeights {
        1 weight_infos: repeated WeightInfo;
    }

    message ResponseGetMaster {
        1 master_info: optional MasterInfo;
        2 start_time: optional f64;
        3 elected_time: optional f64;
    }

    message ResponseGetMaintenanceStatus {
        1 status: required ClusterStatus;
    }

    message ResponseGetMaintenanceSchedule {
        1 schedule: required Schedule;
    }

    message ResponseGetQuota {
        1 status: required QuotaStatus;
    }

    message Event {
        1 r#type: optional EventType;
        2 subscribed: optional EventSubscribed;
        3 task_added: optional EventTaskAdded;
        4 task_updated: optional EventTaskUpdated;
        5 agent_added: optional EventAgentAdded;
        6 agent_removed: optional EventAgentRemoved;
        7 framework_added: optional EventFrameworkAdded;
        8 framework_updated: optional EventFrameworkUpdated;
        9 framework_removed: optional EventFrameworkRemoved;
    }

    enum EventType {
        0 Unknown = "UNKNOWN";
        1 Subscribed = "SUBSCRIBED";
        2 TaskAdded = "TASK_ADDED";
        3 TaskUpdated = "TASK_UPDATED";
        4 AgentAdded = "AGENT_ADDED";
        5 AgentRemoved = "AGENT_REMOVED";
        6 FrameworkAdded = "FRAMEWORK_ADDED";
        7 FrameworkUpdated = "FRAMEWORK_UPDATED";
        8 FrameworkRemoved = "FRAMEWORK_REMOVED";
        9 Heartbeat = "HEARTBEAT";
    }

    message EventSubscribed {
        1 get_state: optional ResponseGetState;
        2 heartbeat_interval_seconds: optional f64;
    }

    message EventTaskAdded {
        1 task: required Task;
    }

    message EventTaskUpdated {
        1 framework_id: required FrameworkID;
        2 status: required TaskStatus;
        3 state: required TaskState;
    }

    message EventFrameworkAdded {
        1 framework: required ResponseGetFrameworksFramework;
    }

    message EventFrameworkUpdated {
        1 framework: required ResponseGetFrameworksFramework;
    }

    message EventFrameworkRemoved {
        1 framework_info: required FrameworkInfo;
    }

    message EventAgentAdded {
        1 agent: required ResponseGetAgentsAgent;
    }

    message EventAgentRemoved {
        1 agent_id: required AgentID;
    }
}
