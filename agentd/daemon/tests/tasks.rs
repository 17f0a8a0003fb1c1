//! A real agentd with real tasks, and a master that the test plays.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;

use common::{Master, key, run, shell, until};
use nesos_api::v1;
use nesos_sys::process;
use nesos_wire::message::{AgentToMaster, FileError, MasterToAgent};
use nesos_wire::task::{Reason, TaskState, Uri};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

/// Waits for the file `go` in its sandbox, then ends with status 7.
const WAITER: &str = "echo begun; while [ ! -e go ]; do sleep 0.02; done; echo done; exit 7";

#[test]
fn a_task_runs_and_its_output_and_status_arrive() {
    run(async {
        let mut master = Master::new().await;
        master.start_agent();
        let (mut link, hello) = master.link().await;
        assert_eq!(
            (hello.hostname.as_str(), hello.agent, hello.tasks.len()),
            ("test", None, 0)
        );
        link.launch(shell(
            "t",
            "echo out $MESOS_TASK_ID; echo err >&2; pwd; exit 3",
        ))
        .await;
        let (states, last) = link.until(TaskState::Failed).await;
        assert_eq!(
            states,
            [TaskState::Starting, TaskState::Running, TaskState::Failed]
        );
        assert_eq!(last.status.message, "Command exited with status 3");
        assert!(link.text("t", "stdout").await.starts_with("out t\n/"));
        assert_eq!(link.text("t", "stderr").await, "err\n");
        assert!(link.read_file("t", "stdout").await.unwrap().ended);
        assert_eq!(
            link.read_file("t", "nothing").await,
            Err(FileError::NotFound)
        );
        assert_eq!(
            link.read_file("t", "../../../../../../../../../meta/checkpoint.log")
                .await,
            Err(FileError::Forbidden)
        );
        assert_eq!(
            link.read_file("stranger", "stdout").await,
            Err(FileError::UnknownTask)
        );
        until("the run directory to go", || {
            fs::read_dir(master.work_dir().join("run"))
                .unwrap()
                .next()
                .is_none()
                .then_some(())
        })
        .await;
    });
}

#[test]
fn tasks_outlive_a_killed_agentd_and_their_status_arrives() {
    run(async {
        let mut master = Master::new().await;
        master.start_agent();
        let (mut link, _) = master.link().await;
        for task in ["later", "meanwhile"] {
            link.launch(shell(task, WAITER)).await;
            link.until(TaskState::Running).await;
        }
        master.kill_agent();
        fs::write(master.sandbox("meanwhile").join("go"), "").unwrap();
        let exit = |task: &str| {
            let container = fs::read_link(master.sandbox(task)).unwrap();
            master.work_dir().join("run").join(container).join("exit")
        };
        let record = exit("meanwhile");
        until("the exit record", || record.exists().then_some(())).await;
        master.start_agent();
        let (mut link, hello) = master.link().await;
        assert_eq!(hello.tasks.len(), 2);
        assert_eq!(
            hello.agent.map(|id| id.to_string()).as_deref(),
            Some("m-S1")
        );
        let (_, update) = link.until(TaskState::Failed).await;
        assert_eq!(
            (update.key.clone(), update.status.message.as_str()),
            (key("meanwhile"), "Command exited with status 7")
        );
        fs::write(master.sandbox("later").join("go"), "").unwrap();
        let (_, update) = link.until(TaskState::Failed).await;
        assert_eq!(
            (update.key.clone(), update.status.message.as_str()),
            (key("later"), "Command exited with status 7")
        );
        assert_eq!(link.text("later", "stdout").await, "begun\ndone\n");
    });
}

#[test]
fn an_unacknowledged_end_is_told_again_after_a_restart() {
    run(async {
        let mut master = Master::new().await;
        master.start_agent();
        let (mut link, _) = master.link().await;
        link.launch(shell("t", "true")).await;
        let Some(AgentToMaster::Update(first)) = link.next().await else {
            panic!("an update")
        };
        assert_eq!(first.status.state, TaskState::Starting);
        let log = master.work_dir().join("meta/checkpoint.log");
        let has_finished = || {
            String::from_utf8_lossy(&fs::read(&log).unwrap())
                .contains("Command exited with status 0")
        };
        until("the end to be checkpointed", || {
            has_finished().then_some(())
        })
        .await;
        master.kill_agent();
        master.start_agent();
        let (mut link, hello) = master.link().await;
        assert_eq!(hello.tasks[0].latest, TaskState::Finished);
        let (states, _) = link.until(TaskState::Finished).await;
        assert_eq!(
            states,
            [TaskState::Starting, TaskState::Running, TaskState::Finished]
        );
        until("the record to be freed", || {
            fs::read_dir(master.work_dir().join("run"))
                .unwrap()
                .next()
                .is_none()
                .then_some(())
        })
        .await;
    });
}

