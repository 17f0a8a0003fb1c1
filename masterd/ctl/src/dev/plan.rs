//! Which programs a development cluster has, with which flags, ports and files.
//!
//! Writes the configuration files, starts nothing. Called by `nesos dev up`. Invariant: every address is 127.0.0.1, and
//! mDNS is off.

use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::{fs, io::Write};

use nesos_shell::tls;

use super::DevError;
use crate::args::DevUpArgs;

/// Folder of the daemons, if not that of this program.
const FOLDER_VARIABLE: &str = "NESOS_BIN_DIR";

/// What any user's agents can do.
const PLAIN: &str = "posix/cpu,posix/mem";
/// What root's can do on every machine: all about files, and no cgroups, which may be somebody else's.
const WITH_FILES: &str = "posix/cpu,posix/mem,filesystem/linux,docker/runtime,volume/host_path,volume/image,\
    volume/sandbox_path,volume/secret,environment_secret";

/// A development cluster.
#[derive(Debug)]
pub(super) struct Plan {
    /// State and logs.
    pub(super) folder: PathBuf,
    /// `127.0.0.1:port` of the API.
    pub(super) master: String,
    /// The master that founds the cluster.
    pub(super) masterd: Program,
    /// Masters that join it.
    pub(super) others: Vec<Program>,
    /// The agents.
    pub(super) agents: Vec<Program>,
}

/// One daemon.
#[derive(Debug, Clone)]
pub(super) struct Program {
    /// `master`, `agent-1`.
    pub(super) name: String,
    /// Its HTTP address.
    pub(super) url: String,
    /// Standard output and standard error.
    pub(super) log: PathBuf,
    /// The file to execute.
    pub(super) file: PathBuf,
    /// Its flags.
    pub(super) flags: Vec<String>,
}

impl Plan {
    /// Chooses ports and writes the daemons' configuration.
    pub(super) fn new(args: &DevUpArgs, folder: &Path) -> Result<Self, DevError> {
        let key = tls::generate_cluster_key()?;
        let token = tls::join_token(&key)?.to_text();
        let mut ports = Ports::default();
        let port = ports.take(args.port)?;
        let master = format!("127.0.0.1:{port}");
        let cluster_toml = |name: &str, text: String| write_secret(&folder.join(name), &text);

        // A cluster that is started again in its folder keeps its key: agents hold certificates of it.
        let config = folder.join("master.toml");
        let agent_config = folder.join("agent.toml");
        let others: Vec<String> = (2..=args.masters)
            .map(|number| format!("master-{number}"))
            .collect();
        if !config.exists() {
            for name in std::iter::once("master").chain(others.iter().map(String::as_str)) {
                let key = key.to_text();
                let text = format!(
                    "name = \"{name}\"\nrole = \"master\"\n[cluster]\nname = \"dev\"\nkey = \"{key}\"\n"
                );
                cluster_toml(&format!("{name}.toml"), text)?;
            }
            cluster_toml(
                "agent.toml",
                format!("role = \"agent\"\n[cluster]\nname = \"dev\"\ntoken = \"{token}\"\n"),
            )?;
        }
        let mut flags = common_flags("master", port, folder, &config);
        flags.extend(args.master_flag.iter().cloned());
        let masterd = Program::new("master", "masterd", port, folder, flags)?;

        let mut joining = Vec::new();
        for name in others {
            let port = ports.take(0)?;
            let mut flags = common_flags(&name, port, folder, &folder.join(format!("{name}.toml")));
            flags.push(format!("--join={master}"));
            flags.extend(args.master_flag.iter().cloned());
            joining.push(Program::new(&name, "masterd", port, folder, flags)?);
        }
        let isolation = match args.images {
            true if !nix::unistd::geteuid().is_root() => return Err(DevError::NotRoot),
            true => WITH_FILES,
            false => PLAIN,
        };
        let mut agents = Vec::new();
        for number in 1..=args.agents {
            let name = format!("agent-{number}");
            let port = ports.take(0)?;
            let mut flags = common_flags(&name, port, folder, &agent_config);
            flags.push(format!("--master={master}"));
            flags.push(format!("--hostname={name}"));
            flags.push(format!("--resources={}", args.resources));
            flags.push(format!("--isolation={isolation}"));
            flags.extend(args.agent_flag.iter().cloned());
            agents.push(Program::new(&name, "agentd", port, folder, flags)?);
        }
        Ok(Self {
            folder: folder.to_owned(),
            master,
            masterd,
            others: joining,
            agents,
        })
    }

    /// All daemons, masters first.
    pub(super) fn programs(&self) -> impl Iterator<Item = &Program> {
        std::iter::once(&self.masterd)
            .chain(&self.others)
            .chain(&self.agents)
    }
}

impl Program {
    fn new(
        name: &str,
        program: &'static str,
        port: u16,
        folder: &Path,
        flags: Vec<String>,
    ) -> Result<Self, DevError> {
        Ok(Self {
            name: name.to_owned(),
            url: format!("http://127.0.0.1:{port}"),
            log: folder.join(format!("{name}.log")),
            file: find(program)?,
            flags,
        })
    }
}

fn common_flags(name: &str, port: u16, folder: &Path, config: &Path) -> Vec<String> {
    vec![
        "--ip=127.0.0.1".to_owned(),
        format!("--port={port}"),
        format!("--work_dir={}", folder.join(name).display()),
        format!("--config={}", config.display()),
        "--mdns=off".to_owned(),
    ]
}

/// A program that lies beside this one.
pub(crate) fn find(program: &'static str) -> Result<PathBuf, DevError> {
    let folder = match std::env::var_os(FOLDER_VARIABLE) {
        Some(folder) => PathBuf::from(folder),
        None => std::env::current_exe()
            .ok()
            .and_then(|file| Some(file.parent()?.to_owned()))
            .unwrap_or_default(),
    };
    let file = folder.join(program);
    if file.is_file() {
        Ok(file)
    } else {
        Err(DevError::NoProgram { program, folder })
    }
}

fn write_secret(path: &Path, text: &str) -> Result<(), DevError> {
    let mut options = fs::OpenOptions::new();
    let mut write = || {
        options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?
            .write_all(text.as_bytes())
    };
    write().map_err(|source| DevError::File {
        operation: "write",
        path: path.to_owned(),
        source,
    })
}

/// Free ports. The listeners are held until all are chosen, so that none is chosen twice.
#[derive(Debug, Default)]
struct Ports(Vec<TcpListener>);

impl Ports {
    /// Exactly `wanted`, or any free port for 0.
    fn take(&mut self, wanted: u16) -> Result<u16, DevError> {
        let failed = |source| DevError::System {
            operation: format!("listen on 127.0.0.1:{wanted}"),
            source,
        };
        let listener = TcpListener::bind(("127.0.0.1", wanted)).map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        self.0.push(listener);
        Ok(port)
    }
}
