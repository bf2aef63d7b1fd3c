//! The one table of what can be set.

/// A setting: by flag, variable and file.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Key {
    /// What it is called in a file and in what is told.
    pub name: &'static str,
    /// Its flag, without dashes before it.
    pub flag: &'static str,
    /// Its variable of the environment.
    pub variable: &'static str,
    pub(super) shape: Shape,
    /// What stands for its value in a help text.
    pub value: &'static str,
    /// What it does, on one line.
    pub doc: &'static str,
    /// What may be written.
    pub allowed: &'static str,
    /// How it may be written.
    pub example: &'static str,
}

/// How many values a key takes, and how they stand in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// One.
    One,
    /// True or false; the flag alone says what its name says.
    Switch,
    /// Any number: a repeatable flag, `;` in a variable, a list in a file.
    List,
    /// Any number with commas between them.
    Commas,
    /// Any number of `NAME=VALUE`: a section in a file.
    Map,
}

impl Key {
    /// Whether the flag says the opposite of the key: `--no-register` is `register: false`.
    pub(super) fn is_negated(&self) -> bool {
        self.name != self.flag && self.flag.starts_with("no-")
    }

    /// Whether its flag stands alone.
    #[must_use]
    pub const fn is_switch(&self) -> bool {
        matches!(self.shape, Shape::Switch)
    }

    /// Whether its flag may stand there more than once.
    #[must_use]
    pub const fn is_repeatable(&self) -> bool {
        matches!(self.shape, Shape::List | Shape::Map | Shape::Commas)
    }
}

const NAME: &str = "a name of 1 to 128 letters, digits, `-`, `_` and `.`";
const LISTEN: &str = "an IP address and a port, such as 127.0.0.1:0 or [::1]:0";
const SWITCH: &str = "true or false";
const TEXT: &str = "1 to 128 printable characters";

macro_rules! keys {
    ($($id:ident = $name:literal, $flag:literal, $variable:literal, $shape:ident, $value:literal,
       $doc:literal, $allowed:expr, $example:literal;)+) => {
        $(pub(super) const $id: &Key = &Key {
            name: $name,
            flag: $flag,
            variable: $variable,
            shape: Shape::$shape,
            value: $value,
            doc: $doc,
            allowed: $allowed,
            example: $example,
        };)+
        /// Everything that can be set, in the order in which it is told.
        pub const KEYS: &[&Key] = &[$($id),+];
    };
}

