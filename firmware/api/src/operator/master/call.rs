//! What an operator asks of the master: `Call` and its members.
//!
//! Tables only, no behaviour: names, numbers and defaults are those of `mesos/v1/master/master.proto`,
//! nested types joined to one name. Used by masterd and operators' tools. Invariant: a published number never changes.

use crate::message::messages;
use crate::operator::common::*;
use crate::v1::*;

messages! {
    message Call {
        1 r#type: optional CallType;
        2 get_metrics: optional CallGetMetrics;
        3 set_logging_level: optional CallSetLoggingLevel;
        4 list_files: optional CallListFiles;
        5 read_file: optional CallReadFile;
        6 update_weights: optional CallUpdateWeights;
        7 reserve_resources: optional CallReserveResources;
        8 unreserve_resources: optional CallUnreserveResources;
        9 create_volumes: optional CallCreateVolumes;
        10 destroy_volumes: optional CallDestroyVolumes;
        18 grow_volume: optional CallGrowVolume;
        19 shrink_volume: optional CallShrinkVolume;
        11 update_maintenance_schedule: optional CallUpdateMaintenanceSchedule;
        12 start_maintenance: optional CallStartMaintenance;
        13 stop_maintenance: optional CallStopMaintenance;
        21 drain_agent: optional CallDrainAgent;
        22 deactivate_agent: optional CallDeactivateAgent;
        23 reactivate_agent: optional CallReactivateAgent;
        20 update_quota: optional CallUpdateQuota;
        16 teardown: optional CallTeardown;
        17 mark_agent_gone: optional CallMarkAgentGone;
        14 set_quota: optional CallSetQuota;
        15 remove_quota: optional CallRemoveQuota;
    }

    enum CallType {
        0 Unknown = "UNKNOWN";
        1 GetHealth = "GET_HEALTH";
        2 GetFlags = "GET_FLAGS";
        3 GetVersion = "GET_VERSION";
        4 GetMetrics = "GET_METRICS";
        5 GetLoggingLevel = "GET_LOGGING_LEVEL";
        6 SetLoggingLevel = "SET_LOGGING_LEVEL";
        7 ListFiles = "LIST_FILES";
        8 ReadFile = "READ_FILE";
        9 GetState = "GET_STATE";
        10 GetAgents = "GET_AGENTS";
        11 GetFrameworks = "GET_FRAMEWORKS";
        12 GetExecutors = "GET_EXECUTORS";
        33 GetOperations = "GET_OPERATIONS";
        13 GetTasks = "GET_TASKS";
        14 GetRoles = "GET_ROLES";
        15 GetWeights = "GET_WEIGHTS";
        16 UpdateWeights = "UPDATE_WEIGHTS";
        17 GetMaster = "GET_MASTER";
        18 Subscribe = "SUBSCRIBE";
        19 ReserveResources = "RESERVE_RESOURCES";
        20 UnreserveResources = "UNRESERVE_RESOURCES";
        21 CreateVolumes = "CREATE_VOLUMES";
        22 DestroyVolumes = "DESTROY_VOLUMES";
        34 GrowVolume = "GROW_VOLUME";
        35 ShrinkVolume = "SHRINK_VOLUME";
        23 GetMaintenanceStatus = "GET_MAINTENANCE_STATUS";
        24 GetMaintenanceSchedule = "GET_MAINTENANCE_SCHEDULE";
        25 UpdateMaintenanceSchedule = "UPDATE_MAINTENANCE_SCHEDULE";
        26 StartMaintenance = "START_MAINTENANCE";
        27 StopMaintenance = "STOP_MAINTENANCE";
        37 DrainAgent = "DRAIN_AGENT";
        38 DeactivateAgent = "DEACTIVATE_AGENT";
        39 ReactivateAgent = "REACTIVATE_AGENT";
        28 GetQuota = "GET_QUOTA";
        36 UpdateQuota = "UPDATE_QUOTA";
        29 SetQuota = "SET_QUOTA";
        30 RemoveQuota = "REMOVE_QUOTA";
        31 Teardown = "TEARDOWN";
        32 MarkAgentGone = "MARK_AGENT_GONE";
    }

    message CallGetMetrics {
        1 timeout: optional DurationInfo;
    }

    message CallSetLoggingLevel {
        1 level: required u32;
        2 duration: required DurationInfo;
    }

    message CallListFiles {
        1 path: required String;
    }

    message CallReadFile {
        1 path: required String;
        2 offset: required u64;
        3 length: optional u64;
    }

    message CallUpdateWeights {
        1 weight_infos: repeated WeightInfo;
    }

    message CallReserveResources {
        1 agent_id: required AgentID;
        3 source: repeated Resource;
        2 resources: repeated Resource;
    }

    message CallUnreserveResources {
        1 agent_id: required AgentID;
        2 resources: repeated Resource;
    }

    message CallCreateVolumes {
        1 agent_id: required AgentID;
        2 volumes: repeated Resource;
    }

    message CallDestroyVolumes {
        1 agent_id: required AgentID;
        2 volumes: repeated Resource;
    }

    message CallGrowVolume {
        1 agent_id: optional AgentID;
        2 volume: required Resource;
        3 addition: required Resource;
    }

    message CallShrinkVolume {
        1 agent_id: optional AgentID;
        2 volume: required Resource;
        3 subtract: required ValueScalar;
    }

    message CallUpdateMaintenanceSchedule {
        1 schedule: required Schedule;
    }

    message CallStartMaintenance {
        1 machines: repeated MachineID;
    }

    message CallStopMaintenance {
        1 machines: repeated MachineID;
    }

    message CallDrainAgent {
        1 agent_id: required AgentID;
        2 max_grace_period: optional Duration;
        3 mark_gone: optional bool = false;
    }

    message CallDeactivateAgent {
        1 agent_id: required AgentID;
    }

    message CallReactivateAgent {
        1 agent_id: required AgentID;
    }

    message CallUpdateQuota {
        1 force: optional bool;
        2 quota_configs: repeated QuotaConfig;
    }

    message CallSetQuota {
        1 quota_request: required QuotaRequest;
    }

    message CallRemoveQuota {
        1 role: required String;
    }

    message CallTeardown {
        1 framework_id: required FrameworkID;
    }

    message CallMarkAgentGone {
        1 agent_id: required AgentID;
    }
}
