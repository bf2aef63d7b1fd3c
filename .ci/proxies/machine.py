"""Processes pinned to a core, and what the kernel counts of them."""

import os
import pathlib
import resource
import signal
import subprocess
import time

CORES = sorted(os.sched_getaffinity(0))
PROXY_CORE, LOAD_CORE = CORES[0], CORES[-1]
TICKS = os.sysconf("SC_CLK_TCK")


class Process:
    """A program in a session of its own, on one core, ended by its id."""

    def __init__(self, command: list[str], core: int, log: pathlib.Path, env: dict[str, str] | None = None):
        self.command = command
        self.log = log
        # A child has its parent's cores: set here, so that nothing runs between fork and exec.
        own = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {core})
        try:
            with log.open("ab") as out:
                self.started = time.monotonic()
                self.child = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=os.environ | (env or {}), start_new_session=True
                )
        finally:
            os.sched_setaffinity(0, own)

    def tree(self) -> list[int]:
        pids, found = [self.child.pid], []
        while pids:
            pid = pids.pop()
            found.append(pid)
            for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
                try:
                    pids += [int(child) for child in task.read_text().split()]
                except OSError:
                    pass
        return found

    def cpu(self) -> float:
        """Seconds on a core, of all threads."""
        nanoseconds = 0
        for pid in self.tree():
            for task in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"):
                try:
                    nanoseconds += int(task.read_text().split()[0])
                except OSError:
                    pass
        return nanoseconds / 1e9

    def rss(self) -> float:
        """Resident memory in MiB."""
        total = 0
        for pid in self.tree():
            for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmRSS:"):
                    total += int(line.split()[1])
        return total / 1024

    def check(self) -> None:
        if self.child.poll() is not None:
            end = self.log.read_text(errors="replace")[-2000:]
            raise SystemExit(f"ended with {self.child.returncode}: {' '.join(self.command)}\n{end}")

    def stop(self) -> None:
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self.child.pid, signal.SIGKILL)
        self.child.wait()


class Watch:
    """Who used the machine between two moments: the share of it that went to processes that are none of ours."""

    def __init__(self, processes: list[Process]):
        self.processes = processes
        self.at = self.look()

    def look(self) -> tuple[float, float, float]:
        fields = pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
        user, nice, system, _idle, _wait, irq, softirq, steal = (int(field) for field in fields[:8])
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        own = sum(process.cpu() for process in self.processes)
        own += children.ru_utime + children.ru_stime + time.process_time()
        return time.monotonic(), (user + nice + system + irq + softirq + steal) / TICKS, own

    def others(self) -> float:
        now, busy, own = self.look()
        elapsed = (now - self.at[0]) * len(CORES)
        return max(0.0, (busy - self.at[1]) - (own - self.at[2])) / elapsed
