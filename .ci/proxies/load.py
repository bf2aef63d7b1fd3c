"""Load: wrk, h2load, a Poisson open loop, and a connection that is kept for counting."""

import http.client
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import time

from machine import LOAD_CORE

HERE = pathlib.Path(__file__).parent


def run(command: list[str], limit: float, env: dict[str, str] | None = None) -> str:
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {LOAD_CORE})
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, env=os.environ | (env or {}), check=False)
    finally:
        os.sched_setaffinity(0, own)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def wrk(parts, port: int, connections: int, seconds: float) -> int:
    """Requests answered with 200; anything else makes the figure worthless."""
    url = f"http://127.0.0.1:{port}/stock/42"
    command = [parts.wrk, "-t1", f"-c{connections}", f"-d{seconds:g}s", "-H", "Host: origin", url]
    said = run(command, seconds + 20, parts.env)
    if "Non-2xx" in said or "Socket errors" in said:
        raise SystemExit(f"not every answer was a 200:\n{said}")
    return int(re.search(r"(\d+) requests in", said)[1])


def h2load(parts, port: int, seconds: float) -> int:
    command = [parts.h2load, "-t1", "-c8", "-m16", f"-D{seconds:g}", "-H:authority: origin", f"http://127.0.0.1:{port}/stock/42"]
    said = run(command, seconds + 20, parts.env)
    found = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", said)
    good, *bad = (int(number) for number in found.groups())
    if any(bad) or good == 0:
        raise SystemExit(f"not every answer was a 200:\n{said}")
    return good


def open_loop(port: int, rate: float, seconds: float) -> tuple[float, float]:
    """Latency in µs from the intended send time: p50 and p99."""
    said = run([sys.executable, "-B", str(HERE / "open_loop.py"), str(port), str(rate), str(seconds)], seconds + 20)
    p50, p99 = said.split()
    return float(p50), float(p99)


def listens(port: int, process, limit: float) -> None:
    """Comes back once a proxy takes connections."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=limit).close()
            return
        except OSError:
            process.check()
            time.sleep(0.01)
    raise SystemExit(f"does not listen within {limit} s: {' '.join(process.command)}")


REQUEST = b"GET /stock/42 HTTP/1.1\r\nHost: origin\r\nUser-Agent: bench\r\n\r\n"


def first_answer(port: int, process, limit: float) -> float:
    """Seconds from exec to the first 200."""
    end = process.started + limit
    while time.monotonic() < end:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=limit) as peer:
                peer.sendall(REQUEST)
                if peer.recv(12) == b"HTTP/1.1 200":
                    return time.monotonic() - process.started
        except OSError:
            pass
        process.check()
        time.sleep(0.0002)
    raise SystemExit(f"no 200 within {limit} s: {' '.join(process.command)}\n{process.log.read_text(errors='replace')[-2000:]}")


def kept(port: int, count: int, limit: float) -> None:
    """So many requests over one connection, one after the other."""
    with socket.create_connection(("127.0.0.1", port), timeout=limit) as peer:
        for _ in range(count):
            peer.sendall(REQUEST)
            answer = b""
            while b"\r\n\r\n" not in answer or len(answer) < answer.index(b"\r\n\r\n") + 4 + 1024:
                more = peer.recv(65536)
                if not more:
                    raise SystemExit("the connection was not kept")
                answer += more
            if not answer.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"no 200: {answer[:200]!r}")


def register(registry: int, agent, count: int, ports: list[int], protocol: str) -> None:
    """So many instances of `origin` with a Consul-compatible agent."""
    end = time.monotonic() + 10
    while True:
        try:
            peer = http.client.HTTPConnection("127.0.0.1", registry, timeout=10)
            peer.connect()
            break
        except OSError:
            agent.check()
            if time.monotonic() > end:
                raise
            time.sleep(0.01)
    for number in range(count):
        meta = {"version": "1.4.2", "zone": f"z{number % 3}", "language": "rust", "protocol": protocol}
        about = {"ID": f"origin-{number}", "Name": "origin", "Address": "127.0.0.1", "Port": ports[number % len(ports)], "Meta": meta, "Tags": ["rust", "http"]}
        peer.request("PUT", "/v1/agent/service/register", json.dumps(about), {"Content-Type": "application/json"})
        answer = peer.getresponse()
        answer.read()
        if answer.status != 200:
            raise SystemExit(f"the agent answers {answer.status} to a registration")
    peer.close()
