//! The work directory's skeleton, its lock, and the machine's identity.
//!
//! Called once at start. Layout: `meta/` (checkpoint log, key, credentials, node id; mode 0700), `slaves/<agent>/…` (sandboxes,
//! as Mesos lays them out), and, unless `--runtime_dir` says where else, `run/<container>/` (one helper each; mode 0700).

use std::fs::{self, DirBuilder, File};
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nesos_shell::flags::Values;
use nesos_sys::fs::write_durably;
use nesos_wire::NodeId;
use nix::fcntl::{Flock, FlockArg};
use nix::net::if_::InterfaceFlags;

use crate::settings::SettingsError;

/// Where init writes the board's identity.
const BOARD_NODE_ID: &str = "/run/nesos/node-id";
const NODE_ID: &str = "node-id";

pub(crate) fn meta(work_dir: &Path) -> PathBuf {
    work_dir.join("meta")
}

/// Makes what is missing; where helpers live needs to outlast agentd, not the machine's power.
pub(crate) fn make_directories(work_dir: &Path, runtime_dir: &Path) -> Result<(), SettingsError> {
    let make = |flag: &str, path: &Path, mode: u32| {
        let made = DirBuilder::new().recursive(true).mode(mode).create(path);
        made.map_err(|e| SettingsError::new(flag, format!("cannot create {}: {e}", path.display())))
    };
    make("--work_dir", work_dir, 0o755)?;
    make("--work_dir", &meta(work_dir), 0o700)?;
    make("--work_dir", &work_dir.join("slaves"), 0o755)?;
    make("--runtime_dir", runtime_dir, 0o700)
}

/// Keeps a second agentd out of the work directory for as long as the value lives.
pub(crate) fn lock(work_dir: &Path) -> Result<Flock<File>, SettingsError> {
    let path = meta(work_dir).join("lock");
    let fail = |reason: String| SettingsError::new("--work_dir", reason);
    let file =
        File::create(&path).map_err(|e| fail(format!("cannot create {}: {e}", path.display())))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| {
        fail(format!(
            "{} is in use by another agentd ({errno})",
            work_dir.display()
        ))
    })
}

/// The first IPv4 address of this machine by which others may reach it.
pub(crate) fn own_address() -> Option<Ipv4Addr> {
    let interfaces = nix::ifaddrs::getifaddrs().ok()?;
    let mut addresses = interfaces
        .filter(|interface| interface.flags.contains(InterfaceFlags::IFF_UP))
        .filter_map(|interface| Some(interface.address?.as_sockaddr_in()?.ip()));
    addresses.find(|address| !address.is_loopback() && !address.is_link_local())
}

/// The machine's identity: given, the board's, or one made at the first start.
pub(crate) fn node(flags: &Values, work_dir: &Path) -> Result<NodeId, SettingsError> {
    let parse = |place: &str, text: &str| {
        NodeId::parse(text.trim()).map_err(|e| SettingsError::new(place, e))
    };
    if let Some(text) = flags.text("node_id") {
        return parse("--node_id", text);
    }
    if let Ok(text) = fs::read_to_string(BOARD_NODE_ID) {
        return parse(BOARD_NODE_ID, &text);
    }
    let path = meta(work_dir).join(NODE_ID);
    match fs::read_to_string(&path) {
        Ok(text) => parse(&path.display().to_string(), &text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => make_node(work_dir),
        Err(error) => Err(SettingsError::new(path.display().to_string(), error)),
    }
}

fn make_node(work_dir: &Path) -> Result<NodeId, SettingsError> {
    let mut bytes = [0; 8];
    nesos_shell::tls::random(&mut bytes).map_err(|e| SettingsError::new("node id", e))?;
    let text = nesos_base::token::hex(&bytes);
    write_durably(&meta(work_dir), NODE_ID, text.as_bytes())
        .map_err(|e| SettingsError::new("--work_dir", e))?;
    Ok(NodeId::new(text))
}
