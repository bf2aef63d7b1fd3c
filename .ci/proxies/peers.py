"""The proxies that are compared, the endpoints behind them and where their programs are."""

import dataclasses
import os
import pathlib
import shutil
import socket

from machine import LOAD_CORE, PROXY_CORE, Process

HERE = pathlib.Path(__file__).parent
ENDPOINTS = 3


class Parts:
    """Programs that `.ci/install` brought; whoever has them elsewhere names them in the environment."""

    def __init__(self, needed: tuple[str, ...]):
        missing = []
        for name in needed:
            found = os.environ.get(f"OUTRIGGER_{name.upper()}_BIN") or shutil.which(name)
            setattr(self, name, found)
            if not found:
                missing.append(name)
        if missing:
            raise SystemExit(f"missing: {', '.join(missing)}; `.ci/install {' '.join(missing)}` brings them")
        # Debian's programs may lie beside their libraries instead of being installed.
        roots = {pathlib.Path(getattr(self, name)).resolve().parents[2] for name in needed}
        folders = [str(folder) for root in roots for folder in (root / "usr/lib").glob("*-linux-gnu*")]
        self.env = {"LD_LIBRARY_PATH": ":".join(folders)}


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def fill(template: str, words: dict[str, object], kept: tuple[str, ...] = ()) -> str:
    """A configuration from its template: words replaced, lines of other variants left out."""
    lines = []
    for line in (HERE / template).read_text().splitlines():
        text, _, mark = line.rpartition("# [")
        if text and mark.endswith("]"):
            if mark[:-1] not in kept:
                continue
            line = text.rstrip()
        lines.append(line)
    text = "\n".join(lines) + "\n"
    for word, value in words.items():
        text = text.replace(f"@{word}@", str(value))
    return text


class Origin:
    """Endpoints that answer 1 KiB over HTTP/1.1 and over h2c, and a collector of spans."""

    def __init__(self, parts: Parts, folder: pathlib.Path):
        ports = free_ports(2 * ENDPOINTS + 2)
        self.http1, self.http2 = ports[:ENDPOINTS], ports[ENDPOINTS : 2 * ENDPOINTS]
        self.otlp_http, self.otlp_grpc = ports[-2:]
        listen = [f"listen 127.0.0.1:{port};" for port in self.http1]
        listen += [f"listen 127.0.0.1:{port} http2;" for port in self.http2]
        words = {"DIR": folder, "LISTEN": " ".join(listen), "BODY": "x" * 1024, "OTLP_HTTP": self.otlp_http, "OTLP_GRPC": self.otlp_grpc}
        file = folder / "origin.conf"
        file.write_text(fill("origin.conf", words))
        self.process = Process([parts.nginx, "-e", str(folder / "origin.err"), "-c", str(file)], LOAD_CORE, folder / "origin.log", parts.env)

    def endpoints(self, http2: bool) -> list[int]:
        return self.http2 if http2 else self.http1


@dataclasses.dataclass
class Proxy:
    """One of the proxies: how it is started in front of the endpoints."""

    name: str
    what: str
    has_http2: bool

    def command(self, bench, port: int, http2: bool) -> tuple[list[str], dict[str, str]]:
        raise NotImplementedError

    def single(self, command: list[str]) -> list[str]:
        """The command as one process, for counting its instructions."""
        return command

    def start(self, bench, port: int, http2: bool = False, prefix: tuple[str, ...] = (), **more) -> Process:
        command, env = self.command(bench, port, http2, **more)
        if prefix:
            command = [*prefix, *self.single(command)]
        return Process(command, PROXY_CORE, bench.folder / f"{self.name}.log", env)


class Outrigger(Proxy):
    def command(self, bench, port: int, http2: bool, registry: str = "") -> tuple[list[str], dict[str, str]]:
        # A registry tells what instances speak; endpoints on the command line speak HTTP/1.1.
        if http2:
            registry = bench.registry()
        endpoints = ",".join(f"127.0.0.1:{endpoint}" for endpoint in bench.origin.http1)
        command = [bench.outrigger, "sidecar", "--consul", registry or "none"]
        if not registry:
            command += ["--endpoints", f"origin={endpoints}"]
        command += ["--policy", str(HERE / "policy.yaml"), "--outbound", f"127.0.0.1:{port}", "--admin", "127.0.0.1:0", "--workers", "1"]
        return command, {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{bench.origin.otlp_http}"}


class Envoy(Proxy):
    def command(self, bench, port: int, http2: bool) -> tuple[list[str], dict[str, str]]:
        endpoint = "      - endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {} }} }} }}"
        endpoints = "\n".join("  " + endpoint.format(port) for port in bench.origin.endpoints(http2))
        words = {"ADMIN": free_ports(1)[0], "PORT": port, "LB": "LEAST_REQUEST", "ENVOY_ENDPOINTS": endpoints, "OTLP": bench.origin.otlp_grpc}
        file = bench.folder / f"envoy-{port}.yaml"
        file.write_text(fill("envoy.yaml", words, ("FULL", "OTEL", "H2") if http2 else ("FULL", "OTEL")))
        return [bench.parts.envoy, "-c", str(file), "--concurrency", "1", "--log-level", "error", "--use-dynamic-base-id"], {}


class Nginx(Proxy):
    def command(self, bench, port: int, http2: bool) -> tuple[list[str], dict[str, str]]:
        servers = " ".join(f"server 127.0.0.1:{endpoint};" for endpoint in bench.origin.endpoints(http2))
        file = bench.folder / f"nginx-{port}.conf"
        file.write_text(fill("nginx.conf", {"DIR": bench.folder, "PORT": port, "NGINX_SERVERS": servers}))
        return [bench.parts.nginx, "-e", str(bench.folder / "nginx.err"), "-c", str(file)], bench.parts.env

    def single(self, command: list[str]) -> list[str]:
        file = pathlib.Path(command[-1])
        file.write_text(file.read_text().replace("master_process on", "master_process off"))
        return command


class Haproxy(Proxy):
    def command(self, bench, port: int, http2: bool) -> tuple[list[str], dict[str, str]]:
        proto = " proto h2" if http2 else ""
        servers = "\n".join(f"  server s{endpoint} 127.0.0.1:{endpoint}{proto}" for endpoint in bench.origin.endpoints(http2))
        file = bench.folder / f"haproxy-{port}.cfg"
        file.write_text(fill("haproxy.cfg", {"PORT": port, "PROTO": proto, "HAPROXY_LB": "leastconn", "HAPROXY_SERVERS": servers}))
        return [bench.parts.haproxy, "-db", "-f", str(file)], bench.parts.env


PROXIES = [
    Outrigger("outrigger", "sidecar, outbound, everything on", True),
    Envoy("envoy", "1.40, everything on, OTLP", True),
    Nginx("nginx", "1.22, bare", False),
    Haproxy("haproxy", "2.6, bare", True),
]
