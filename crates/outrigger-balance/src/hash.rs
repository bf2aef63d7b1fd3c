//! Hashes that stay the same over processes and versions, and the two tables that use them.

/// Hashes what `hash_on` names: a header's value, a cookie, a client address.
///
/// The same bytes give the same hash in every process, on every machine and in every version of
/// this crate, so that all callers of a service agree. Not for secrets: it can be collided.
///
/// Source: FNV-1a with the finalizer of MurmurHash3, whose avalanche FNV lacks.
#[must_use]
pub fn hash_key(bytes: &[u8]) -> u64 {
    let fnv = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &b| {
        (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
    });
    mix(fnv)
}

/// Spreads every bit of a number over all others.
pub(crate) const fn mix(mut x: u64) -> u64 {
    x ^= x >> 33;
    x = x.wrapping_mul(0xff51_afd7_ed55_8ccd);
    x ^= x >> 33;
    x = x.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ (x >> 33)
}

/// Where a hash leads: an index into the slate, and what comes after it.
#[derive(Debug)]
pub(crate) enum HashTable {
    Ring(Ring),
    Maglev(Maglev),
}

impl HashTable {
    /// The first of at most `steps` endpoints, from the hash's own onwards, that is `good`.
    pub(crate) fn find(
        &self,
        hash: u64,
        steps: usize,
        mut good: impl FnMut(usize) -> bool,
    ) -> Option<usize> {
        match self {
            Self::Ring(ring) => ring.from(hash).take(steps).find(|&index| good(index)),
            Self::Maglev(maglev) => maglev.from(hash).take(steps).find(|&index| good(index)),
        }
    }
}

/// A ring of points; a hash belongs to the next point clockwise.
#[derive(Debug)]
pub(crate) struct Ring(Box<[(u64, u32)]>);

impl Ring {
    /// Points on the ring in all, at least; Envoy's `minimum_ring_size`.
    const LEAST: usize = 1_024;
    /// Points per endpoint of mean weight, while there are few endpoints.
    const EACH: usize = 160;
    /// Points in all, about: more would make a change in a set of thousands slow to apply.
    const MOST: usize = 65_536;

    /// `keys` are the endpoints' own hashes and their shares of the mean weight.
    pub(crate) fn new(keys: &[(u64, f32)]) -> Self {
        let total = (keys.len() * Self::EACH).clamp(Self::LEAST, Self::MOST);
        let each = total as f32 / keys.len().max(1) as f32;
        let mut points = Vec::with_capacity(total + keys.len());
        for (index, &(key, share)) in keys.iter().enumerate() {
            let wanted = ((each * share).round() as u64).max(1);
            points.extend((0..wanted).map(|n| (mix(key ^ mix(n + 1)), index as u32)));
        }
        points.sort_unstable();
        Self(points.into())
    }

    /// The owners of the points clockwise; points of one owner that lie side by side count once.
    fn from(&self, hash: u64) -> impl Iterator<Item = usize> {
        let first = self.0.partition_point(|&(point, _)| point < hash);
        let clockwise = self.0[first..].iter().chain(&self.0[..first]);
        let mut before = u32::MAX;
        clockwise.filter_map(move |&(_, owner)| {
            (std::mem::replace(&mut before, owner) != owner).then_some(owner as usize)
        })
    }
}

/// A table in which each endpoint owns about its share of the places.
///
/// Source: Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", 3.4.
#[derive(Debug)]
pub(crate) struct Maglev(Box<[u32]>);

impl Maglev {
    /// Prime, as the permutations need; the paper's small table and Envoy's default.
    const SIZE: u64 = 65_537;

    pub(crate) fn new(keys: &[(u64, f32)]) -> Self {
        let size = Self::SIZE;
        let largest = keys.iter().map(|&(_, share)| share).fold(f32::MIN_POSITIVE, f32::max);
        let mut turns: Vec<(u64, u64, f32)> = keys
            .iter()
            .map(|&(key, share)| {
                let (offset, skip) = (mix(key ^ 0x5bd1), mix(key ^ 0xe995));
                (offset % size, skip % (size - 1) + 1, share / largest)
            })
            .collect();
        let mut table = vec![u32::MAX; size as usize];
        let mut credit = vec![0.0_f32; keys.len()];
        let mut left = if keys.is_empty() { 0 } else { size };
        while left > 0 {
            for (index, (place, skip, share)) in turns.iter_mut().enumerate() {
                // An endpoint of half the largest weight takes a place every other turn.
                credit[index] += *share;
                if credit[index] < 1.0 {
                    continue;
                }
                credit[index] -= 1.0;
                while table[*place as usize] != u32::MAX {
                    *place = (*place + *skip) % size;
                }
                table[*place as usize] = index as u32;
                left -= 1;
                if left == 0 {
                    break;
                }
            }
        }
        Self(table.into())
    }

    /// The owner of the hash's place, then of places the hash is led on to.
    fn from(&self, hash: u64) -> impl Iterator<Item = usize> {
        let places = std::iter::successors(Some(hash), |&place| Some(mix(place ^ 0x9e37_79b9)));
        places.map(|place| self.0[(place % Self::SIZE) as usize] as usize)
    }
}
