//! Finding an endpoint's connections.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::net::IpAddr;

use outrigger_core::Endpoint;
use papaya::Equivalent;

/// An endpoint as the key of a map.
#[derive(Debug)]
pub(crate) struct Key(Endpoint);

/// The same, borrowed.
pub(crate) struct KeyRef<'a>(pub(crate) &'a Endpoint);

impl Key {
    pub(crate) fn new(endpoint: &Endpoint) -> Self {
        Self(endpoint.clone())
    }

    pub(crate) const fn endpoint(&self) -> &Endpoint {
        &self.0
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        KeyRef(&self.0).hash(state);
    }
}

impl Hash for KeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The id too: a map of keys that all collide grows without end when it is copied, and a
        // registry may name any number of ids at one address.
        let address = self.0.address();
        match address.ip() {
            IpAddr::V4(ip) => state.write_u64(u64::from(u32::from(ip)) << 16),
            IpAddr::V6(ip) => {
                let bits = u128::from(ip);
                #[expect(clippy::cast_possible_truncation, reason = "both halves are written")]
                state.write_u64(bits as u64);
                state.write_u64((bits >> 64) as u64);
            }
        }
        state.write_u64(u64::from(address.port()));
        state.write(self.0.instance().id.as_str().as_bytes());
    }
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self.0 == key.0
    }
}

/// Multiplies and folds, from a random start: addresses come from a registry, not from callers, and
/// the default hasher costs ten times as much.
#[derive(Clone, Debug)]
pub(crate) struct KeyHasher(u64);

impl KeyHasher {
    pub(crate) fn new() -> Self {
        Self(RandomState::new().hash_one(0_u8))
    }
}

impl BuildHasher for KeyHasher {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        self.clone()
    }
}

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        for &word in words {
            self.write_u64(u64::from_le_bytes(word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.write_u64(u64::from_le_bytes(last));
    }

    fn write_u64(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * 0x9e37_79b9_7f4a_7c15;
        #[expect(clippy::cast_possible_truncation, reason = "both halves are folded in")]
        let low = product as u64;
        self.0 = low ^ (product >> 64) as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;

    use outrigger_core::Instance;

    use super::*;

    #[test]
    fn a_thousand_ids_at_one_address_are_a_thousand_places() {
        let at = "127.0.0.1:80".parse().expect("an address");
        let hasher = KeyHasher::new();
        let hashes: HashSet<u64> = (0..1_000)
            .map(|number| {
                let id = format!("stock-{number}").parse().expect("an id");
                let instance = Instance::new(id, "stock".parse().expect("a name"), at);
                hasher.hash_one(KeyRef(&Endpoint::new(Arc::new(instance), at)))
            })
            .collect();
        assert!(hashes.len() > 990, "{} of 1000", hashes.len());
    }
}
