//! The isolator of images: what their configuration says of the program, its environment and where it starts.
//!
//! The layers become the root of the files in `filesystem/linux`. Invariant: the task's command wins over the image's, by the
//! table of Mesos's docker/runtime.

use agentd_core::image::program;

use super::{Isolator, Refusal, Setup, Wish};

/// What an image's configuration says.
#[derive(Debug)]
pub(super) struct DockerRuntime;

impl Isolator for DockerRuntime {
    fn name(&self) -> &'static str {
        "docker/runtime"
    }

    fn prepare(&self, wish: &Wish<'_>, setup: &mut Setup) -> Result<(), Refusal> {
        let Some(image) = wish.image else {
            return Ok(());
        };
        let config = &image.config;
        let program = program(&wish.spec.command, config);
        setup.program = Some(program.map_err(|error| Refusal::new(error.to_string()))?);
        setup.environment.extend(config.environment.iter().cloned());
        if let Some(files) = &mut setup.file_system
            && !config.working_directory.is_empty()
        {
            files.directory = Some(config.working_directory.clone());
        }
        Ok(())
    }
}
