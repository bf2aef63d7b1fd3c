//! What the machine tells about processes and the ports that they listen on: `/proc`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The processes of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Processes {
    /// This machine does not tell.
    Unknown,
    /// Those that run, each with its group.
    Known(BTreeMap<i32, i32>),
}

/// A line of the table of processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Line {
    parent: i32,
    group: i32,
    is_ended: bool,
}

impl Processes {
    /// The processes of the group `group`, and everything below its first process; where we adopt,
    /// everything below us.
    pub(crate) fn of(group: i32, adopts: bool) -> Self {
        let Ok(entries) = fs::read_dir("/proc") else { return Self::Unknown };
        let mut lines = BTreeMap::new();
        for entry in entries.flatten() {
            let pid = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok());
            let Some(pid) = pid else { continue };
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            if let Some(line) = Line::read(&stat) {
                lines.insert(pid, line);
            }
        }
        if lines.is_empty() {
            return Self::Unknown;
        }
        let own = i32::try_from(std::process::id()).unwrap_or_default();
        Self::Known(below(&lines, group, if adopts { own } else { group }, own))
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Known(all) if all.is_empty())
    }

    /// Their ids, without that of the first.
    pub(crate) fn without(&self, first: i32) -> Vec<i32> {
        match self {
            Self::Unknown => Vec::new(),
            Self::Known(all) => all.keys().copied().filter(|pid| *pid != first).collect(),
        }
    }

    /// Those that left a group.
    pub(crate) fn outside_of(&self, group: i32) -> Vec<i32> {
        match self {
            Self::Unknown => Vec::new(),
            Self::Known(all) => {
                all.iter().filter(|(_, of)| **of != group).map(|(pid, _)| *pid).collect()
            }
        }
    }
}

impl Line {
    fn read(stat: &str) -> Option<Self> {
        // The name in parentheses may hold anything.
        let mut rest = stat.rsplit_once(')')?.1.split_whitespace();
        let is_ended = matches!(rest.next()?, "Z" | "X" | "x");
        let parent = rest.next()?.parse().ok()?;
        let group = rest.next()?.parse().ok()?;
        Some(Self { parent, group, is_ended })
    }
}

/// Whoever is in the group or has `root` above it, without `root`'s own when that is us.
fn below(lines: &BTreeMap<i32, Line>, group: i32, root: i32, own: i32) -> BTreeMap<i32, i32> {
    let is_below = |pid: i32| {
        let mut at = pid;
        // As deep as processes can be; a table that changes while it is read may hold a circle.
        for _ in 0..lines.len() {
            if at == root {
                return true;
            }
            match lines.get(&at) {
                Some(line) if line.parent > 0 => at = line.parent,
                _ => return false,
            }
        }
        false
    };
    let of_it = |pid: i32, line: &Line| {
        pid != own && !line.is_ended && (line.group == group || is_below(pid))
    };
    lines.iter().filter(|(pid, line)| of_it(**pid, line)).map(|(p, l)| (*p, l.group)).collect()
}

/// What a program listens on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listening {
    /// TCP addresses.
    pub(crate) addresses: BTreeSet<SocketAddr>,
}

impl Listening {
    /// Whether whoever connects to a port of 127.0.0.1 gets there.
    pub(crate) fn reaches(&self, port: u16) -> bool {
        let local = Ipv4Addr::LOCALHOST;
        self.addresses.iter().any(|address| {
            address.port() == port
                && match address.ip().to_canonical() {
                    IpAddr::V4(ip) => ip == local || ip.is_unspecified(),
                    // A socket for IPv6 takes IPv4 as well, unless it was told not to.
                    IpAddr::V6(ip) => ip.is_unspecified(),
                }
        })
    }
}

/// What some processes listen on; `None` where the machine does not tell.
pub(crate) fn listening(processes: &Processes) -> Option<Listening> {
    let Processes::Known(processes) = processes else { return None };
    let mut sockets = BTreeSet::new();
    for pid in processes.keys() {
        let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
        let links = files.flatten().filter_map(|file| fs::read_link(file.path()).ok());
        sockets.extend(links.filter_map(|link| {
            let text = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
            text.parse::<u64>().ok()
        }));
    }
    let mut found = Listening::default();
    // The table is that of the network namespace of the process that is asked about.
    let first = processes.keys().next()?;
    for file in ["tcp", "tcp6"] {
        let Ok(table) = fs::read_to_string(format!("/proc/{first}/net/{file}")) else { continue };
        found.addresses.extend(
            listeners(&table)
                .filter_map(|(address, socket)| sockets.contains(&socket).then_some(address)),
        );
    }
    Some(found)
}

/// Addresses that are listened on, each with its socket's number, of a table of the kernel.
fn listeners(table: &str) -> impl Iterator<Item = (SocketAddr, u64)> {
    table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // 0A: the state of a socket that listens.
        (*fields.get(3)? == "0A").then_some(())?;
        Some((address(fields.get(1)?)?, fields.get(9)?.parse().ok()?))
    })
}

/// `0100007F:1F90` is 127.0.0.1:8080: words in the machine's order of bytes.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| u32::from_str_radix(ip.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip: IpAddr = match ip.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let mut bytes = [0; 16];
            for (at, part) in bytes.chunks_exact_mut(4).enumerate() {
                part.copy_from_slice(&word(at * 8)?);
            }
            Ipv6Addr::from(bytes).into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_line_of_the_kernel_is_an_address() {
        assert_eq!(address("0100007F:1F90"), "127.0.0.1:8080".parse().ok());
        assert_eq!(address("00000000000000000000000001000000:0050"), "[::1]:80".parse().ok());
        for bad in ["", "zz", "0100007F", "01:1F90", "0100007F:", "é100007F:1F90"] {
            assert_eq!(address(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_name_with_parentheses_is_read_over() {
        let line = Line::read("12 (a) b (c)) S 1 12 12 0");
        assert_eq!(line, Some(Line { parent: 1, group: 12, is_ended: false }));
        assert!(Line::read("12 (x) Z 1 12 12").expect("a line").is_ended);
        assert_eq!(Line::read("12 (x"), None);
    }

    #[test]
    fn everything_below_counts_and_nothing_beside() {
        let line = |parent, group| Line { parent, group, is_ended: false };
        let lines: BTreeMap<i32, Line> = [
            (1, line(0, 1)),
            (10, line(1, 10)),
            (20, line(10, 20)),
            (21, line(20, 20)),
            (22, line(21, 22)),
            (23, line(10, 23)),
            (30, line(1, 30)),
        ]
        .into();
        let of = |root| below(&lines, 20, root, 10).into_keys().collect::<Vec<_>>();
        assert_eq!(of(20), [20, 21, 22], "23 was started by somebody else");
        assert_eq!(of(10), [20, 21, 22, 23], "23 was left behind and adopted");
    }

    #[test]
    fn a_circle_in_the_table_ends() {
        let line = |parent| Line { parent, group: 1, is_ended: false };
        let lines: BTreeMap<i32, Line> = [(2, line(3)), (3, line(2))].into();
        assert!(below(&lines, 9, 9, 1).is_empty());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_this_very_process_listens_on_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
        let address = listener.local_addr().expect("an address");
        let own = i32::try_from(std::process::id()).expect("fits");
        let processes = Processes::Known([(own, own)].into());
        let found = listening(&processes).expect("Linux tells");
        assert!(found.addresses.contains(&address), "{found:?}");
        assert!(found.reaches(address.port()));
        assert!(!found.reaches(1));
    }
}