#[test]
fn a_kill_ends_the_whole_tree() {
    run(async {
        let mut master = Master::new().await;
        master.start_agent();
        let (mut link, _) = master.link().await;
        link.launch(shell(
            "t",
            "trap '' TERM; sleep 1000 & echo $! > child; while :; do sleep 0.05; done",
        ))
        .await;
        link.until(TaskState::Running).await;
        let child = until("the child", || {
            fs::read_to_string(master.sandbox("t").join("child"))
                .ok()
                .filter(|text| text.ends_with('\n'))
        })
        .await;
        link.send(&MasterToAgent::Kill {
            key: key("t"),
            grace_ms: Some(100),
        })
        .await;
        let (states, update) = link.until(TaskState::Killed).await;
        assert_eq!(states, [TaskState::Killing, TaskState::Killed]);
        assert_eq!(
            update.status.message,
            "Command terminated by signal SIGKILL"
        );
        let gone = || !std::path::Path::new(&format!("/proc/{}", child.trim())).exists();
        until("the child to be gone", || gone().then_some(())).await;
    });
}

#[test]
fn files_are_fetched_and_hostile_names_fail_the_launch() {
    run(async {
        let mut master = Master::new().await;
        let tool = master.folder.path().join("tool");
        fs::write(&tool, "#!/bin/sh\necho fetched\n").unwrap();
        master.start_agent();
        let (mut link, _) = master.link().await;
        let uri = |output_file: Option<&str>| Uri {
            value: format!("file://{}", tool.display()),
            executable: true,
            extract: false,
            cache: false,
            output_file: output_file.map(Into::into),
        };
        let mut task = shell("t", "./bin/run");
        task.command.uris = vec![uri(Some("bin/run"))];
        link.launch(task).await;
        link.until(TaskState::Finished).await;
        assert_eq!(link.text("t", "stdout").await, "fetched\n");
        let mut hostile = shell("hostile", "true");
        hostile.command.uris = vec![uri(Some("../escaped"))];
        link.launch(hostile).await;
        let (_, update) = link.until(TaskState::Failed).await;
        assert_eq!(update.status.reason, Some(Reason::ContainerLaunchFailed));
        assert!(
            update.status.message.contains("'../escaped' is not a name"),
            "{}",
            update.status.message
        );
    });
}

#[test]
fn a_program_that_is_not_there_fails_with_its_name() {
    run(async {
        let mut master = Master::new().await;
        master.start_agent();
        let (mut link, _) = master.link().await;
        let mut task = shell("t", "/no/such/program");
        task.command.shell = false;
        link.launch(task).await;
        let (_, update) = link.until(TaskState::Failed).await;
        assert_eq!(update.status.reason, Some(Reason::ContainerLaunchFailed));
        assert!(
            update.status.message.contains("/no/such/program"),
            "{}",
            update.status.message
        );
    });
}

#[test]
fn sigterm_leaves_tasks_and_sigusr1_ends_them_with_a_goodbye() {
    run(async {
        let mut master = Master::new().await;
        master.start_agent();
        let (mut link, _) = master.link().await;
        link.launch(shell("t", "sleep 1000")).await;
        link.until(TaskState::Running).await;
        master.signal(Signal::SIGTERM);
        assert!(master.agent_ends().await.success());
        master.start_agent();
        let (mut link, hello) = master.link().await;
        assert_eq!(hello.tasks[0].latest, TaskState::Running);
        master.signal(Signal::SIGUSR1);
        loop {
            match link.next().await.expect("the link is open") {
                AgentToMaster::Goodbye => break,
                AgentToMaster::Update(update) => link.acknowledge(&update).await,
                _ => {}
            }
        }
        assert!(master.agent_ends().await.success());
        assert_eq!(
            fs::read_dir(master.work_dir().join("run")).unwrap().count(),
            0
        );
    });
}

fn of_framework_user(name: &str) -> Vec<u8> {
    v1::FrameworkInfo {
        user: name.into(),
        name: "lab".into(),
        ..v1::FrameworkInfo::default()
    }
    .to_protobuf()
}

