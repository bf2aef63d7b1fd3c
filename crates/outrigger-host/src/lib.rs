//! What the machine tells: snapshot file, watched files, cgroup and CPU.
