//! What one process of a container tells another.

use std::{fs, io};

use rustix::process::{Pid, Signal, kill_process};

/// Tells the first process of this container to end in order, when it is this very program.
///
/// For the hook that an orchestrator runs beside a sidecar when its pod begins to end: a native
/// sidecar of Kubernetes gets its signal only when the application has ended, which is too late to
/// be taken out of the registry.
///
/// # Errors
/// `NotFound` when process 1 is another program; whatever the system says otherwise.
pub fn stop_first() -> io::Result<()> {
    let first = fs::read_link("/proc/1/exe")?;
    if first != std::env::current_exe()? {
        let message = format!("process 1 is {}, not this program", first.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, message));
    }
    kill_process(Pid::INIT, Signal::TERM)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn another_first_process_is_left_alone() {
        assert!(super::stop_first().is_err(), "a test is not the first process");
    }
}
