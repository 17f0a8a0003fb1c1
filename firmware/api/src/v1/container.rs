//! Containers: images, volumes, networks, Linux settings.
//!
//! Tables only, no behaviour: names, numbers and defaults are those of `mesos/v1/mesos.proto`,
//! nested types joined to one name.
//! Used by the daemons and the command line through the module above. Invariant: a published number never changes.

use super::*;
use crate::message::messages;

messages! {
    message ContainerInfo {
        1 r#type: required ContainerInfoType;
        2 volumes: repeated Volume;
        4 hostname: optional String;
        3 docker: optional Box<ContainerInfoDockerInfo>;
        5 mesos: optional ContainerInfoMesosInfo;
        7 network_infos: repeated NetworkInfo;
        8 linux_info: optional Box<LinuxInfo>;
        9 rlimit_info: optional RLimitInfo;
        10 tty_info: optional TTYInfo;
    }

    enum ContainerInfoType {
        1 Docker = "DOCKER";
        2 Mesos = "MESOS";
    }

    message ContainerInfoDockerInfo {
        1 image: required String;
        2 network: optional ContainerInfoDockerInfoNetwork = ContainerInfoDockerInfoNetwork::Host;
        3 port_mappings: repeated ContainerInfoDockerInfoPortMapping;
        4 privileged: optional bool = false;
        5 parameters: repeated Parameter;
        6 force_pull_image: optional bool;
        7 volume_driver: optional String;
    }

    enum ContainerInfoDockerInfoNetwork {
        1 Host = "HOST";
        2 Bridge = "BRIDGE";
        3 None = "NONE";
        4 User = "USER";
    }

    message ContainerInfoDockerInfoPortMapping {
        1 host_port: required u32;
        2 container_port: required u32;
        3 protocol: optional String;
    }

    message ContainerInfoMesosInfo {
        1 image: optional Image;
    }

    message Image {
        1 r#type: required ImageType;
        2 appc: optional ImageAppc;
        3 docker: optional ImageDocker;
        4 cached: optional bool = true;
    }

    enum ImageType {
        1 Appc = "APPC";
        2 Docker = "DOCKER";
    }

    message ImageAppc {
        1 name: required String;
        2 id: optional String;
        3 labels: optional Labels;
    }

    message ImageDocker {
        1 name: required String;
        2 credential: optional Credential;
        3 config: optional Secret;
    }

    message MountPropagation {
        1 mode: optional MountPropagationMode;
    }

    enum MountPropagationMode {
        0 Unknown = "UNKNOWN";
        1 HostToContainer = "HOST_TO_CONTAINER";
        2 Bidirectional = "BIDIRECTIONAL";
    }

    message Volume {
        3 mode: required VolumeMode;
        1 container_path: required String;
        2 host_path: optional String;
        4 image: optional Image;
        5 source: optional Box<VolumeSource>;
    }

    enum VolumeMode {
        1 Rw = "RW";
        2 Ro = "RO";
    }

    message VolumeSource {
        1 r#type: optional VolumeSourceType;
        2 docker_volume: optional VolumeSourceDockerVolume;
        5 host_path: optional VolumeSourceHostPath;
        3 sandbox_path: optional VolumeSourceSandboxPath;
        4 secret: optional Secret;
        6 csi_volume: optional VolumeSourceCSIVolume;
    }

    enum VolumeSourceType {
        0 Unknown = "UNKNOWN";
        1 DockerVolume = "DOCKER_VOLUME";
        4 HostPath = "HOST_PATH";
        2 SandboxPath = "SANDBOX_PATH";
        3 Secret = "SECRET";
        5 CsiVolume = "CSI_VOLUME";
    }

    message VolumeSourceDockerVolume {
        1 driver: optional String;
        2 name: required String;
        3 driver_options: optional Parameters;
    }

    message VolumeSourceHostPath {
        1 path: required String;
        2 mount_propagation: optional MountPropagation;
    }

    message VolumeSourceSandboxPath {
        1 r#type: optional VolumeSourceSandboxPathType;
        2 path: required String;
    }

    enum VolumeSourceSandboxPathType {
        0 Unknown = "UNKNOWN";
        1 Own = "SELF";
        2 Parent = "PARENT";
    }

    message VolumeSourceCSIVolume {
        1 plugin_name: required String;
        2 static_provisioning: optional VolumeSourceCSIVolumeStaticProvisioning;
    }

    message VolumeSourceCSIVolumeVolumeCapability {
        1 block: optional VolumeSourceCSIVolumeVolumeCapabilityBlockVolume;
        2 mount: optional VolumeSourceCSIVolumeVolumeCapabilityMountVolume;
        3 access_mode: required VolumeSourceCSIVolumeVolumeCapabilityAccessMode;
    }

    message VolumeSourceCSIVolumeVolumeCapabilityBlockVolume {}

    message VolumeSourceCSIVolumeVolumeCapabilityMountVolume {
        1 fs_type: optional String;
        2 mount_flags: repeated String;
    }

    message VolumeSourceCSIVolumeVolumeCapabilityAccessMode {
        1 mode: required VolumeSourceCSIVolumeVolumeCapabilityAccessModeMode;
    }

    enum VolumeSourceCSIVolumeVolumeCapabilityAccessModeMode {
        0 Unknown = "UNKNOWN";
        1 SingleNodeWriter = "SINGLE_NODE_WRITER";
        2 SingleNodeReaderOnly = "SINGLE_NODE_READER_ONLY";
        3 MultiNodeReaderOnly = "MULTI_NODE_READER_ONLY";
        4 MultiNodeSingleWriter = "MULTI_NODE_SINGLE_WRITER";
        5 MultiNodeMultiWriter = "MULTI_NODE_MULTI_WRITER";
    }

    message VolumeSourceCSIVolumeStaticProvisioning {
        1 volume_id: required String;
        2 volume_capability: required VolumeSourceCSIVolumeVolumeCapability;
        3 node_stage_secrets: map Secret;
        4 node_publish_secrets: map Secret;
        5 volume_context: map String;
    }

    message NetworkInfo {
        5 ip_addresses: repeated NetworkInfoIPAddress;
        6 name: optional String;
        3 groups: repeated String;
        4 labels: optional Labels;
        7 port_mappings: repeated NetworkInfoPortMapping;
    }

    enum NetworkInfoProtocol {
        1 IPv4 = "IPv4";
        2 IPv6 = "IPv6";
    }

    message NetworkInfoIPAddress {
        1 protocol: optional NetworkInfoProtocol = NetworkInfoProtocol::IPv4;
        2 ip_address: optional String;
    }

    message NetworkInfoPortMapping {
        1 host_port: required u32;
        2 container_port: required u32;
        3 protocol: optional String;
    }

    message CapabilityInfo {
        1 capabilities: repeated CapabilityInfoCapability;
    }

    enum CapabilityInfoCapability {
        0 Unknown = "UNKNOWN";
        1000 Chown = "CHOWN";
        1001 DacOverride = "DAC_OVERRIDE";
        1002 DacReadSearch = "DAC_READ_SEARCH";
        1003 Fowner = "FOWNER";
        1004 Fsetid = "FSETID";
        1005 Kill = "KILL";
        1006 Setgid = "SETGID";
        1007 Setuid = "SETUID";
        1008 Setpcap = "SETPCAP";
        1009 LinuxImmutable = "LINUX_IMMUTABLE";
        1010 NetBindService = "NET_BIND_SERVICE";
        1011 NetBroadcast = "NET_BROADCAST";
        1012 NetAdmin = "NET_ADMIN";
        1013 NetRaw = "NET_RAW";
        1014 IpcLock = "IPC_LOCK";
        1015 IpcOwner = "IPC_OWNER";
        1016 SysModule = "SYS_MODULE";
        1017 SysRawio = "SYS_RAWIO";
        1018 SysChroot = "SYS_CHROOT";
        1019 SysPtrace = "SYS_PTRACE";
        1020 SysPacct = "SYS_PACCT";
        1021 SysAdmin = "SYS_ADMIN";
        1022 SysBoot = "SYS_BOOT";
        1023 SysNice = "SYS_NICE";
        1024 SysResource = "SYS_RESOURCE";
        1025 SysTime = "SYS_TIME";
        1026 SysTtyConfig = "SYS_TTY_CONFIG";
        1027 Mknod = "MKNOD";
        1028 Lease = "LEASE";
        1029 AuditWrite = "AUDIT_WRITE";
        1030 AuditControl = "AUDIT_CONTROL";
        1031 Setfcap = "SETFCAP";
        1032 MacOverride = "MAC_OVERRIDE";
        1033 MacAdmin = "MAC_ADMIN";
        1034 Syslog = "SYSLOG";
        1035 WakeAlarm = "WAKE_ALARM";
        1036 BlockSuspend = "BLOCK_SUSPEND";
        1037 AuditRead = "AUDIT_READ";
        1038 Perfmon = "PERFMON";
        1039 Bpf = "BPF";
        1040 CheckpointRestore = "CHECKPOINT_RESTORE";
    }

    message SeccompInfo {
        1 profile_name: optional String;
        2 unconfined: optional bool;
    }

    message LinuxInfo {
        1 capability_info: optional CapabilityInfo;
        2 bounding_capabilities: optional CapabilityInfo;
        3 effective_capabilities: optional CapabilityInfo;
        4 share_pid_namespace: optional bool;
        5 seccomp: optional SeccompInfo;
        6 ipc_mode: optional LinuxInfoIpcMode;
        7 shm_size: optional u32;
        8 share_cgroups: optional bool = true;
    }

    enum LinuxInfoIpcMode {
        0 Unknown = "UNKNOWN";
        1 Private = "PRIVATE";
        2 ShareParent = "SHARE_PARENT";
    }

    message RLimitInfo {
        1 rlimits: repeated RLimitInfoRLimit;
    }

    message RLimitInfoRLimit {
        1 r#type: optional RLimitInfoRLimitType;
        2 hard: optional u64;
        3 soft: optional u64;
    }

    enum RLimitInfoRLimitType {
        0 Unknown = "UNKNOWN";
        1 RlmtAs = "RLMT_AS";
        2 RlmtCore = "RLMT_CORE";
        3 RlmtCpu = "RLMT_CPU";
        4 RlmtData = "RLMT_DATA";
        5 RlmtFsize = "RLMT_FSIZE";
        6 RlmtLocks = "RLMT_LOCKS";
        7 RlmtMemlock = "RLMT_MEMLOCK";
        8 RlmtMsgqueue = "RLMT_MSGQUEUE";
        9 RlmtNice = "RLMT_NICE";
        10 RlmtNofile = "RLMT_NOFILE";
        11 RlmtNproc = "RLMT_NPROC";
        12 RlmtRss = "RLMT_RSS";
        13 RlmtRtprio = "RLMT_RTPRIO";
        14 RlmtRttime = "RLMT_RTTIME";
        15 RlmtSigpending = "RLMT_SIGPENDING";
        16 RlmtStack = "RLMT_STACK";
    }

    message TTYInfo {
        1 window_size: optional TTYInfoWindowSize;
    }

    message TTYInfoWindowSize {
        1 rows: required u32;
        2 columns: required u32;
    }

    message Credential {
        1 principal: required String;
        2 secret: optional String;
    }
}
