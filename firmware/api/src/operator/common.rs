//! What both operator APIs share: operations, files, flags, metrics, roles, quota, maintenance, resource providers.
//!
//! Tables only, no behaviour: names, numbers and defaults are those of `mesos.proto`, `quota.proto`,
//! `maintenance.proto` and `allocator.proto`, nested types joined to one name. Used by the modules beside it. Invariant: a published number never changes.

use crate::message::messages;
use crate::v1::*;

messages! {
    message CSIPluginContainerInfo {
        1 services: repeated CSIPluginContainerInfoService;
        2 command: optional CommandInfo;
        3 resources: repeated Resource;
        4 container: optional ContainerInfo;
    }

    enum CSIPluginContainerInfoService {
        0 Unknown = "UNKNOWN";
        1 ControllerService = "CONTROLLER_SERVICE";
        2 NodeService = "NODE_SERVICE";
    }

    message CSIPluginEndpoint {
        1 csi_service: required CSIPluginContainerInfoService;
        2 endpoint: required String;
    }

    message CSIPluginInfo {
        1 r#type: required String;
        2 name: optional String;
        3 containers: repeated CSIPluginContainerInfo;
        4 endpoints: repeated CSIPluginEndpoint;
        5 target_path_root: optional String;
        6 target_path_exists: optional bool;
    }

    message ResourceProviderInfo {
        1 id: optional ResourceProviderID;
        2 attributes: repeated Attribute;
        3 r#type: required String;
        4 name: required String;
        5 default_reservations: repeated ResourceReservationInfo;
        6 storage: optional ResourceProviderInfoStorage;
    }

    message ResourceProviderInfoStorage {
        1 plugin: required CSIPluginInfo;
        2 reconciliation_interval_seconds: optional f64;
    }

    message Operation {
        1 framework_id: optional FrameworkID;
        2 agent_id: optional AgentID;
        3 info: required OfferOperation;
        4 latest_status: required OperationStatus;
        5 statuses: repeated OperationStatus;
        6 uuid: required UUID;
    }

    message Flag {
        1 name: required String;
        2 value: optional String;
    }

    message Role {
        1 name: required String;
        2 weight: required f64;
        3 frameworks: repeated FrameworkID;
        4 resources: repeated Resource;
    }

    message Metric {
        1 name: required String;
        2 value: optional f64;
    }

    message FileInfo {
        1 path: required String;
        2 nlink: optional i32;
        3 size: optional u64;
        4 mtime: optional TimeInfo;
        5 mode: optional u32;
        6 uid: optional String;
        7 gid: optional String;
    }

    message InverseOfferStatus {
        1 status: required InverseOfferStatusStatus;
        2 framework_id: required FrameworkID;
        3 timestamp: required TimeInfo;
    }

    enum InverseOfferStatusStatus {
        1 Unknown = "UNKNOWN";
        2 Accept = "ACCEPT";
        3 Decline = "DECLINE";
    }

    message Window {
        1 machine_ids: repeated MachineID;
        2 unavailability: required Unavailability;
    }

    message Schedule {
        1 windows: repeated Window;
    }

    message ClusterStatus {
        1 draining_machines: repeated ClusterStatusDrainingMachine;
        2 down_machines: repeated MachineID;
    }

    message ClusterStatusDrainingMachine {
        1 id: required MachineID;
        2 statuses: repeated InverseOfferStatus;
    }

    message QuotaInfo {
        1 role: optional String;
        2 principal: optional String;
        3 guarantee: repeated Resource;
    }

    message QuotaRequest {
        1 force: optional bool;
        2 role: optional String;
        3 guarantee: repeated Resource;
    }

    message QuotaConfig {
        1 role: required String;
        2 guarantees: map ValueScalar;
        3 limits: map ValueScalar;
    }

    message QuotaStatus {
        1 infos: repeated QuotaInfo;
        2 configs: repeated QuotaConfig;
    }

    message Duration {
        1 seconds: optional i64;
        2 nanos: optional i32;
    }
}
