//! `nesos vm up`: makes the boards, switches them on, waits until all have joined.
//!
//! Called by `vm`. Invariant: a start that fails before the boards run leaves nothing behind.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::disk::Secrets;
use super::join::{self, Until};
use super::state::{Board, Cluster};
use super::{VmError, board, disk, lease, switch};
use crate::args::{Output, VmUpArgs};
use crate::failure::Failure;
use crate::output;
use crate::signals::Stop;

/// The image that boards boot.
const IMAGE: &str = "qemu-virt";

/// Starts a cluster in `folder`.
pub(super) async fn up(args: &VmUpArgs, folder: &Path, output: Output) -> Result<(), Failure> {
    let cluster = prepare(args, folder)?;
    let booted = boot(&cluster).await;
    if let Err(error) = booted {
        // The first error is the one to show.
        let _ = board::shut_down_all(&cluster).await;
        let _ = switch::stop(&cluster).await;
        let _ = fs::remove_dir_all(folder);
        return Err(error.into());
    }
    if !args.attach {
        return wait_joined(args, &cluster, output).await;
    }
    let mut stop = Stop::new().map_err(|source| VmError::Terminal {
        operation: "listen for signals",
        source,
    })?;
    let stay = async {
        wait_joined(args, &cluster, output).await?;
        eprintln!("nesos: Ctrl-C takes the cluster down");
        std::future::pending::<Result<(), Failure>>().await
    };
    let result = tokio::select! {
        result = stay => result,
        () = stop.asked() => Ok(()),
    };
    super::down(folder.to_owned(), output).await?;
    result
}

/// Checks everything that can be checked before anything is made.
fn prepare(args: &VmUpArgs, folder: &Path) -> Result<Cluster, VmError> {
    if args.masters > args.boards {
        return Err(VmError::Masters {
            masters: args.masters,
            boards: args.boards,
        });
    }
    match Cluster::load(folder) {
        Ok(old)
            if old.switch_pid().is_some()
                || old.boards.iter().any(|board| old.pid_of(board).is_some()) =>
        {
            return Err(VmError::Running(folder.to_owned()));
        }
        // The rest of one that ended with the machine.
        Ok(_) => fs::remove_dir_all(folder).map_err(|source| VmError::File {
            operation: "remove",
            path: folder.to_owned(),
            source,
        })?,
        Err(VmError::None(_)) => {}
        Err(error) => return Err(error),
    }
    let image = match &args.image {
        Some(folder) => nesos_image::artifacts_in(folder, IMAGE)?,
        None => nesos_image::artifacts(IMAGE)?,
    };
    let absolute = |path: &Path| {
        std::path::absolute(path).map_err(|source| VmError::File {
            operation: "resolve",
            path: path.to_owned(),
            source,
        })
    };
    let (port, ways) = free_ports(args.port, args.masters)?;
    let master = match args.master_runs_tasks || args.masters == args.boards {
        true => "both",
        false => "master",
    };
    let boards = (1..=args.boards).map(|number| {
        let way = ways.get(usize::from(number) - 1).copied();
        Board::new(number, way.map_or("agent", |_| master), way)
    });
    let boards = boards.collect();
    let mut command_line = image.manifest.command_line.clone();
    for word in image.manifest.qemu.append.iter().chain(&args.append) {
        command_line = format!("{command_line} {word}");
    }
    Ok(Cluster {
        folder: folder.to_owned(),
        port,
        memory: args.memory,
        cpus: args.cpus,
        disk: args.disk,
        voting: args.masters,
        election_ms: args.election_timeout,
        u_boot: args.u_boot,
        append: args.append.clone(),
        kernel: absolute(&image.kernel)?,
        image: absolute(&image.image)?,
        command_line,
        machine: image.manifest.qemu.machine.clone(),
        cpu: image.manifest.qemu.cpu.clone(),
        boards,
    })
}

async fn boot(cluster: &Cluster) -> Result<(), VmError> {
    cluster.save()?;
    let key = nesos_shell::tls::generate_cluster_key()?;
    cluster.save_key(&key)?;
    let secrets = Secrets::new(cluster, &key)?;
    for board in &cluster.boards {
        disk::make(cluster, board, &secrets)?;
    }
    switch::start(cluster).await?;
    cluster
        .boards
        .iter()
        .try_for_each(|board| lease::reserve(cluster, board))?;
    cluster
        .boards
        .iter()
        .try_for_each(|board| board::start(cluster, board))
}

async fn wait_joined(args: &VmUpArgs, cluster: &Cluster, output: Output) -> Result<(), Failure> {
    let limit = Duration::from_secs(args.timeout);
    let joined = join::wait(cluster, &cluster.boards, Until::Votes, limit, output).await?;
    let master = format!("http://{}", cluster.master());
    match output {
        Output::Json => output::json(
            &json!({"event": "ready", "master": master, "state_dir": cluster.folder, "seconds": joined}),
        ),
        Output::Table => output::line(&format!(
            "{} boards are up; the API is {master}",
            cluster.boards.len()
        )),
    }
}

/// A port of 127.0.0.1 that nobody has right now.
pub(super) fn free_port() -> Result<u16, VmError> {
    Ok(hold_port(0)?.1)
}

/// The port `wanted` of 127.0.0.1, or any (0), for as long as the listener lives.
fn hold_port(wanted: u16) -> Result<(TcpListener, u16), VmError> {
    let failed = |source| VmError::Port {
        port: wanted,
        source,
    };
    let listener = TcpListener::bind(("127.0.0.1", wanted)).map_err(failed)?;
    let port = listener.local_addr().map_err(failed)?.port();
    Ok((listener, port))
}

/// The API's port, and the ports that lead to the masters: with one master they are the same.
fn free_ports(wanted: u16, masters: u8) -> Result<(u16, Vec<u16>), VmError> {
    // Held until all are chosen, so that none is chosen twice.
    let mut held = Vec::new();
    let mut take = |wanted| -> Result<u16, VmError> {
        let (listener, port) = hold_port(wanted)?;
        held.push(listener);
        Ok(port)
    };
    let door = take(wanted)?;
    if masters == 1 {
        return Ok((door, vec![door]));
    }
    let ways = (0..masters).map(|_| take(0)).collect::<Result<_, _>>()?;
    Ok((door, ways))
}
