//! Images made by hand, and a real registry on loopback (Debian's docker-registry) to push them to.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // Each test file uses its part; a failed step of a test may panic.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nesos_api::v1;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::http::{self, Answer};
use super::until;

/// What images call this machine's processor.
pub const MACHINE: &str = if cfg!(target_arch = "aarch64") {
    "arm64"
} else {
    "amd64"
};
/// `ada:secret` for the registry, with the fewest rounds that bcrypt has.
const PASSWORDS: &str = "ada:$2y$04$ImEI0JzEmFzYTgy/lbNaLOWaau2oyPeVbO.eHqAK8tdZveKHjielK\n";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// What a layer holds.
#[derive(Default)]
pub struct Layer {
    files: Vec<(String, String)>,
    folders: Vec<String>,
    links: Vec<(String, String)>,
    has_shell: bool,
}

impl Layer {
    /// This machine's /bin/sh and the libraries that it needs.
    pub fn shell() -> Self {
        Self {
            has_shell: true,
            ..Self::default()
        }
    }

    pub fn file(mut self, path: &str, text: &str) -> Self {
        self.files.push((path.into(), text.into()));
        self
    }

    /// One that everybody may write to.
    pub fn folder(mut self, path: &str) -> Self {
        self.folders.push(path.into());
        self
    }

    /// A further name for a file.
    pub fn hard_link(mut self, path: &str, existing: &str) -> Self {
        self.links.push((path.into(), existing.into()));
        self
    }

    /// As a tar archive.
    pub fn bytes(&self) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            path
        };
        for (path, text) in &self.files {
            fs::write(at(path), text).unwrap();
        }
        for path in &self.folders {
            fs::create_dir_all(at(path)).unwrap();
            fs::set_permissions(at(path), fs::Permissions::from_mode(0o777)).unwrap();
        }
        for (path, existing) in &self.links {
            fs::hard_link(folder.path().join(existing), at(path)).unwrap();
        }
        if self.has_shell {
            for path in shell_files() {
                fs::copy(&path, at(path.trim_start_matches('/'))).unwrap();
            }
        }
        let mut tar = Command::new("tar");
        tar.args(["--owner=0", "--group=0", "--sort=name", "--mtime=@0", "-C"]);
        output(tar.arg(folder.path()).args(["-cf", "-", "."]))
    }
}

/// An image to be.
pub struct Image {
    /// The lowest first.
    pub layers: Vec<Layer>,
    /// Its `config`.
    pub config: Value,
}

struct Blob {
    kind: &'static str,
    bytes: Vec<u8>,
}

impl Blob {
    fn digest(&self) -> String {
        digest(&self.bytes)
    }

    fn descriptor(&self) -> Value {
        json!({"mediaType": self.kind, "digest": self.digest(), "size": self.bytes.len()})
    }
}

impl Image {
    fn configuration(&self, plain: &[Vec<u8>], machine: &str) -> Vec<u8> {
        let ids: Vec<String> = plain.iter().map(|bytes| digest(bytes)).collect();
        json!({"os": "linux", "architecture": machine, "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": ids}})
        .to_string()
        .into()
    }

    /// Its blobs, the manifest last: packed in different ways.
    fn blobs(&self, machine: &str) -> Vec<Blob> {
        let plain: Vec<Vec<u8>> = self.layers.iter().map(Layer::bytes).collect();
        let packed = plain
            .iter()
            .enumerate()
            .map(|(index, bytes)| match index % 2 {
                0 => Blob {
                    kind: "application/vnd.oci.image.layer.v1.tar+gzip",
                    bytes: through(&["gzip", "-n"], bytes),
                },
                _ => Blob {
                    kind: "application/vnd.oci.image.layer.v1.tar+zstd",
                    bytes: through(&["zstd"], bytes),
                },
            });
        let mut blobs: Vec<Blob> = packed.collect();
        let config = Blob {
            kind: CONFIG,
            bytes: self.configuration(&plain, machine),
        };
        let layers: Vec<Value> = blobs.iter().map(Blob::descriptor).collect();
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config.descriptor(), "layers": layers});
        blobs.push(config);
        blobs.push(Blob {
            kind: MANIFEST,
            bytes: manifest.to_string().into(),
        });
        blobs
    }

    /// As an OCI layout in this folder.
    pub fn layout(&self, folder: &Path) {
        layout(folder, &[("", self)]);
    }

    /// As `docker save` has always written it, in this folder.
    pub fn archive(&self, folder: &Path) {
        archive(folder, &[("b:1", self)]);
    }
}

