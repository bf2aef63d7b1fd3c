//! The bounded store of the buckets of many keys.

use std::sync::PoisonError;

use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};

use crate::clock::CallClock;
use crate::config::WhenFull;
use crate::key::Key;
use crate::scale::{Scale, UNUSED};
use crate::sync::{Arc, AtomicU64, Mutex, MutexGuard, Ordering, pause};

// Sequential consistency throughout: the costs on the paths that matter are those of the
// compare-and-swap, and the argument below needs no weaker words.
const ORDER: Ordering = Ordering::SeqCst;

/// Buckets by key: a fixed table, 24 bytes a place, that never allocates after it was made.
///
/// A key has 2 × 8 places it may be in (two choices of a row of eight: such a table fills to more
/// than nine tenths before a key finds no place). A place whose bucket is full, its tokens all
/// back, says the same as no place at all; so it is given to the next newcomer, and no sweeper is
/// needed. When none of the 16 is full the key finds no room: see [`WhenFull`].
///
/// Looking up and taking a token take no lock; giving a place to a newcomer does. The invariant
/// that makes this exact: no state of a place ever comes back, also when its owner changes, since
/// states rise within a version. So a thread that saw its own name *after* it read a state, and
/// then swaps that very state for another, has certainly swapped its own: had the place changed
/// hands in between, the state would be another.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Box<[Row]>,
    /// Keys that found no room share this bucket.
    shared: AtomicU64,
    inserting: Mutex<Newcomers>,
}

const PLACES: usize = 8;

/// Three cache lines; a look-up reads the first, and of the states its own.
#[derive(Debug)]
#[repr(align(64))]
struct Row {
    names: [AtomicU64; PLACES],
    states: [AtomicU64; PLACES],
    /// The halves of the keys that are no names: to find each one's rows in another table.
    homes: [AtomicU64; PLACES],
}

#[derive(Debug, Default)]
struct Newcomers {
    /// Places that hold a key.
    taken: usize,
    /// Latest time at which a bucket, whose place was given away, became full. Not later than
    /// `now`, unless this thread's `now` lies behind another's: then a newcomer may be that very
    /// key, and is treated as it would have been.
    horizon: u64,
}

/// No key has this name.
const NOBODY: u64 = 0;
/// The state of a place that is being given away.
const MOVING: u64 = u64::MAX;

/// One place of a row.
#[derive(Clone, Copy)]
struct Place<'a> {
    row: &'a Row,
    index: usize,
}

impl<'a> Place<'a> {
    const fn name(self) -> &'a AtomicU64 {
        &self.row.names[self.index]
    }

    const fn state(self) -> &'a AtomicU64 {
        &self.row.states[self.index]
    }

    const fn home(self) -> &'a AtomicU64 {
        &self.row.homes[self.index]
    }
}

impl Table {
    /// A table with room for at least `keys`.
    pub(crate) fn new(keys: usize) -> Self {
        // An eighth more, so that two choices of eight suffice.
        let rows = keys.div_ceil(PLACES - 1).max(2).next_power_of_two();
        let zeros = || std::array::from_fn(|_| AtomicU64::new(0));
        let row = || Row { names: zeros(), states: zeros(), homes: zeros() };
        Self {
            rows: (0..rows).map(|_| row()).collect(),
            shared: AtomicU64::new(UNUSED),
            inserting: Mutex::new(Newcomers::default()),
        }
    }

    /// Keys that it has room for.
    pub(crate) const fn capacity(&self) -> usize {
        self.rows.len() * PLACES
    }

    /// Places that hold a key, those with a full bucket included.
    pub(crate) fn len(&self) -> usize {
        self.newcomers().taken
    }

