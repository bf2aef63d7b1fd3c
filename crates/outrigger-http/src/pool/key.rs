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
        // The id is compared and not hashed: two ids at one address are rare.
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
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
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
