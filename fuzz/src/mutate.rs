//! Inputs that differ a little from those that are known.

use fastrand::Rng;

/// Longest input that is made.
const LONGEST: usize = 16 << 10;

/// Pieces that parsers trip over, whatever they parse.
const PIECES: &[&[u8]] = &[
    b"",
    b"\0",
    b"\r\n",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b",",
    b";",
    b"=",
    b"%",
    b"%2e",
    b"%25",
    b"/../",
    b"//",
    b"\xff\xfe",
    b"\xc3\x28",
    b"\xef\xbb\xbf",
    b"0",
    b"-0",
    b"-1",
    b"1e308",
    b"1e-400",
    b"NaN",
    b"65536",
    b"4294967296",
    b"9223372036854775808",
    b"18446744073709551616",
    b"340282366920938463463374607431768211456",
    b"null",
    b"true",
    b"[]",
    b"{}",
    b"\"\"",
    b"[[[[[[[[",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"0\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"00000000000000000000000000000000",
    b"00-",
    b"-01",
];

/// Makes inputs out of a corpus; the same seed makes the same ones.
#[derive(Debug)]
pub struct Mutator<'a> {
    corpus: &'a [Vec<u8>],
    rng: Rng,
}

impl<'a> Mutator<'a> {
    /// Over a corpus that is not empty.
    #[must_use]
    pub fn new(corpus: &'a [Vec<u8>], seed: u64) -> Self {
        assert!(!corpus.is_empty(), "there is nothing to mutate");
        Self { corpus, rng: Rng::with_seed(seed) }
    }

    /// The next input.
    pub fn make(&mut self) -> Vec<u8> {
        let mut input = self.pick().to_vec();
        for _ in 0..self.rng.u32(1..=6) {
            self.change(&mut input);
        }
        input.truncate(LONGEST);
        input
    }

    fn pick(&mut self) -> &'a [u8] {
        &self.corpus[self.rng.usize(..self.corpus.len())]
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let (from, to) = self.range(input.len());
        match self.rng.u8(..9) {
            0 if from < input.len() => input[from] ^= 1 << self.rng.u8(..8),
            1 if from < input.len() => input[from] = self.rng.u8(..),
            2 => input.insert(from, self.rng.u8(..)),
            3 => drop(input.drain(from..to)),
            4 => {
                let piece = PIECES[self.rng.usize(..PIECES.len())];
                input.splice(from..from, piece.iter().copied());
            }
            5 => {
                let piece = PIECES[self.rng.usize(..PIECES.len())];
                input.splice(from..to, piece.iter().copied());
            }
            6 => {
                // The same again, as often as it fits: depth and length.
                let piece = input[from..to].to_vec();
                for _ in 0..self.rng.usize(1..40) {
                    if input.len() + piece.len() > LONGEST {
                        break;
                    }
                    input.splice(from..from, piece.iter().copied());
                }
            }
            7 => {
                let other = self.pick();
                let (start, end) = self.range(other.len());
                input.splice(from..to, other[start..end].iter().copied());
            }
            _ => input.truncate(from),
        }
    }

    /// Two places in order, more often near to each other than not.
    fn range(&mut self, length: usize) -> (usize, usize) {
        let from = self.rng.usize(..=length);
        let most = if self.rng.bool() { 8.min(length - from) } else { length - from };
        (from, from + self.rng.usize(..=most))
    }
}

/// A name for an input: FNV-1a.
#[must_use]
pub fn hash(input: &[u8]) -> u64 {
    input.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