/// Several images with their tags, as an OCI layout in this folder.
pub fn layout(folder: &Path, images: &[(&str, &Image)]) {
    let of_digests = folder.join("blobs/sha256");
    fs::create_dir_all(&of_digests).unwrap();
    let mut manifests = Vec::new();
    for (tag, image) in images {
        let blobs = image.blobs(MACHINE);
        for blob in &blobs {
            let digest = blob.digest();
            let path = of_digests.join(digest.trim_start_matches("sha256:"));
            fs::write(path, &blob.bytes).unwrap();
        }
        let mut described = blobs.last().unwrap().descriptor();
        if !tag.is_empty() {
            described["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
        }
        manifests.push(described);
    }
    let index = json!({"schemaVersion": 2, "manifests": manifests});
    fs::write(folder.join("index.json"), index.to_string()).unwrap();
    let version = r#"{"imageLayoutVersion":"1.0.0"}"#;
    fs::write(folder.join("oci-layout"), version).unwrap();
}

/// Several images with their names, as `docker save` has always written them, in this folder.
pub fn archive(folder: &Path, images: &[(&str, &Image)]) {
    fs::create_dir_all(folder).unwrap();
    let mut manifest = Vec::new();
    for (number, (name, image)) in images.iter().enumerate() {
        // The first one's names are plain.
        let prefix = "x".repeat(number);
        let plain: Vec<Vec<u8>> = image.layers.iter().map(Layer::bytes).collect();
        let mut names = Vec::new();
        for (index, bytes) in plain.iter().enumerate() {
            names.push(format!("{prefix}{index}.tar"));
            fs::write(folder.join(&names[index]), bytes).unwrap();
        }
        let config = format!("{prefix}c.json");
        fs::write(folder.join(&config), image.configuration(&plain, MACHINE)).unwrap();
        manifest.push(json!({"Config": config, "RepoTags": [name], "Layers": names}));
    }
    fs::write(folder.join("manifest.json"), json!(manifest).to_string()).unwrap();
}

/// Packs a folder's files into an archive.
pub fn pack(folder: &Path, archive: &Path) {
    output(
        Command::new("tar")
            .arg("-C")
            .arg(folder)
            .arg("-cf")
            .arg(archive)
            .arg("."),
    );
}

/// A login as a task brings it along.
pub fn secret(config: &str) -> v1::Secret {
    v1::Secret {
        r#type: Some(v1::SecretType::Value),
        value: Some(v1::SecretValue {
            data: config.as_bytes().to_vec().into(),
        }),
        ..v1::Secret::default()
    }
}

/// How many ports are tried: one that was free may be another test's a moment later.
const PORTS: usize = 5;
/// How long who listens there may take to answer.
const PROBE: std::time::Duration = std::time::Duration::from_secs(1);

/// Whether it is the registry that answers there, and not somebody who took the port before it.
fn is_registry(port: u16) -> bool {
    let probe = || {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(PROBE))?;
        stream.write_all(b"GET /v2/ HTTP/1.0\r\n\r\n")?;
        let mut head = [0; 512];
        let length = stream.read(&mut head)?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&head[..length]).into_owned())
    };
    probe().is_ok_and(|head| head.contains("Docker-Distribution-Api-Version"))
}

/// The registry.
pub struct Server {
    process: Child,
    port: u16,
    has_login: bool,
    _folder: TempDir,
}

impl Server {
    /// With `has_login` it lets in only ada, whose password is `secret`.
    pub async fn start(has_login: bool) -> Self {
        for _ in 0..PORTS {
            if let Some(server) = Self::try_start(has_login).await {
                return server;
            }
        }
        panic!("docker-registry ended on each of {PORTS} ports");
    }

