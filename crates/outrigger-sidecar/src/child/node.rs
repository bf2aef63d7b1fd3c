//! Whether a Node looks at proxy variables.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long `node --version` may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// The version of the Node that a command starts, when that one looks at no proxy variable: before
/// 22.21, and 23. `None` for any other command; a `node` that does not tell is left alone.
pub(crate) async fn ignores_proxy(command: &OsStr) -> Option<String> {
    let name = Path::new(command).file_name()?.to_str()?;
    if !matches!(name, "node" | "nodejs") {
        return None;
    }
    let asked = command.to_owned();
    let told = tokio::task::spawn_blocking(move || {
        Command::new(asked).arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).output()
    });
    let told = tokio::time::timeout(PATIENCE, told).await.ok()?.ok()?.ok()?;
    let version = String::from_utf8(told.stdout).ok()?.trim().trim_start_matches('v').to_owned();
    (!obeys_proxy(&version)?).then_some(version)
}

/// Whether a version of Node obeys `NODE_USE_ENV_PROXY`; `None` for what is no version.
fn obeys_proxy(version: &str) -> Option<bool> {
    let mut parts = version.split('.').map(str::parse::<u32>);
    let (major, minor) = (parts.next()?.ok()?, parts.next()?.ok()?);
    Some(match major {
        22 => minor >= 21,
        major => major >= 24,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_looks_at_proxies_from_22_21_and_24_on() {
        for (version, obeys) in [
            ("20.20.2", Some(false)),
            ("22.20.0", Some(false)),
            ("22.21.0", Some(true)),
            ("23.11.0", Some(false)),
            ("24.5.0", Some(true)),
            ("26.0.0", Some(true)),
            ("nonsense", None),
            ("", None),
        ] {
            assert_eq!(obeys_proxy(version), obeys, "{version}");
        }
    }

    #[tokio::test]
    async fn only_a_node_is_asked() {
        assert_eq!(ignores_proxy(OsStr::new("python3")).await, None);
        assert_eq!(ignores_proxy(OsStr::new("/not/there/node")).await, None);
    }
}
