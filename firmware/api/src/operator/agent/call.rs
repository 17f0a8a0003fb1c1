//! What an operator asks of an agent: `Call` and its members, and the `ProcessIO` of attached containers.
//!
//! Tables only, no behaviour: names, numbers and defaults are those of `mesos/v1/agent/agent.proto`,
//! nested types joined to one name. Used by agentd and operators' tools. Invariant: a published number never changes.

use crate::message::{Bytes, messages};
use crate::operator::common::*;
use crate::v1::*;

messages! {
    message Call {
        1 r#type: optional CallType;
        2 get_metrics: optional CallGetMetrics;
        3 set_logging_level: optional CallSetLoggingLevel;
        4 list_files: optional CallListFiles;
        5 read_file: optional CallReadFile;
        20 get_containers: optional CallGetContainers;
        6 launch_nested_container: optional CallLaunchNestedContainer;
        7 wait_nested_container: optional CallWaitNestedContainer;
        8 kill_nested_container: optional CallKillNestedContainer;
        12 remove_nested_container: optional CallRemoveNestedContainer;
        9 launch_nested_container_session: optional CallLaunchNestedContainerSession;
        10 attach_container_input: optional CallAttachContainerInput;
        11 attach_container_output: optional CallAttachContainerOutput;
        13 launch_container: optional CallLaunchContainer;
        14 wait_container: optional CallWaitContainer;
        15 kill_container: optional CallKillContainer;
        16 remove_container: optional CallRemoveContainer;
        17 add_resource_provider_config: optional CallAddResourceProviderConfig;
        18 update_resource_provider_config: optional CallUpdateResourceProviderConfig;
        19 remove_resource_provider_config: optional CallRemoveResourceProviderConfig;
        22 mark_resource_provider_gone: optional CallMarkResourceProviderGone;
        21 prune_images: optional CallPruneImages;
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
        10 GetContainers = "GET_CONTAINERS";
        11 GetFrameworks = "GET_FRAMEWORKS";
        12 GetExecutors = "GET_EXECUTORS";
        31 GetOperations = "GET_OPERATIONS";
        13 GetTasks = "GET_TASKS";
        20 GetAgent = "GET_AGENT";
        26 GetResourceProviders = "GET_RESOURCE_PROVIDERS";
        14 LaunchNestedContainer = "LAUNCH_NESTED_CONTAINER";
        15 WaitNestedContainer = "WAIT_NESTED_CONTAINER";
        16 KillNestedContainer = "KILL_NESTED_CONTAINER";
        21 RemoveNestedContainer = "REMOVE_NESTED_CONTAINER";
        17 LaunchNestedContainerSession = "LAUNCH_NESTED_CONTAINER_SESSION";
        18 AttachContainerInput = "ATTACH_CONTAINER_INPUT";
        19 AttachContainerOutput = "ATTACH_CONTAINER_OUTPUT";
        22 LaunchContainer = "LAUNCH_CONTAINER";
        23 WaitContainer = "WAIT_CONTAINER";
        24 KillContainer = "KILL_CONTAINER";
        25 RemoveContainer = "REMOVE_CONTAINER";
        27 AddResourceProviderConfig = "ADD_RESOURCE_PROVIDER_CONFIG";
        28 UpdateResourceProviderConfig = "UPDATE_RESOURCE_PROVIDER_CONFIG";
        29 RemoveResourceProviderConfig = "REMOVE_RESOURCE_PROVIDER_CONFIG";
        32 MarkResourceProviderGone = "MARK_RESOURCE_PROVIDER_GONE";
        30 PruneImages = "PRUNE_IMAGES";
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

    message CallGetContainers {
        1 show_nested: optional bool;
        2 show_standalone: optional bool;
    }

    message CallLaunchNestedContainer {
        1 container_id: required ContainerID;
        2 command: optional CommandInfo;
        3 container: optional ContainerInfo;
    }

    message CallWaitNestedContainer {
        1 container_id: required ContainerID;
    }

    message CallKillNestedContainer {
        1 container_id: required ContainerID;
        2 signal: optional i32;
    }

    message CallRemoveNestedContainer {
        1 container_id: required ContainerID;
    }

    message CallLaunchNestedContainerSession {
        1 container_id: required ContainerID;
        2 command: optional CommandInfo;
        3 container: optional ContainerInfo;
    }

    message CallAttachContainerInput {
        1 r#type: optional CallAttachContainerInputType;
        2 container_id: optional ContainerID;
        3 process_io: optional ProcessIO;
    }

    enum CallAttachContainerInputType {
        0 Unknown = "UNKNOWN";
        1 ContainerId = "CONTAINER_ID";
        2 ProcessIo = "PROCESS_IO";
    }

    message CallAttachContainerOutput {
        1 container_id: required ContainerID;
    }

    message CallLaunchContainer {
        1 container_id: required ContainerID;
        2 command: optional CommandInfo;
        3 resources: repeated Resource;
        4 container: optional ContainerInfo;
        5 limits: map ValueScalar;
    }

    message CallWaitContainer {
        1 container_id: required ContainerID;
    }

    message CallKillContainer {
        1 container_id: required ContainerID;
        2 signal: optional i32;
    }

    message CallRemoveContainer {
        1 container_id: required ContainerID;
    }

    message CallAddResourceProviderConfig {
        1 info: required ResourceProviderInfo;
    }

    message CallUpdateResourceProviderConfig {
        1 info: required ResourceProviderInfo;
    }

    message CallRemoveResourceProviderConfig {
        1 r#type: required String;
        2 name: required String;
    }

    message CallMarkResourceProviderGone {
        1 resource_provider_id: required ResourceProviderID;
    }

    message CallPruneImages {
        1 excluded_images: repeated Image;
    }

    message ProcessIO {
        1 r#type: optional ProcessIOType;
        2 data: optional ProcessIOData;
        3 control: optional ProcessIOControl;
    }

    enum ProcessIOType {
        0 Unknown = "UNKNOWN";
        1 Data = "DATA";
        2 Control = "CONTROL";
    }

    message ProcessIOData {
        1 r#type: optional ProcessIODataType;
        2 data: optional Bytes;
    }

    enum ProcessIODataType {
        0 Unknown = "UNKNOWN";
        1 Stdin = "STDIN";
        2 Stdout = "STDOUT";
        3 Stderr = "STDERR";
    }

    message ProcessIOControl {
        1 r#type: optional ProcessIOControlType;
        2 tty_info: optional TTYInfo;
        3 heartbeat: optional ProcessIOControlHeartbeat;
    }

    enum ProcessIOControlType {
        0 Unknown = "UNKNOWN";
        1 TtyInfo = "TTY_INFO";
        2 Heartbeat = "HEARTBEAT";
    }

    message ProcessIOControlHeartbeat {
        1 interval: optional DurationInfo;
    }
}
