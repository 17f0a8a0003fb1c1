//! The executor API: `Call` (what an executor posts to its agent) and `Event` (what its stream carries).
//!
//! Tables only, no behaviour: names, numbers and defaults are those of `mesos/v1/executor/executor.proto`,
//! nested types joined to one name. Used by agentd and by tests that play an executor.
//! Invariant: a published number never changes.

use crate::message::{Bytes, messages};
use crate::v1::*;

messages! {
    message Call {
        1 executor_id: required ExecutorID;
        2 framework_id: required FrameworkID;
        3 r#type: optional CallType;
        4 subscribe: optional CallSubscribe;
        5 update: optional CallUpdate;
        6 message: optional CallMessage;
    }

    enum CallType {
        0 Unknown = "UNKNOWN";
        1 Subscribe = "SUBSCRIBE";
        2 Update = "UPDATE";
        3 Message = "MESSAGE";
        4 Heartbeat = "HEARTBEAT";
    }

    message CallSubscribe {
        1 unacknowledged_tasks: repeated TaskInfo;
        2 unacknowledged_updates: repeated CallUpdate;
    }

    message CallUpdate {
        1 status: required TaskStatus;
    }

    message CallMessage {
        2 data: required Bytes;
    }

    message Event {
        1 r#type: optional EventType;
        2 subscribed: optional EventSubscribed;
        3 acknowledged: optional EventAcknowledged;
        4 launch: optional EventLaunch;
        8 launch_group: optional EventLaunchGroup;
        5 kill: optional EventKill;
        6 message: optional EventMessage;
        7 error: optional EventError;
    }

    enum EventType {
        0 Unknown = "UNKNOWN";
        1 Subscribed = "SUBSCRIBED";
        2 Launch = "LAUNCH";
        8 LaunchGroup = "LAUNCH_GROUP";
        3 Kill = "KILL";
        4 Acknowledged = "ACKNOWLEDGED";
        5 Message = "MESSAGE";
        6 Error = "ERROR";
        7 Shutdown = "SHUTDOWN";
        9 Heartbeat = "HEARTBEAT";
    }

    message EventSubscribed {
        1 executor_info: required ExecutorInfo;
        2 framework_info: required FrameworkInfo;
        3 agent_info: required AgentInfo;
        4 container_id: optional ContainerID;
    }

    message EventLaunch {
        1 task: required TaskInfo;
    }

    message EventLaunchGroup {
        1 task_group: required TaskGroupInfo;
    }

    message EventKill {
        1 task_id: required TaskID;
        2 kill_policy: optional KillPolicy;
    }

    message EventAcknowledged {
        1 task_id: required TaskID;
        2 uuid: required Bytes;
    }

    message EventMessage {
        1 data: required Bytes;
    }

    message EventError {
        1 message: required String;
    }
}
