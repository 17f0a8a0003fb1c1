//! What a task from an image runs: its own command and the image's put together, by the table of Mesos's docker/runtime.

use nesos_wire::task::Command;

use super::Config;

/// Neither the task nor the image says what to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "neither the task's command nor the image's entrypoint or command names a program, or a shell was asked for without a text"
)]
pub struct NoProgram;

/// Program and argv of a task. A shell command does without the image's, as does one with a program of its own; arguments
/// alone take the place of the image's `Cmd`. A shell without a text is an error, as in Mesos.
pub fn program(task: &Command, image: &Config) -> Result<(String, Vec<String>), NoProgram> {
    if task.shell {
        if task.value.is_empty() {
            return Err(NoProgram);
        }
        let line = ["sh", "-c", task.value.as_str()].map(String::from);
        return Ok(("/bin/sh".into(), line.to_vec()));
    }
    if !task.value.is_empty() {
        let argv = match task.arguments.is_empty() {
            true => vec![task.value.clone()],
            false => task.arguments.clone(),
        };
        return Ok((task.value.clone(), argv));
    }
    let (fixed, rest) = match (image.entrypoint.is_empty(), image.command.split_first()) {
        (false, _) => (image.entrypoint.clone(), image.command.as_slice()),
        (true, Some((program, rest))) => (vec![program.clone()], rest),
        (true, None) => return Err(NoProgram),
    };
    let rest = if task.arguments.is_empty() {
        rest
    } else {
        &task.arguments
    };
    let argv: Vec<String> = fixed.iter().chain(rest).cloned().collect();
    let program = argv.first().cloned().ok_or(NoProgram)?;
    Ok((program, argv))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| text.to_string()).collect()
    }

    #[test]
    fn the_table_of_entrypoints_commands_and_arguments() {
        // Entrypoint, Cmd, the task's value and arguments; the argv, or none.
        type Row = (
            &'static [&'static str],
            &'static [&'static str],
            &'static str,
            &'static [&'static str],
            &'static [&'static str],
        );
        const TABLE: [Row; 11] = [
            (&[], &[], "", &[], &[]),
            (&[], &[], "", &["x"], &[]),
            (&[], &["c", "d"], "", &[], &["c", "d"]),
            (&[], &["c", "d"], "", &["x"], &["c", "x"]),
            (&["e", "f"], &[], "", &[], &["e", "f"]),
            (&["e", "f"], &[], "", &["x"], &["e", "f", "x"]),
            (&["e", "f"], &["c"], "", &[], &["e", "f", "c"]),
            (&["e", "f"], &["c"], "", &["x"], &["e", "f", "x"]),
            (&["e"], &["c"], "v", &[], &["v"]),
            (&["e"], &["c"], "v", &["v", "x"], &["v", "x"]),
            (&[], &[], "v", &["v"], &["v"]),
        ];
        for (entrypoint, cmd, value, arguments, expected) in TABLE {
            let image = Config {
                environment: Vec::new(),
                entrypoint: strings(entrypoint),
                command: strings(cmd),
                working_directory: String::new(),
                user: String::new(),
                layers: Vec::new(),
                platform: Default::default(),
            };
            let shell = Command {
                shell: true,
                value: value.into(),
                arguments: strings(arguments),
                ..Command::default()
            };
            match program(&shell, &image) {
                Ok((program, argv)) => {
                    assert_eq!(
                        (program.as_str(), argv),
                        ("/bin/sh", strings(&["sh", "-c", value]))
                    );
                }
                Err(NoProgram) => assert!(value.is_empty(), "{value}"),
            }
            let task = Command {
                value: value.into(),
                arguments: strings(arguments),
                ..Command::default()
            };
            match program(&task, &image) {
                Ok((program, argv)) => {
                    assert_eq!(argv, strings(expected));
                    assert_eq!(Some(&program), argv.first());
                }
                Err(NoProgram) => assert!(expected.is_empty(), "{expected:?}"),
            }
        }
    }
}