keys! {
    SERVICE = "service", "service", "OUTRIGGER_SERVICE", One, "NAME",
        "Name that the application is registered under, and that its calls carry.",
        NAME, "orders";
    REGISTER = "register", "no-register", "OUTRIGGER_NO_REGISTER", Switch, "",
        "Leave the application's own registration alone: serve and trace, announce nothing.",
        SWITCH, "false";
    PORT = "port", "port", "OUTRIGGER_PORT", One, "N",
        "Where the application listens, on loopback. `run` picks a free one and passes PORT.",
        "a port from 1 to 65535", "8080";
    SOCKET = "socket", "socket", "OUTRIGGER_SOCKET", One, "PATH",
        "The unix socket that the application listens on, instead of a port.",
        "an absolute path of at most 107 bytes", "/run/orders.sock";
    PROTOCOL = "protocol", "protocol", "OUTRIGGER_PROTOCOL", One, "http|h2c|grpc",
        "What callers speak to it [default: http].",
        "`http`, `h2c` or `grpc`", "grpc";
    LANGUAGE = "language", "language", "OUTRIGGER_LANGUAGE", One, "L",
        "What the application is written in; `run` tells it from the command and the project.",
        "a language: 1 to 32 letters, digits, `+`, `#`, `.` and `-`", "python";
    VERSION = "version", "version", "OUTRIGGER_VERSION", One, "V",
        "The application's version; `run` reads it from the project.",
        TEXT, "1.4.2";
    ZONE = "zone", "zone", "OUTRIGGER_ZONE", One, "Z",
        "The zone that it runs in.",
        TEXT, "eu-1a";
    TAG = "tag", "tag", "OUTRIGGER_TAG", List, "TAG",
        "One more tag in the registry, for others that read it: Traefik, fabio. Repeatable.",
        "1 to 1024 printable characters", "urlprefix-/orders";
    HEALTH = "health", "health", "OUTRIGGER_HEALTH", One, "PATH",
        "Path of the application that answers 2xx while it is well.",
        "a path that begins with `/`, without spaces and `#`", "/healthz";
    DRAIN = "drain", "drain", "OUTRIGGER_DRAIN", One, "TIME",
        "Time that requests in flight get to end, and then the program itself [default: 30s].",
        "a time with its unit from 0s to 1h", "30s";
    INBOUND = "inbound", "inbound", "OUTRIGGER_INBOUND", One, "ADDR",
        "What others connect to [default: 0.0.0.0:0, or 127.0.0.1:0 while the registry is on loopback].",
        LISTEN, "0.0.0.0:0";
    ADVERTISE = "advertise", "advertise", "OUTRIGGER_ADVERTISE", One, "ADDR[:PORT]",
        "Where others are told to connect to [default: the inbound address].",
        "an IP address, with a port or without one", "10.1.2.3:8080";
    TLS_CERT = "tls_cert", "tls-cert", "OUTRIGGER_TLS_CERT", One, "FILE",
        "Certificates in PEM, the own one first: others come in over TLS. Read again when it changes.",
        "a path, beside `tls_key`", "/run/tls/tls.crt";
    TLS_KEY = "tls_key", "tls-key", "OUTRIGGER_TLS_KEY", One, "FILE",
        "The private key of that certificate, in PEM.",
        "a path, beside `tls_cert`", "/run/tls/tls.key";
    OUTBOUND = "outbound", "outbound", "OUTRIGGER_OUTBOUND", One, "ADDR",
        "What the application connects to [default: 127.0.0.1:15900, or a free port].",
        "an IP address and a port, or unix:/PATH", "127.0.0.1:15900";
    ADMIN = "admin", "admin", "OUTRIGGER_ADMIN", One, "ADDR",
        "State, metrics, page, on loopback [default: 127.0.0.1:15990, or a free port].",
        "an address of loopback and a port", "127.0.0.1:15990";
    PROBE = "probe", "probe", "OUTRIGGER_PROBE", One, "ADDR|off",
        "Health and metrics for others than loopback [default: off].",
        "an IP address and a port, or `off`", "0.0.0.0:15991";
    CONSUL = "consul", "consul", "OUTRIGGER_CONSUL", One, "URL",
        "The registry, or `none` [default: CONSUL_HTTP_ADDR, else http://127.0.0.1:8500].",
        "host[:port], http://host[:port], https://host[:port], unix:///path, or `none`", "http://127.0.0.1:8500";
    SNAPSHOT = "snapshot", "snapshot", "OUTRIGGER_SNAPSHOT", One, "DIR",
        "Folder that keeps the last good set of each service.",
        "a path", "/var/lib/outrigger";
    POLICY = "policy", "policy", "OUTRIGGER_POLICY", List, "FILE-OR-DIR",
        "Policies. Repeatable.",
        "paths of policy files, or of folders of them", "policies";
    ENDPOINTS = "endpoints", "endpoints", "OUTRIGGER_ENDPOINTS", Map, "NAME=HOST:PORT[,…]",
        "Fixed endpoints, which replace the registry for that name. Repeatable.",
        "NAME=HOST:PORT, with commas between several addresses", "inventory=10.1.2.3:8080,10.1.2.4:8080";
    UPSTREAM = "upstream", "upstream", "OUTRIGGER_UPSTREAM", Map, "NAME=ADDR",
        "A local port for one service; NAME=tcp://ADDR for plain TCP. Repeatable.",
        "NAME=ADDR with an address and a port, or NAME=tcp://ADDR", "inventory=127.0.0.1:15901";
    UNKNOWN = "unknown", "unknown", "OUTRIGGER_UNKNOWN", One, "pass|refuse",
        "Names that are no known services [default: pass under `run`, refuse for `sidecar`].",
        "`pass` or `refuse`", "refuse";
    CONNECT = "connect", "connect", "OUTRIGGER_CONNECT", List, "HOST:PORT",
        "A target of CONNECT that is allowed. Repeatable.",
        "HOST:PORT", "api.example.com:443";
    UPGRADE = "upgrade", "upgrade", "OUTRIGGER_UPGRADE", List, "websocket",
        "A protocol that may be upgraded to.",
        "`websocket`", "websocket";
    TRUST = "trust", "trust", "OUTRIGGER_TRUST", Commas, "loopback,registry,CIDR,…",
        "Whose caller and trace headers count [default: loopback,registry].",
        "`loopback`, `registry`, and networks such as 10.0.0.0/8", "loopback,registry,10.0.0.0/8";
    EDGE = "edge", "edge", "OUTRIGGER_EDGE", Switch, "",
        "Trust nobody, and begin traces here.",
        SWITCH, "true";
    WORKERS = "workers", "workers", "OUTRIGGER_WORKERS", One, "N",
        "Threads that serve [default: one for each core].",
        "a whole number from 1 to 1024", "2";
}

/// The key of a name; `no-register` finds `register`.
pub(super) fn of_name(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name).copied()
}
