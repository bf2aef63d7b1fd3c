//! The series of one metric: as many as there is room for, and `_other` for the rest.

use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use papaya::{Equivalent, HashMap};

use super::catalogue::{MetricInfo, MetricKind};
use super::histogram::{BOUNDS, Counter};

/// The label value of everything there is no room for.
pub(super) const OTHER: &str = "_other";

/// A label's value, borrowed for looking up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Label<'a> {
    Text(&'a str),
    Number(u16),
    Endpoint(SocketAddr),
}

// By hand, since the derived one hashes a discriminant and an end mark for each label, which costs
// more than the labels do. Kinds never mix at one place of a key.
impl Hash for Label<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Text(text) => state.write(text.as_bytes()),
            Self::Number(number) => state.write_u16(*number),
            Self::Endpoint(SocketAddr::V4(v4)) => {
                state.write_u64(u64::from(v4.ip().to_bits()) << 16 | u64::from(v4.port()));
            }
            Self::Endpoint(SocketAddr::V6(v6)) => {
                state.write_u128(v6.ip().to_bits());
                state.write_u64(u64::from(v6.scope_id()) << 16 | u64::from(v6.port()));
            }
        }
    }
}

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => fmt::Display::fmt(number, f),
            Self::Endpoint(address) => fmt::Display::fmt(address, f),
        }
    }
}

/// A label's value, kept.
#[derive(Clone, Debug)]
enum Kept {
    Text(Box<str>),
    Number(u16),
    Endpoint(SocketAddr),
}

impl Kept {
    fn of(label: Label<'_>) -> Self {
        match label {
            Label::Text(text) => Self::Text(text.into()),
            Label::Number(number) => Self::Number(number),
            Label::Endpoint(address) => Self::Endpoint(address),
        }
    }

    #[inline]
    fn is(&self, label: &Label<'_>) -> bool {
        match (self, label) {
            (Self::Text(kept), Label::Text(label)) => **kept == **label,
            (Self::Number(kept), Label::Number(label)) => kept == label,
            (Self::Endpoint(kept), Label::Endpoint(label)) => kept == label,
            _ => false,
        }
    }

    fn as_label(&self) -> Label<'_> {
        match self {
            Self::Text(text) => Label::Text(text),
            Self::Number(number) => Label::Number(*number),
            Self::Endpoint(address) => Label::Endpoint(*address),
        }
    }
}

/// The label values of a series.
#[derive(Debug)]
struct Key(Box<[Kept]>);

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for kept in &self.0 {
            kept.as_label().hash(state);
        }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len()
            && self.0.iter().zip(&other.0).all(|(one, other)| one.is(&other.as_label()))
    }
}

impl Eq for Key {}

/// A key that is only looked for.
struct Sought<'k>(&'k [Label<'k>]);

impl Hash for Sought<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for label in self.0 {
            label.hash(state);
        }
    }
}

impl Equivalent<Key> for Sought<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.0.len() == key.0.len() && key.0.iter().zip(self.0).all(|(kept, label)| kept.is(label))
    }
}

/// The series of one metric.
///
/// The room is counted in bytes of the text format, so that a page stays below its size whatever
/// the names are. When three quarters are used, a new set of labels is counted under its first
/// identifying label with `_other` for the rest; when all is used, under `_other` alone. Nothing
/// is lost: sums over all series are always true.
pub(super) struct Family<M> {
    info: &'static MetricInfo,
    /// How many leading labels are kept when the others become `_other`.
    keep: usize,
    room: usize,
    used: AtomicUsize,
    series: HashMap<Key, Arc<M>, Spread>,
    rest: Arc<M>,
    /// Whether `rest` has been used, so that it is shown.
    overflowed: Counter,
}

impl<M: Default> Family<M> {
    pub(super) fn new(info: &'static MetricInfo, keep: usize, room: usize) -> Self {
        let series = HashMap::with_hasher(Spread { seed: fastrand::u64(..) });
        Self {
            info,
            keep,
            room,
            used: AtomicUsize::new(0),
            series,
            rest: Arc::default(),
            overflowed: Counter::default(),
        }
    }

