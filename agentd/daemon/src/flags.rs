//! agentd's flags: names and kinds, Mesos's where Mesos has the flag. What they mean is in `settings`.

use nesos_shell::flags::{Flag, Kind, Table};

const DAY: u64 = 86_400;

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

/// agentd's flags.
pub(crate) const TABLE: Table = Table {
    program: "agentd",
    version: env!("CARGO_PKG_VERSION"),
    about: "the agent of a Nesos cluster: runs tasks on this machine",
    flags: &[
        flag(
            "master",
            Kind::Text,
            None,
            "host:port of a master; without it the master is found by mDNS",
        ),
        flag(
            "master_tls",
            Kind::Choice(&["required", "off"]),
            Some("required"),
            "off: link to the master without TLS, after joining with it; only on a network where nobody listens who must not",
        ),
        flag(
            "work_dir",
            Kind::Path,
            None,
            "directory for checkpoints and sandboxes; required",
        ),
        flag(
            "runtime_dir",
            Kind::Path,
            None,
            "directory for what runs, lost with a reboot; best in memory, such as /run/nesos/agentd; default: run in work_dir",
        ),
        flag(
            "config",
            Kind::Path,
            None,
            "cluster.toml with join token, name, resources; flags win over it",
        ),
        flag("ip", Kind::Text, Some("0.0.0.0"), "address to listen on"),
        flag(
            "port",
            Kind::Number(0, 65_535),
            Some("5051"),
            "port to listen on; 0: any free one",
        ),
        flag(
            "advertise_ip",
            Kind::Text,
            None,
            "address that others should use for this agent",
        ),
        flag(
            "hostname",
            Kind::Text,
            None,
            "name under which tasks can be reached; default: the machine's",
        ),
        flag(
            "resources",
            Kind::Text,
            None,
            "such as cpus:2;mem:512;disk:1000;ports:[31000-32000]; what is left out is detected",
        ),
        flag("attributes", Kind::Text, None, "such as rack:a1;ssd:true"),
        flag(
            "domain",
            Kind::Text,
            None,
            "where this agent stands, as region/zone or JSON; the master must have one too",
        ),
        flag(
            "isolation",
            Kind::Text,
            Some("posix/cpu,posix/mem"),
            "isolators, separated by commas: posix/cpu and posix/mem only show usage; an unknown name is answered with all there are",
        ),
        flag(
            "cgroups_root",
            Kind::Text,
            Some("nesos"),
            "cgroup below which containers get theirs",
        ),
        flag(
            "cgroups_enable_cfs",
            Kind::Bool,
            Some("false"),
            "limit each task to its cpus even if the machine is idle",
        ),
        flag(
            "cgroups_pids_max",
            Kind::Number(8, 4_194_304),
            Some("512"),
            "most processes and threads of one task, with cgroups/pids",
        ),
        flag(
            "cgroups_io_max",
            Kind::Text,
            None,
            "most that each task reads and writes of work_dir's disk a second, with cgroups/blkio, such as rbps=10MB,wbps=5MB,riops=100,wiops=50",
        ),
        flag(
            "enforce_container_disk_quota",
            Kind::Bool,
            Some("false"),
            "end tasks that use more disk than they were given, with disk/du",
        ),
        flag(
            "container_disk_watch_interval",
            Kind::Duration(1, DAY),
            Some("15secs"),
            "how often each task's disk usage is looked at, with disk/du",
        ),
        flag(
            "gpu_devices",
            Kind::Text,
            None,
            "device files of the gpus, with gpu/devices, such as /dev/dri/renderD128,/dev/kfd;/dev/dri/renderD129; default: what is found",
        ),
        flag(
            "effective_capabilities",
            Kind::Text,
            None,
            "JSON such as {\"capabilities\":[\"NET_RAW\"]}: what tasks that do not run as root have, unless they ask for others",
        ),
        flag(
            "bounding_capabilities",
            Kind::Text,
            None,
            "JSON as above: the most that any task gets; default: what programs of containers usually need",
        ),
        flag(
            "executor",
            Kind::Path,
            None,
            "the executor helper; default: nesos-executor beside agentd",
        ),
        flag(
            "fetcher",
            Kind::Path,
            None,
            "the fetcher's helper; default: nesos-fetcher beside agentd",
        ),
        flag(
            "switch_user",
            Kind::Bool,
            Some("true"),
            "run tasks as the user that they or else their framework names (only if agentd runs as root)",
        ),
        flag(
            "unknown_framework_user",
            Kind::Choice(&["fail", "self"]),
            Some("fail"),
            "tasks of a framework whose user this machine does not know: fail them, or run them as agentd's own user",
        ),
        flag(
            "ca",
            Kind::Path,
            None,
            "PEM file of the CAs that https downloads trust; default: ca.pem beside the config, else the system's",
        ),
        flag(
            "join_token",
            Kind::Text,
            None,
            "join token; better kept in cluster.toml or NESOS_JOIN_TOKEN",
        ),
        flag(
            "node_id",
            Kind::Text,
            None,
            "identity of this machine; default: the board's, or one made once and kept in work_dir",
        ),
        flag(
            "cluster",
            Kind::Text,
            None,
            "name of the cluster to look for with mDNS",
        ),
        flag(
            "mdns",
            Kind::Text,
            Some("on"),
            "on, off or an interface's name: where masters are looked for",
        ),
        flag(
            "executor_access",
            Kind::Choice(&["local", "open"]),
            Some("local"),
            "who may speak as an executor: processes on this host only, or anybody",
        ),
        flag(
            "http_executor_domain_sockets",
            Kind::Bool,
            Some("false"),
            "executors may speak through a unix socket, MESOS_DOMAIN_SOCKET, on which each speaks for itself only",
        ),
        flag(
            "executor_environment_variables",
            Kind::Text,
            None,
            "JSON object of variables for executors and tasks; nothing of agentd's own environment but LIBPROCESS_IP is passed on",
        ),
        flag(
            "executor_registration_timeout",
            Kind::Duration(1, DAY),
            Some("1mins"),
            "give an executor up that does not subscribe within this time of its start",
        ),
        flag(
            "executor_reregistration_timeout",
            Kind::Duration(1, 15),
            Some("15secs"),
            "give an executor up that does not subscribe again within this time of agentd's restart; at most 15secs",
        ),
        flag(
            "executor_shutdown_grace_period",
            Kind::Duration(0, DAY),
            Some("5secs"),
            "from asking an executor to end to killing it, unless it has a period of its own",
        ),
        flag(
            "reconfiguration_policy",
            Kind::Choice(&["equal", "additive", "any"]),
            Some("any"),
            "what may change of hostname, port, domain, resources and attributes from one start to the next",
        ),
        flag(
            "resource_estimator",
            Kind::Choice(&["none", "slack"]),
            Some("none"),
            "slack: lend cpus and memory that tasks were given and do not use, as revocable resources",
        ),
        flag(
            "qos_controller",
            Kind::Choice(&["none", "pressure"]),
            Some("none"),
            "pressure: end a task on revocable resources when others wait too long for processors or memory",
        ),
        flag(
            "oversubscribed_resources_interval",
            Kind::Duration(1, DAY),
            Some("15secs"),
            "pause between two looks at what tasks use, for both of them",
        ),
        flag(
            "qos_cpu_pressure",
            Kind::Number(0, 100),
            Some("30"),
            "per cent of ten seconds that some process of a task may wait for a processor",
        ),
        flag(
            "qos_memory_pressure",
            Kind::Number(0, 100),
            Some("10"),
            "per cent of ten seconds that all processes of a task may wait for memory",
        ),
        flag(
            "recovery_timeout",
            Kind::Duration(1, 7 * DAY),
            Some("15mins"),
            "how long executors are told to wait for an agentd that is away",
        ),
        flag(
            "gc_delay",
            Kind::Duration(0, 365 * DAY),
            Some("1weeks"),
            "how long sandboxes of ended tasks are kept; shorter when the disk fills up",
        ),
        flag(
            "gc_disk_headroom",
            Kind::Text,
            Some("0.1"),
            "part of the disk to keep free, 0 to 1",
        ),
        flag(
            "max_stdout_size",
            Kind::Text,
            Some("10MB"),
            "most bytes of a file of a task's standard output, which is turned over then; 0B: no bound; \
             CONTAINER_LOGGER_MAX_STDOUT_SIZE in a task's environment takes precedence",
        ),
        flag(
            "max_stderr_size",
            Kind::Text,
            Some("10MB"),
            "the same of its standard error",
        ),
        flag(
            "max_output_files",
            Kind::Number(1, 1000),
            Some("2"),
            "files of each that are kept: stdout, stdout.1 and so on",
        ),
        flag(
            "fetcher_cache_dir",
            Kind::Path,
            None,
            "where fetched files are kept that tasks ask to keep; emptied at start; default: fetch in work_dir",
        ),
        flag(
            "fetcher_cache_size",
            Kind::Text,
            Some("2GB"),
            "most bytes kept there",
        ),
        flag(
            "image_providers",
            Kind::Text,
            None,
            "docker, as for Mesos's agent; docker/runtime in --isolation says the same",
        ),
        flag(
            "docker_registry",
            Kind::Text,
            Some("https://registry-1.docker.io"),
            "where images without a registry in their name come from: a URL, or a folder of archives called NAME:TAG.tar",
        ),
        flag(
            "docker_config",
            Kind::Text,
            None,
            "logins of registries: the absolute path of Docker's config.json, or its JSON",
        ),
        flag(
            "docker_store_dir",
            Kind::Path,
            None,
            "where unpacked layers of images are kept; default: store/docker in work_dir",
        ),
        flag(
            "sandbox_directory",
            Kind::Text,
            Some("/mnt/mesos/sandbox"),
            "where tasks with an image find their sandbox",
        ),
        flag(
            "fetcher_stall_timeout",
            Kind::Duration(1, DAY),
            Some("1mins"),
            "give a download up that stands still for this long",
        ),
        flag(
            "api_access",
            Kind::Choice(&["local", "open", "authenticated"]),
            Some("local"),
            "who may write through HTTP: this host only, anybody, or who has credentials; reading is open to all",
        ),
        flag(
            "credentials",
            Kind::Path,
            None,
            "JSON file of principals and secrets, as Mesos's",
        ),
        flag(
            "logging_level",
            Kind::Text,
            Some("INFO"),
            "DEBUG, INFO, WARNING or ERROR",
        ),
    ],
};
