//! Reads what `/v1/health/service` answers, and believes as little of it as it can.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use outrigger_core::{Address, BoxError, Instance, InstanceId, ServiceName, Status, Weights};
use outrigger_discovery::RegistryError;
use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::dialect::understand;

/// Why an answer is refused as a whole.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) class: &'static str,
    pub(crate) source: Option<BoxError>,
}

/// The instances of an answer, and what of it was left out.
#[derive(Debug, Default)]
pub(crate) struct Instances {
    pub(crate) list: Vec<Arc<Instance>>,
    /// How many entries were left out, by the class of what is wrong with them.
    pub(crate) left_out: BTreeMap<&'static str, usize>,
}

/// Reads the instances of a service.
///
/// One registration that nobody could connect to (no port, no address) is left out and counted:
/// anybody may write one, and it must not blind callers to the rest. An answer in which no entry
/// is any good is refused as a whole, so that the last good set stays.
pub(crate) fn instances(
    body: &[u8],
    service: &ServiceName,
    most: usize,
) -> Result<Instances, Refused> {
    let text = utf8(body)?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let mut collected = Collected {
        service,
        most,
        too_many: false,
        entries: Vec::new(),
        left_out: BTreeMap::new(),
        strings: HashSet::default(),
    };
    let read = (&mut collected).deserialize(&mut reader).and_then(|()| reader.end());
    if collected.too_many {
        return Err(Refused { class: "too_many", source: None });
    }
    read.map_err(refused)?;
    let Collected { entries, mut left_out, .. } = collected;
    let list = tell_apart(entries, &mut left_out);
    if let Some((&class, _)) = left_out.first_key_value().filter(|_| list.is_empty()) {
        return Err(Refused { class, source: None });
    }
    Ok(Instances { list, left_out })
}

/// Reads the instances of a recorded `/v1/health/service/<service>` answer, as a watch would, with
/// the default limits.
///
/// # Errors
/// [`RegistryError::Answer`] with the class of what is wrong.
pub fn read_instances(
    body: &[u8],
    service: &ServiceName,
) -> Result<Vec<Arc<Instance>>, RegistryError> {
    let most = crate::ConsulConfig::default().max_instances;
    let what = "a service's instances";
    let read = instances(body, service, most)
        .map_err(|Refused { class, source }| RegistryError::Answer { what, class, source })?;
    Ok(read.list)
}

/// Reads any other answer.
pub(crate) fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refused> {
    serde_json::from_str(utf8(body)?).map_err(refused)
}

fn utf8(body: &[u8]) -> Result<&str, Refused> {
    std::str::from_utf8(body)
        .map_err(|error| Refused { class: "bad_utf8", source: Some(error.into()) })
}

fn refused(error: serde_json::Error) -> Refused {
    use serde_json::error::Category;
    let class = match error.classify() {
        Category::Data => "wrong_type",
        Category::Eof => "truncated",
        Category::Syntax if error.to_string().starts_with("recursion limit") => "too_deep",
        Category::Syntax | Category::Io => "not_json",
    };
    Refused { class, source: Some(error.into()) }
}

/// A text that is borrowed from the answer unless it holds an escape.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed("")))
            }
        }
        from.deserialize_any(Reader)
    }
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(rename = "Node", borrow, default)]
    node: Option<Node<'a>>,
    #[serde(rename = "Service", borrow)]
    service: Service<'a>,
    #[serde(rename = "Checks", default)]
    checks: Worst,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Node<'a> {
    #[serde(borrow)]
    node: Text<'a>,
    #[serde(borrow)]
    address: Text<'a>,
    #[serde(borrow)]
    datacenter: Text<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Service<'a> {
    #[serde(rename = "ID", borrow)]
    id: Text<'a>,
    #[serde(borrow, default)]
    tags: Option<Vec<Text<'a>>>,
    #[serde(borrow, default)]
    address: Text<'a>,
    #[serde(default)]
    tagged_addresses: Schemes,
    #[serde(borrow, default)]
    meta: Pairs<'a>,
    #[serde(default)]
    port: i64,
    #[serde(default)]
    weights: Option<GivenWeights>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GivenWeights {
    #[serde(default = "one")]
    passing: i64,
    #[serde(default = "one")]
    warning: i64,
}

