//! Whose bucket: a keyed hash.

/// Whose bucket: a 128-bit keyed hash of whatever the layer chose to limit by.
///
/// Shape: made by [`KeyedRateLimit::key`], and good for that limiter only. Without its secret
/// nobody can find two callers that share a bucket.
///
/// [`KeyedRateLimit::key`]: crate::KeyedRateLimit::key
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub(crate) name: u64,
    pub(crate) home: u64,
}

/// Hashes the parts of a key, such as a caller and a path.
///
/// Parts are told apart: `("ab", "c")` is another key than `("a", "bc")`. Allocates nothing.
/// Source: Aumasson, Bernstein, `SipHash`, 2012, with one and three rounds and 128 bits of output,
/// over words: each part is its length followed by its bytes, padded with zeros to whole words.
#[derive(Clone, Copy, Debug)]
#[must_use = "a key is made by `finish`"]
pub struct KeyBuilder {
    state: Sip<1, 3>,
}

impl KeyBuilder {
    pub(crate) const fn new(secret: u128) -> Self {
        Self { state: Sip::new(secret as u64, (secret >> 64) as u64) }
    }

    /// Adds a part.
    #[inline]
    pub fn part(mut self, part: &[u8]) -> Self {
        self.state.word(part.len() as u64);
        let (words, rest) = part.as_chunks::<8>();
        for word in words {
            self.state.word(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.state.word(u64::from_le_bytes(last));
        }
        self
    }

    /// The key of all parts so far.
    #[inline]
    #[must_use]
    pub fn finish(self) -> Key {
        let (name, home) = self.state.finish();
        // Zero marks an empty place; one key in 2^64 takes another's name.
        Key { name: name.max(1), home }
    }
}

/// The state of `SipHash` with `C` rounds per word and `D` at the end.
#[derive(Clone, Copy, Debug)]
struct Sip<const C: usize, const D: usize>([u64; 4]);

impl<const C: usize, const D: usize> Sip<C, D> {
    const fn new(k0: u64, k1: u64) -> Self {
        Self([
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d ^ 0xee,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ])
    }

    #[inline]
    fn word(&mut self, word: u64) {
        self.0[3] ^= word;
        self.rounds(C);
        self.0[0] ^= word;
    }

    #[inline]
    fn finish(mut self) -> (u64, u64) {
        self.0[2] ^= 0xee;
        self.rounds(D);
        let [a, b, c, d] = self.0;
        let first = a ^ b ^ c ^ d;
        self.0[1] ^= 0xdd;
        self.rounds(D);
        let [a, b, c, d] = self.0;
        (first, a ^ b ^ c ^ d)
    }

    #[inline]
    fn rounds(&mut self, count: usize) {
        let [mut a, mut b, mut c, mut d] = self.0;
        for _ in 0..count {
            a = a.wrapping_add(b);
            b = b.rotate_left(13) ^ a;
            a = a.rotate_left(32);
            c = c.wrapping_add(d);
            d = d.rotate_left(16) ^ c;
            a = a.wrapping_add(d);
            d = d.rotate_left(21) ^ a;
            c = c.wrapping_add(b);
            b = b.rotate_left(17) ^ c;
            c = c.rotate_left(32);
        }
        self.0 = [a, b, c, d];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published vectors of SipHash-2-4-128: key 00 to 0f, input 00, 01, … of each length.
    #[test]
    fn the_rounds_are_those_of_the_published_vectors() {
        let start = || Sip::<2, 4>::new(0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908);
        let mut empty = start();
        empty.word(0);
        let (first, second) = empty.finish();
        assert_eq!(first.to_le_bytes(), [0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6]);
        assert_eq!(second.to_le_bytes(), [0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55, 0x02, 0x93]);

        let mut one_byte = start();
        one_byte.word(1 << 56);
        let (first, second) = one_byte.finish();
        assert_eq!(first.to_le_bytes(), [0xda, 0x87, 0xc1, 0xd8, 0x6b, 0x99, 0xaf, 0x44]);
        assert_eq!(second.to_le_bytes(), [0x34, 0x76, 0x59, 0x11, 0x9b, 0x22, 0xfc, 0x45]);
    }

    #[test]
    fn parts_are_told_apart() {
        let key = |parts: &[&str]| {
            parts.iter().fold(KeyBuilder::new(7), |key, part| key.part(part.as_bytes())).finish()
        };
        assert_ne!(key(&["ab", "c"]), key(&["a", "bc"]));
        assert_ne!(key(&["a", ""]), key(&["a"]));
        assert_ne!(key(&["a\0"]), key(&["a"]), "padding is no content");
        assert_eq!(key(&["orders", "/stock/42"]), key(&["orders", "/stock/42"]));
    }

    #[test]
    fn another_secret_gives_other_keys() {
        let key = |secret| KeyBuilder::new(secret).part(b"alice").finish();
        assert_ne!(key(1), key(2));
        assert_ne!(key(1), key(1 << 64), "both halves of the secret count");
    }
}
