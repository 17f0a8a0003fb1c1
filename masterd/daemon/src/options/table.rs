//! masterd's flags by name, kind, default and what they mean.
//!
//! Declarations only; read by the module above. Names that Mesos has mean what they mean there.

use nesos_shell::flags::{Flag, Kind, Table};

/// What masterd understands.
pub(crate) const TABLE: Table = Table {
    program: "masterd",
    version: env!("CARGO_PKG_VERSION"),
    about: "the master of a Nesos cluster",
    flags: &[
        flag("ip", Kind::Text, Some("0.0.0.0"), "Address to listen on."),
        flag(
            "port",
            Kind::Number(0, 65535),
            Some("5050"),
            "Port for agents, schedulers and people; 0: any free one.",
        ),
        flag(
            "work_dir",
            Kind::Path,
            None,
            "Folder of the registry, the cluster key and the join token. Required.",
        ),
        flag(
            "cluster",
            Kind::Text,
            None,
            "The cluster's name; shown to people and advertised.",
        ),
        flag(
            "hostname",
            Kind::Text,
            None,
            "Name of this host as others reach it; default: the system's.",
        ),
        flag(
            "advertise_ip",
            Kind::Text,
            None,
            "Address told to others, if not the one listened on.",
        ),
        flag(
            "advertise_port",
            Kind::Number(1, 65535),
            None,
            "Port told to others, if not the one listened on.",
        ),
        flag(
            "config",
            Kind::Path,
            None,
            "A cluster.toml; command line and environment override it.",
        ),
        flag(
            "api_access",
            Kind::Choice(&["local", "open", "authenticated"]),
            Some("local"),
            "Who may write through HTTP: this host only, anybody, or who has credentials. Reading is open to all.",
        ),
        flag(
            "credentials",
            Kind::Path,
            None,
            "JSON file of principals and secrets, as Mesos's.",
        ),
        flag(
            "join",
            Kind::Text,
            None,
            "host:port of masters, separated by commas, or mdns, whose group this master asks to be let into (nesos master add); \
             it needs the same cluster key. Only a work_dir that is new asks.",
        ),
        flag(
            "masters",
            Kind::Number(1, 7),
            None,
            "Let in by itself who asks and has the cluster key, while this master leads, until so many masters take part: 1, 3, 5 or \
             7, the same on all masters. Default: nesos master add does.",
        ),
        flag(
            "election_timeout_ms",
            Kind::Number(50, 60_000),
            Some("250"),
            "Milliseconds of the leading master's silence until others ask to be elected; it is heard in two fifths of that. A closed \
             connection does not wait for it. More where machines stand still for longer; the same on all masters.",
        ),
        flag(
            "force_new_cluster",
            Kind::Text,
            None,
            "The number of this disk's master: makes it the only master of a new group, with what the disk has, and ends. Only when \
             most masters are lost for ever; what they alone had agreed on is lost with them.",
        ),
        flag(
            "restore",
            Kind::Path,
            None,
            "A backup (nesos master backup): makes a new work_dir that of the only master of a new group with it, and ends.",
        ),
        flag(
            "ready_file",
            Kind::Path,
            None,
            "A file that is made when this master has found its place in a group: it leads, or knows who does.",
        ),
        flag(
            "mdns",
            Kind::Text,
            Some("off"),
            "Advertise _nesos._tcp, and look for it with --join=mdns: off, on, or one interface's name.",
        ),
        flag(
            "agent_tls",
            Kind::Choice(&["required", "optional"]),
            Some("required"),
            "Whether agents may link without TLS (optional): only on a network where nobody listens who must not.",
        ),
        flag(
            "agent_ping_timeout",
            Kind::Duration(1, 900),
            Some("5secs"),
            "Pause between pings of an agent.",
        ),
        flag(
            "max_agent_ping_timeouts",
            Kind::Number(1, 1000),
            Some("3"),
            "Unanswered pings until a link is given up.",
        ),
        flag(
            "agent_reregister_timeout",
            Kind::Duration(1, 31_536_000),
            Some("30secs"),
            "How long an agent may be away until it is unreachable.",
        ),
        flag(
            "agent_removal_rate_limit",
            Kind::Text,
            None,
            "Most agents declared unreachable within a time, such as 1/10mins; default: no limit.",
        ),
        flag(
            "offer_timeout",
            Kind::Duration(1, 31_536_000),
            None,
            "How long an offer stands before it is rescinded; default: for ever.",
        ),
        flag(
            "domain",
            Kind::Text,
            None,
            "Where this master stands, as region/zone or JSON; agents elsewhere are for region-aware frameworks.",
        ),
        flag(
            "roles",
            Kind::Text,
            None,
            "If given, the only roles, separated by commas.",
        ),
        flag(
            "weights",
            Kind::Text,
            None,
            "Weights such as web=2,lab/east=0.5 for a registry that has none yet.",
        ),
        flag(
            "allocator_agent_recovery_factor",
            Kind::Text,
            Some("0.80"),
            "With quota, a master makes no offers after its start until this part of the agents is back.",
        ),
        flag(
            "allocator_recovery_timeout",
            Kind::Duration(1, 31_536_000),
            Some("10mins"),
            "But it waits no longer than this.",
        ),
        flag(
            "min_allocatable_resources",
            Kind::Text,
            Some("cpus:0.01|mem:32"),
            "An offer must hold one of these, separated by '|'.",
        ),
        flag(
            "filter_gpu_resources",
            Kind::Bool,
            Some("true"),
            "Agents with gpus only for frameworks that know gpus.",
        ),
        flag(
            "max_completed_frameworks",
            Kind::Number(0, 10_000),
            Some("50"),
            "Ended frameworks that are still shown.",
        ),
        flag(
            "max_completed_tasks_per_framework",
            Kind::Number(0, 100_000),
            Some("1000"),
            "Ended tasks of a framework that are still shown.",
        ),
        flag(
            "max_unreachable_tasks_per_framework",
            Kind::Number(0, 100_000),
            Some("1000"),
            "Tasks of a framework on unreachable agents that are still known.",
        ),
        flag(
            "max_operator_event_stream_subscribers",
            Kind::Number(1, 1000),
            Some("32"),
            "Operators' event streams at a time (each may hold all of /state until it is read); one more ends the oldest.",
        ),
        flag(
            "large_answer_timeout",
            Kind::Duration(1, 86_400),
            Some("80secs"),
            "How long a client may take to read /state or its like (80 s: ten megabytes at 1 Mbit/s); then it is cut off.",
        ),
        flag(
            "publish_per_framework_metrics",
            Kind::Bool,
            Some("true"),
            "Whether metrics name each framework; many frameworks make a long answer.",
        ),
        flag(
            "root_submissions",
            Kind::Bool,
            Some("true"),
            "Whether frameworks may run as root.",
        ),
        flag(
            "logging_level",
            Kind::Text,
            Some("INFO"),
            "DEBUG, INFO, WARNING or ERROR.",
        ),
        flag(
            "quiet",
            Kind::Bool,
            Some("false"),
            "Log nothing but errors (Mesos's flag).",
        ),
    ],
};

const fn flag(
    name: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    help: &'static str,
) -> Flag {
    Flag {
        name,
        kind,
        default,
        help,
    }
}