    /// Takes over the buckets of another table that are not full, as many as find room.
    pub(crate) fn adopt(&self, other: &Self, scale: &Scale, now: u64) {
        let mut ours = self.newcomers();
        let theirs = other.newcomers();
        ours.horizon = theirs.horizon;
        self.shared.store(other.shared.load(ORDER), ORDER);
        for row in &other.rows {
            for index in 0..PLACES {
                let old = Place { row, index };
                let (name, state) = (old.name().load(ORDER), old.state().load(ORDER));
                let key = Key { name, home: old.home().load(ORDER) };
                if name == NOBODY || scale.full_at(state) <= now {
                    continue;
                }
                let free = self.places(key).find(|place| place.name().load(ORDER) == NOBODY);
                if let Some(place) = free {
                    place.home().store(key.home, ORDER);
                    place.name().store(name, ORDER);
                    place.state().store(state, ORDER);
                    ours.taken += 1;
                }
            }
        }
    }

    fn newcomers(&self) -> MutexGuard<'_, Newcomers> {
        self.inserting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The two rows of a key, as one sequence of places.
    #[inline]
    fn places(&self, key: Key) -> impl Iterator<Item = Place<'_>> {
        let mask = self.rows.len() as u64 - 1;
        [key.home & mask, (key.home >> 32) & mask].into_iter().flat_map(move |row| {
            let row = &self.rows[row as usize];
            (0..PLACES).map(move |index| Place { row, index })
        })
    }

    #[inline]
    fn find(&self, key: Key) -> Option<Place<'_>> {
        self.places(key).find(|place| place.name().load(ORDER) == key.name)
    }

    /// When the bucket of `key` is full again; `None` for a key that has no place of its own.
    pub(crate) fn peek(&self, key: Key, scale: &Scale) -> Option<u64> {
        let place = self.find(key)?;
        let state = place.state().load(ORDER);
        // The name after the state: see the invariant at `Table`.
        let ours = state != MOVING && place.name().load(ORDER) == key.name;
        ours.then(|| scale.full_at(state))
    }

    /// Takes a token from the bucket of `key`.
    #[inline]
    fn measure<T, E>(
        &self,
        key: Key,
        scale: &Scale,
        when_full: WhenFull,
        decide: impl Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    ) -> Result<T, E> {
        loop {
            if let Some(place) = self.find(key) {
                if let Some(answer) = measure_at(place, key, scale, &decide) {
                    return answer;
                }
                // The place was given away under us, or is about to be: look again.
                pause();
            } else if let Some(answer) = self.measure_new(key, scale, when_full, &decide) {
                return answer;
            }
        }
    }

    /// Finds a place for a newcomer; `None` when it has one already.
    #[cold]
    fn measure_new<T, E>(
        &self,
        key: Key,
        scale: &Scale,
        when_full: WhenFull,
        decide: &impl Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    ) -> Option<Result<T, E>> {
        let now = CallClock::get();
        let mut newcomers = self.newcomers();
        if self.find(key).is_some() {
            return None;
        }
        let Some((place, before)) = self.claim(key, scale, now) else {
            drop(newcomers);
            return Some(match when_full {
                WhenFull::Share => measure_one(&self.shared, scale, decide),
                // governor alone can make a refusal: it is asked about an empty bucket.
                WhenFull::Refuse => {
                    decide(Some(scale.empty(now).into())).map(|(answer, _full_at)| answer)
                }
            });
        };
        if place.name().load(ORDER) == NOBODY {
            newcomers.taken += 1;
        }
        newcomers.horizon = newcomers.horizon.max(scale.full_at(before));
        let horizon = newcomers.horizon;
        place.home().store(key.home, ORDER);
        place.name().store(key.name, ORDER);
        let (answer, state) = match decide((horizon > now).then(|| horizon.into())) {
            Ok((answer, full_at)) => (Ok(answer), scale.write(full_at, UNUSED)),
            // Only with a `now` from before the horizon. One more than it: no state comes back.
            Err(refusal) => (Err(refusal), scale.write((horizon + 1).into(), UNUSED)),
        };
        place.state().store(state, ORDER);
        Some(answer)
    }

    /// Takes a place that is empty or whose bucket is full out of use, under the lock.
    fn claim(&self, key: Key, scale: &Scale, now: u64) -> Option<(Place<'_>, u64)> {
        let is_full = |state| state != MOVING && scale.full_at(state) <= now;
        // Empty places first, of the emptier row: what is full may still be asked for again.
        let mask = self.rows.len() as u64 - 1;
        let rows = [key.home & mask, (key.home >> 32) & mask].map(|row| &self.rows[row as usize]);
        let empty =
            rows.map(|row| row.names.iter().filter(|name| name.load(ORDER) == NOBODY).count());
        let emptier = rows[usize::from(empty[1] > empty[0])];
        let places = |row| (0..PLACES).map(move |index| Place { row, index });
        let free = places(emptier).filter(|place| place.name().load(ORDER) == NOBODY);
        let full = self.places(key).filter(|place| {
            let state = place.state().load(ORDER);
            place.name().load(ORDER) != NOBODY && is_full(state)
        });
        free.chain(full).find_map(|place| {
            let state = place.state().load(ORDER);
            // It may have been used in the meantime, and not be full any more.
            if !is_full(state) {
                return None;
            }
            place.state().compare_exchange(state, MOVING, ORDER, ORDER).ok().map(|_| (place, state))
        })
    }
}