    pub(super) const fn info(&self) -> &'static MetricInfo {
        self.info
    }

    /// Samples that were counted under `_other`.
    pub(super) fn overflowed(&self) -> u64 {
        self.overflowed.get()
    }

    /// Does something with the series of these labels.
    ///
    /// Cost: a look-up, no allocation, once the series is there.
    pub(super) fn with(&self, labels: &[Label<'_>], act: impl Fn(&M)) {
        debug_assert_eq!(labels.len(), self.info.labels.len(), "{}", self.info.name);
        let series = self.series.pin();
        match series.get(&Sought(labels)) {
            Some(metric) => act(metric),
            None => act(&self.insert(labels)),
        }
    }

    /// The series of these labels, if it is there already.
    pub(super) fn find(&self, labels: &[Label<'_>]) -> Option<Arc<M>> {
        self.series.pin().get(&Sought(labels)).cloned()
    }

    #[cold]
    fn insert(&self, labels: &[Label<'_>]) -> Arc<M> {
        if let Some(metric) = self.try_insert(labels, self.room / 4 * 3) {
            return metric;
        }
        self.overflowed.add(1);
        // No metric has more labels; an attack that ends here must not allocate.
        let mut blurred = [Label::Text(OTHER); 8];
        blurred[..self.keep].copy_from_slice(&labels[..self.keep]);
        if self.keep > 0
            && let Some(metric) = self.try_insert(&blurred[..labels.len()], self.room)
        {
            return metric;
        }
        Arc::clone(&self.rest)
    }

    fn try_insert(&self, labels: &[Label<'_>], room: usize) -> Option<Arc<M>> {
        let series = self.series.pin();
        if let Some(metric) = series.get(&Sought(labels)) {
            return Some(Arc::clone(metric));
        }
        let cost = self.cost(labels);
        let taken = self.used.fetch_add(cost, Ordering::Relaxed);
        if taken + cost > room {
            self.used.fetch_sub(cost, Ordering::Relaxed);
            return None;
        }
        let key = Key(labels.iter().map(|&label| Kept::of(label)).collect());
        let fresh = Arc::<M>::default();
        match series.try_insert(key, Arc::clone(&fresh)) {
            Ok(_) => Some(fresh),
            Err(lost) => {
                // Somebody else was first; theirs counts.
                self.used.fetch_sub(cost, Ordering::Relaxed);
                Some(Arc::clone(lost.current))
            }
        }
    }

    /// Bytes that the series takes in the text format, at most.
    fn cost(&self, labels: &[Label<'_>]) -> usize {
        let values: usize = labels.iter().map(|label| written(*label) + 4).sum();
        let names: usize = self.info.labels.iter().map(|name| name.len()).sum();
        // The name with its suffix, `le`, a space and a number of up to 20 digits.
        let line = self.info.name.len() + 24 + names + values + 24;
        let lines = if self.info.kind == MetricKind::Histogram { BOUNDS.len() + 3 } else { 1 };
        line * lines
    }

    /// Shows every series: its label values and its number. In no order.
    pub(super) fn for_each(&self, mut show: impl FnMut(&[Label<'_>], &M)) {
        for (key, metric) in &self.series.pin() {
            let labels: Vec<_> = key.0.iter().map(Kept::as_label).collect();
            show(&labels, metric);
        }
        if self.overflowed() > 0 {
            show(&vec![Label::Text(OTHER); self.info.labels.len()], &self.rest);
        }
    }
}

impl<M> fmt::Debug for Family<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Family").field("name", &self.info.name).finish_non_exhaustive()
    }
}

fn written(label: Label<'_>) -> usize {
    match label {
        Label::Text(text) => text.len(),
        Label::Number(_) => 5,
        // The longest: an IPv6 address in brackets with a scope and a port.
        Label::Endpoint(_) => 58,
    }
}

/// A hash that is quick on short texts, seeded so that nobody can aim at one bucket.
#[derive(Clone, Copy, Debug)]
struct Spread {
    seed: u64,
}

struct Spreading(u64);

impl BuildHasher for Spread {
    type Hasher = Spreading;

    fn build_hasher(&self) -> Spreading {
        Spreading(self.seed)
    }
}

impl Spreading {
    fn mix(&mut self, word: u64) {
        // Multiply and fold the 128-bit product: every input bit reaches every output bit.
        let product = u128::from(self.0 ^ word) * 0x9e37_79b9_7f4a_7c15_u128;
        self.0 = (product as u64) ^ (product >> 64) as u64;
    }
}

impl Hasher for Spreading {
    fn write(&mut self, bytes: &[u8]) {
        let (words, _) = bytes.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        // The last eight once more, some of them for the second time: no copy of an odd length,
        // which would be a call. What is shorter goes in as two overlapping halves.
        let last = match (bytes.last_chunk::<8>(), bytes.first_chunk::<4>(), bytes.last_chunk()) {
            (Some(last), ..) => u64::from_le_bytes(*last),
            (None, Some(first), Some(last)) => {
                u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last))
            }
            _ => bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)),
        };
        self.mix(last ^ (bytes.len() as u64) << 56);
    }

    fn write_u16(&mut self, number: u16) {
        self.mix(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.mix(number);
    }

    fn write_u128(&mut self, number: u128) {
        self.mix(number as u64);
        self.mix((number >> 64) as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
