//! What the services are started with: built by the checkout's own `.ci/install`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::member::{SERVICES, Service};
use crate::print;

/// The programs of the services that can run here.
#[derive(Debug)]
pub(super) struct Kit {
    pub(super) examples: PathBuf,
    programs: BTreeMap<&'static str, Vec<OsString>>,
    /// Before everything else in `PATH`.
    pub(super) path: Vec<PathBuf>,
}

/// The `examples` of the checkout that this folder is in.
pub(super) fn examples() -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    let folders = here.ancestors().map(|folder| folder.join("examples"));
    folders.into_iter().find(|folder| folder.join("go/inventory/go.mod").is_file())
}

impl Kit {
    /// Builds what is not built yet; tells which services cannot run, and why.
    pub(super) fn gather(examples: PathBuf) -> (Self, Vec<(&'static Service, String)>) {
        let mut kit = Self { examples, programs: BTreeMap::new(), path: Vec::new() };
        let mut left_out = Vec::new();
        for service in &SERVICES {
            match kit.find(service.language) {
                Ok(words) => {
                    kit.programs.insert(service.language, words);
                }
                Err(why) => left_out.push((service, why)),
            }
        }
        (kit, left_out)
    }

    /// The program of a language's service with its arguments.
    pub(super) fn program(&self, language: &str) -> &[OsString] {
        self.programs.get(language).map_or(&[], Vec::as_slice)
    }

    fn find(&mut self, language: &str) -> Result<Vec<OsString>, String> {
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        match language {
            "node" => needs("node").map(|()| words(&["node", "src/main.js"])),
            "go" => {
                needs("go")?;
                Ok(words(&[&self.part("fleet-go", "OUTRIGGER_FLEET_GO")?]))
            }
            "python" => {
                needs("python3")?;
                let python = self.part("fleet-python", "OUTRIGGER_FLEET_PYTHON")?;
                Ok(words(&[&python, "-B", "-m", "pricing"]))
            }
            "java" => {
                needs("java").and_then(|()| needs("mvn"))?;
                let jar = self.part("fleet-java", "OUTRIGGER_FLEET_JAVA")?;
                let flags = ["java", "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];
                Ok(words(&[&flags[..], &["-jar", &jar]].concat()))
            }
            "shell" => {
                needs("curl")?;
                if needs("socat").is_err() {
                    let socat = self.part("socat", "OUTRIGGER_SOCAT_BIN")?;
                    self.path.extend(Path::new(&socat).parent().map(Path::to_owned));
                }
                Ok(words(&["sh", "server.sh"]))
            }
            _ => self.orders().map(|program| vec![program.into_os_string()]),
        }
    }

    /// A part of `.ci/install`, by the variable that says where it is.
    fn part(&self, part: &str, variable: &str) -> Result<String, String> {
        if let Ok(there) = std::env::var(variable) {
            return Ok(there);
        }
        let script = self.examples.join("../.ci/install");
        print::note(&format!("building {part}, unless that was done before"));
        let built = Command::new("bash")
            .arg(&script)
            .arg(part)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !built.is_ok_and(|status| status.success()) {
            return Err(format!("it does not build; see `bash .ci/install {part}`"));
        }
        let told = Command::new("bash").arg(&script).arg("--paths").output();
        let told = told.map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&told.stdout).into_owned();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("export {variable}=")));
        line.map(str::to_owned).ok_or_else(|| format!("{part} is not where it was put"))
    }

    fn orders(&self) -> Result<PathBuf, String> {
        if let Some(there) = std::env::var_os("OUTRIGGER_FLEET_RUST") {
            return Ok(there.into());
        }
        needs("cargo")?;
        print::note("building orders, unless that was done before");
        let root = self.examples.join("..");
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        let mut command = Command::new("cargo");
        // What `cargo run` tells this program of itself: ring's build script looks at it, so that ring
        // and all above it would be compiled anew, here and again at the next `cargo run`.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|own| text.starts_with(own)) {
                command.env_remove(&name);
            }
        }
        // Alone: built together with it, this program would be replaced while it runs.
        let built = command
            .args(["build", "--release", "--quiet", "-p", "outrigger-example-orders"])
            .arg("--target-dir")
            .arg(&target)
            .current_dir(&root)
            .status();
        if !built.is_ok_and(|status| status.success()) {
            return Err("cargo build -p outrigger-example-orders failed".to_owned());
        }
        Ok(target.join("release/outrigger-example-orders"))
    }
}

fn needs(program: &str) -> Result<(), String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    if there { Ok(()) } else { Err(format!("{program} is not in PATH")) }
}