const fn one() -> i64 {
    1
}

/// Metadata as it stands in the answer.
#[derive(Default)]
struct Pairs<'a>(Vec<(Text<'a>, Text<'a>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
                let mut pairs = Vec::with_capacity(8);
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Pairs<'de>, E> {
                Ok(Pairs::default())
            }
        }
        from.deserialize_any(Reader)
    }
}

/// The worst of the checks; nothing else of them is wanted.
struct Worst(Status);

impl Default for Worst {
    fn default() -> Self {
        Self(Status::Passing)
    }
}

impl<'de> Deserialize<'de> for Worst {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Check<'a> {
            #[serde(rename = "Status", borrow, default)]
            status: Text<'a>,
        }
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Worst;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of checks")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Worst, A::Error> {
                let mut worst = Status::Passing;
                while let Some(check) = list.next_element::<Check<'de>>()? {
                    worst = worst.max(status(&check.status.0));
                }
                Ok(Worst(worst))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Worst, E> {
                Ok(Worst::default())
            }
        }
        from.deserialize_any(Reader)
    }
}

/// Which schemes the tagged addresses name; nearly always none.
#[derive(Default)]
struct Schemes(Vec<&'static str>);

impl<'de> Deserialize<'de> for Schemes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Schemes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of addresses")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Schemes, A::Error> {
                const KNOWN: [&str; 4] = ["http", "https", "grpc", "grpcs"];
                let mut schemes = Vec::new();
                while let Some((key, IgnoredAny)) = map.next_entry::<Text<'de>, _>()? {
                    schemes.extend(KNOWN.into_iter().filter(|scheme| *scheme == key.0));
                }
                schemes.sort_unstable();
                Ok(Schemes(schemes))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Schemes, E> {
                Ok(Schemes::default())
            }
        }
        from.deserialize_any(Reader)
    }
}

/// Reads the list entry by entry, so that no second copy of it is ever held.
struct Collected<'s> {
    service: &'s ServiceName,
    most: usize,
    too_many: bool,
    entries: Vec<Instance>,
    left_out: BTreeMap<&'static str, usize>,
    // Tags, metadata and nodes repeat from entry to entry: one allocation for all.
    strings: HashSet<Arc<str>, Fast>,
}

impl<'de> DeserializeSeed<'de> for &mut Collected<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for &mut Collected<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of instances")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(entry) = list.next_element::<Entry<'de>>()? {
            if self.entries.len() == self.most {
                self.too_many = true;
                return Err(de::Error::custom("too many instances"));
            }
            match self.instance(entry) {
                Ok(instance) => self.entries.push(instance),
                Err(class) => *self.left_out.entry(class).or_default() += 1,
            }
        }
        Ok(())
    }
}

impl Collected<'_> {
    fn instance(&mut self, entry: Entry<'_>) -> Result<Instance, &'static str> {
        let Entry { node, service, checks } = entry;
        let node = node.unwrap_or_default();
        let id = InstanceId::new(&service.id.0).map_err(|_| "bad_id")?;
        let port = u16::try_from(service.port).ok().filter(|&port| port != 0).ok_or("bad_port")?;
        // Minimal registrations leave the address to the agent's node.
        let own = Some(&*service.address.0).filter(|address| !address.is_empty());
        let address = address(own.unwrap_or(&node.address.0), port)?;

        let mut instance = Instance::new(id, self.service.clone(), address);
        instance.status = checks.0;
        if let Some(given) = service.weights {
            let weight = |given: i64| u16::try_from(given.max(0)).unwrap_or(u16::MAX);
            instance.weights =
                Weights { passing: weight(given.passing), warning: weight(given.warning) };
        }
        instance.tags =
            service.tags.unwrap_or_default().iter().map(|tag| self.shared(&tag.0)).collect();
        let meta = &service.meta.0;
        instance.meta =
            meta.iter().map(|(key, value)| (self.shared(&key.0), self.shared(&value.0))).collect();
        let schemes = &service.tagged_addresses.0;
        let understood = understand(&instance.tags, &instance.meta, schemes);
        instance.dialect = understood.dialect;
        instance.language = understood.language;
        instance.version = understood.version;
        instance.zone = understood.zone;
        instance.protocol = understood.protocol;
        instance.boot = understood.boot;
        instance.node = (!node.node.0.is_empty()).then(|| self.shared(&node.node.0));
        instance.datacenter =
            (!node.datacenter.0.is_empty()).then(|| self.shared(&node.datacenter.0));
        Ok(instance)
    }

    fn shared(&mut self, text: &str) -> Arc<str> {
        // What is long is likely to be one of a kind (a nonce, a path), and a hostile answer could
        // make every text different: then sharing is given up.
        const SHORT: usize = 16;
        if text.len() >= SHORT {
            return text.into();
        }
        if let Some(known) = self.strings.get(text) {
            return Arc::clone(known);
        }
        let text: Arc<str> = text.into();
        if self.strings.len() < 4096 {
            self.strings.insert(Arc::clone(&text));
        }
        text
    }
}

