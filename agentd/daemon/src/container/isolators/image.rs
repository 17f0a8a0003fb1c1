//! The isolators of images: what their configuration says of the program, its environment and where it starts; and images that
//! are volumes.
//!
//! The layers become the root of the files in `filesystem/linux`. Invariant: the task's command wins over the image's, by the
//! table of Mesos's docker/runtime.

use std::cell::RefCell;
use std::path::Path;

use agentd_core::image::program;
use nesos_wire::file_system::MountSource;

use super::{Isolator, Refusal, Setup, Wish, files};

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

/// Images that appear somewhere in a container's files. What is written to one goes with the container.
#[derive(Debug)]
pub(super) struct Volume;

impl Isolator for Volume {
    fn name(&self) -> &'static str {
        "volume/image"
    }

    fn prepare(&self, wish: &Wish<'_>, setup: &mut Setup) -> Result<(), Refusal> {
        let images = RefCell::new(wish.image_volumes.iter());
        files::add(wish, setup, |volume, source| {
            if volume.image.is_none() {
                return Ok(None);
            }
            if source.is_some() || volume.host_path.is_some() {
                return Err("only one of 'image', 'host_path' and 'source' can be set".into());
            }
            let image = images.borrow_mut().next().ok_or("its image is not here")?;
            let text = |path: &Path| path.display().to_string();
            Ok(Some(MountSource::Overlay {
                layers: image.layers.iter().map(|layer| text(layer)).collect(),
                upper: text(&image.upper),
                work: text(&image.work),
            }))
        })
    }
}