    /// On a port that was free a moment ago; `None` if it is taken by now, so that the registry ends.
    async fn try_start(has_login: bool) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let at = |name: &str| folder.path().join(name);
        let mut config = json!({"version": "0.1", "log": {"level": "error"}, "http": {"addr": format!("127.0.0.1:{port}")},
            "storage": {"filesystem": {"rootdirectory": at("data")}}});
        if has_login {
            fs::write(at("passwords"), PASSWORDS).unwrap();
            config["auth"] = json!({"htpasswd": {"realm": "test", "path": at("passwords")}});
        }
        // JSON is YAML.
        fs::write(at("config.yml"), config.to_string()).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(at("config.yml"));
        let command = command.stdout(Stdio::null()).stderr(Stdio::null());
        let process = command
            .spawn()
            .expect("docker-registry is missing: scripts/setup --tests installs it");
        let mut server = Self {
            process,
            port,
            has_login,
            _folder: folder,
        };
        let is_there = until("the registry", || {
            let has_ended = server.process.try_wait().unwrap().is_some();
            match has_ended {
                true => Some(false),
                false => is_registry(port).then_some(true),
            }
        });
        is_there.await.then_some(server)
    }

    /// `host:port`
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Pushes an image for one machine; its manifest's digest.
    pub async fn push(&self, name: &str, tag: &str, image: &Image, machine: &str) -> String {
        let mut blobs = image.blobs(machine);
        let manifest = blobs.pop().unwrap();
        for blob in blobs {
            let begun = self
                .ask("POST", &format!("/v2/{name}/blobs/uploads/"), "", b"")
                .await;
            assert_eq!(begun.status, 202, "{}", begun.text());
            let location = begun.header("location").unwrap();
            let (_, path) = location.split_once("/v2/").unwrap();
            let path = format!("/v2/{path}&digest={}", blob.digest());
            let kind = "application/octet-stream";
            let done = self.ask("PUT", &path, kind, &blob.bytes).await;
            assert_eq!(done.status, 201, "{}", done.text());
        }
        self.push_document(name, tag, &manifest).await;
        manifest.digest()
    }

    /// Pushes an index of images for several machines.
    pub async fn push_index(&self, name: &str, tag: &str, images: &[(&str, &Image)]) {
        let mut manifests = Vec::new();
        for (machine, image) in images {
            self.push(name, &format!("{tag}-{machine}"), image, machine)
                .await;
            let mut entry = image.blobs(machine).pop().unwrap().descriptor();
            entry["platform"] = json!({"os": "linux", "architecture": machine});
            manifests.push(entry);
        }
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
        let index = Blob {
            kind: INDEX,
            bytes: index.to_string().into(),
        };
        self.push_document(name, tag, &index).await;
    }

    async fn push_document(&self, name: &str, tag: &str, blob: &Blob) {
        let path = format!("/v2/{name}/manifests/{tag}");
        let done = self.ask("PUT", &path, blob.kind, &blob.bytes).await;
        assert_eq!(done.status, 201, "{}", done.text());
    }

    async fn ask(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> Answer {
        let mut headers = vec![("Content-Type", kind)];
        if self.has_login {
            headers.push(("Authorization", "Basic YWRhOnNlY3JldA=="));
        }
        headers.retain(|(_, value)| !value.is_empty());
        http::request(self.port, method, path, &headers, body).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The shell and what it is linked with, as paths that are no links.
fn shell_files() -> Vec<String> {
    let said = output(Command::new("ldd").arg("/bin/sh"));
    let said = String::from_utf8(said).unwrap();
    let words = said.split_whitespace().filter(|word| word.starts_with('/'));
    words.chain(["/bin/sh"]).map(String::from).collect()
}

fn digest(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    let digits = digest.as_ref().iter().map(|byte| format!("{byte:02x}"));
    format!("sha256:{}", digits.collect::<String>())
}

fn through(words: &[&str], bytes: &[u8]) -> Vec<u8> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, bytes).unwrap();
    output(
        Command::new(words[0])
            .args(&words[1..])
            .args(["-c", "-q"])
            .arg(file.path()),
    )
}

fn output(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    output.stdout
}