/// Takes a token at a place; `None` when the place is not, or no longer, that of `key`.
#[inline]
fn measure_at<T, E>(
    place: Place<'_>,
    key: Key,
    scale: &Scale,
    decide: &impl Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
) -> Option<Result<T, E>> {
    let mut seen = place.state().load(ORDER);
    loop {
        // The name after the state: see the invariant at `Table`.
        if seen == MOVING || place.name().load(ORDER) != key.name {
            return None;
        }
        match decide(scale.read(seen)) {
            Err(refusal) => {
                renew(place.state(), scale, seen);
                return Some(Err(refusal));
            }
            Ok((answer, full_at)) => {
                let next = scale.write(full_at, seen);
                match place.state().compare_exchange_weak(seen, next, ORDER, ORDER) {
                    Ok(_) => return Some(Ok(answer)),
                    Err(present) => seen = present,
                }
            }
        }
    }
}

/// Takes a token from a bucket that belongs to nobody else.
#[inline]
pub(crate) fn measure_one<T, E>(
    bucket: &AtomicU64,
    scale: &Scale,
    decide: &impl Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
) -> Result<T, E> {
    let mut seen = bucket.load(ORDER);
    loop {
        let (answer, full_at) = match decide(scale.read(seen)) {
            Ok(taken) => taken,
            Err(refusal) => {
                renew(bucket, scale, seen);
                return Err(refusal);
            }
        };
        match bucket.compare_exchange_weak(seen, scale.write(full_at, seen), ORDER, ORDER) {
            Ok(_) => return Ok(answer),
            Err(present) => seen = present,
        }
    }
}

/// Brings a state that refused under the present version; whoever is faster does it as well.
#[inline]
fn renew(state: &AtomicU64, scale: &Scale, seen: u64) {
    if let Some(renewed) = scale.renewed(seen) {
        let _whoever_was_first = state.compare_exchange(seen, renewed, ORDER, ORDER);
    }
}

/// The table as governor sees it, under one set of parameters.
#[derive(Debug)]
pub(crate) struct KeyedStore {
    pub(crate) table: Arc<Table>,
    pub(crate) scale: Scale,
    pub(crate) when_full: WhenFull,
}

impl StateStore for KeyedStore {
    type Key = Key;

    #[inline]
    fn measure_and_replace<T, F, E>(&self, key: &Key, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        self.table.measure(*key, &self.scale, self.when_full, decide)
    }
}

/// One bucket as governor sees it, under one set of parameters.
#[derive(Debug)]
pub(crate) struct SingleStore {
    pub(crate) bucket: Arc<AtomicU64>,
    pub(crate) scale: Scale,
}

impl StateStore for SingleStore {
    type Key = NotKeyed;

    #[inline]
    fn measure_and_replace<T, F, E>(&self, _key: &NotKeyed, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        measure_one(&self.bucket, &self.scale, &decide)
    }
}