fn status(text: &str) -> Status {
    match text {
        "passing" => Status::Passing,
        "warning" => Status::Warning,
        // Maintenance is critical; what we do not know is not trusted with traffic.
        _ => Status::Critical,
    }
}

/// Reads the address of an instance, or says what is wrong with it.
fn address(text: &str, port: u16) -> Result<Address, &'static str> {
    if text.is_empty() {
        return Err("empty_address");
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        // `::ffff:169.254.1.1` is what it stands for.
        let ip = ip.to_canonical();
        return match refused_ip(ip) {
            Some(class) => Err(class),
            None => Ok(Address::Socket((ip, port).into())),
        };
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    // `1.2.3` or `0x7f.1` is an address to some resolvers and a name to none.
    let numeric =
        name.rsplit('.').next().is_some_and(|last| last.starts_with(|c: char| c.is_ascii_digit()));
    if name.len() > 253 || numeric || !name.split('.').all(label) {
        return Err("bad_address");
    }
    Ok(Address::Name(text.into(), port))
}

/// Why nobody may be sent to an address.
pub(crate) fn refused_ip(ip: IpAddr) -> Option<&'static str> {
    let link_local = match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6 == Ipv6Addr::UNSPECIFIED,
    };
    if ip.is_unspecified() {
        Some("unspecified_address")
    } else if link_local {
        Some("link_local_address")
    } else if ip.is_multicast() || ip == IpAddr::from([255, 255, 255, 255]) {
        Some("multicast_address")
    } else {
        None
    }
}

/// Drops what is there twice, and tells apart what only looks so.
///
/// Ids are unique per agent only, and many clients use the service's name as the id: instances on
/// several nodes that share an id get `@<node>` behind it. The same id twice on one node cannot
/// be: the first stays.
fn tell_apart(
    entries: Vec<Instance>,
    left_out: &mut BTreeMap<&'static str, usize>,
) -> Vec<Arc<Instance>> {
    let mut ids: HashMap<InstanceId, u32, Fast> = HashMap::default();
    ids.reserve(entries.len());
    for instance in &entries {
        *ids.entry(instance.id.clone()).or_default() += 1;
    }
    if ids.len() == entries.len() {
        return entries.into_iter().map(Arc::new).collect();
    }
    let mut seen = HashSet::new();
    let mut unique = Vec::with_capacity(entries.len());
    for instance in entries {
        if seen.insert((instance.id.clone(), instance.node.clone())) {
            unique.push(instance);
            continue;
        }
        *left_out.entry("duplicate_id").or_default() += 1;
        if let Some(count) = ids.get_mut(&instance.id) {
            *count -= 1;
        }
    }
    for instance in &mut unique {
        if ids[&instance.id] > 1 {
            let node = instance.node.as_deref().unwrap_or("?");
            if let Ok(id) = InstanceId::new(&format!("{}@{node}", instance.id)) {
                instance.id = id;
            }
        }
    }
    unique.into_iter().map(Arc::new).collect()
}

/// FNV-1a from a random start: the keys come from a foreign answer, and whoever wrote it must not
/// know which of them meet in one place.
#[derive(Clone, Copy)]
struct Fast(u64);

impl Default for Fast {
    fn default() -> Self {
        Self(fastrand::u64(..))
    }
}

impl BuildHasher for Fast {
    type Hasher = Fnv;

    fn build_hasher(&self) -> Fnv {
        Fnv(self.0)
    }
}

struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests;