/// Who a task runs as, and how an unknown user ends it. Without root nobody can be switched to, so all run as this user.
#[test]
fn tasks_run_as_their_user_or_their_frameworks() {
    run(async {
        let mut master = Master::new().await;
        // The way to the sandbox must be open to other users.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(master.folder.path(), open).unwrap();
        master.start_agent();
        let (mut link, _) = master.link().await;
        let is_root = nix::unistd::geteuid().is_root();
        let own = nix::unistd::geteuid().to_string();
        for (task, framework, command, switched) in [
            ("own", "", None, "0"),
            ("framework", "nobody", None, "65534"),
            ("command", "root", Some("nobody"), "65534"),
        ] {
            let mut spec = shell(task, "id -u");
            spec.framework_info = of_framework_user(framework);
            spec.command.user = command.map(Into::into);
            link.launch(spec).await;
            link.until(TaskState::Finished).await;
            let expected = if is_root { switched } else { &own };
            assert_eq!(link.text(task, "stdout").await.trim(), expected, "{task}");
        }
        for (task, framework, command) in [
            ("strange-framework", "no-such-user", None),
            ("strange-command", "root", Some("no-such-user")),
        ] {
            let mut spec = shell(task, "true");
            spec.framework_info = of_framework_user(framework);
            spec.command.user = command.map(Into::into);
            link.launch(spec).await;
            if !is_root {
                link.until(TaskState::Finished).await;
                continue;
            }
            let (_, update) = link.until(TaskState::Failed).await;
            let sentence = &update.status.message;
            assert!(
                sentence.contains("\"no-such-user\" is not in /etc/passwd"),
                "{sentence}"
            );
            assert_eq!(update.status.reason, Some(Reason::ContainerLaunchFailed));
        }
    });
}

#[test]
fn a_board_takes_frameworks_of_users_it_does_not_know() {
    run(async {
        let flag = "--unknown_framework_user=self".to_string();
        let mut master = Master::new().await.with_flag(flag);
        master.start_agent();
        let (mut link, _) = master.link().await;
        let mut spec = shell("t", "id -u");
        spec.framework_info = of_framework_user("no-such-user");
        link.launch(spec).await;
        link.until(TaskState::Finished).await;
        let own = nix::unistd::geteuid().to_string();
        assert_eq!(link.text("t", "stdout").await.trim(), own);
    });
}

#[test]
fn a_helper_that_is_no_program_and_cas_that_are_none_are_told_at_the_start() {
    run(async {
        for (flag, sentence) in [
            ("--executor", "a file that is not executable"),
            ("--ca", "it holds no certificate in PEM form"),
        ] {
            let mut master = Master::new().await;
            let file = master.folder.path().join("text");
            fs::write(&file, "text").unwrap();
            master = master.with_flag(format!("{flag}={}", file.display()));
            master.start_agent();
            assert_eq!(master.agent_ends().await.code(), Some(1), "{flag}");
            let log = master.log();
            assert!(log.contains(flag) && log.contains(sentence), "{log}");
        }
    });
}

#[test]
fn tasks_outlive_the_fork_server_and_another_one_takes_its_place() {
    run(async {
        let mut master = Master::new().await;
        master.start_agent();
        let (mut link, _) = master.link().await;
        link.launch(shell("first", WAITER)).await;
        link.until(TaskState::Running).await;
        let server = || {
            let children = process::descendants(master.pid().as_raw() as u32);
            children.into_iter().map(|(pid, _)| pid).find(|pid| {
                let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                line.starts_with(b"nesos-executor\0--fork-server\0")
            })
        };
        let before = server().unwrap();
        nix::sys::signal::kill(Pid::from_raw(before as i32), Signal::SIGKILL).unwrap();
        until("the server's end", || server().is_none().then_some(())).await;
        link.launch(shell("second", "exit 4")).await;
        let (_, update) = link.until(TaskState::Failed).await;
        assert_eq!(
            (update.key.clone(), update.status.message.as_str()),
            (key("second"), "Command exited with status 4")
        );
        assert_ne!(server().unwrap(), before);
        fs::write(master.sandbox("first").join("go"), "").unwrap();
        let (_, update) = link.until(TaskState::Failed).await;
        assert_eq!(
            (update.key.clone(), update.status.message.as_str()),
            (key("first"), "Command exited with status 7")
        );
    });
}
