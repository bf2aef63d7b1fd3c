use std::sync::atomic::Ordering::Relaxed;

use outrigger_core::{BoxError, Rejected};

use super::body::Over;
use crate::admission::{Admission, AtHead};

/// The answer, or the refusal of a body that is too large.
pub type ResponseFuture<F> = Admission<F, Counted>;

/// Knows whether a body of unknown length turned out too large; nothing where it was known.
#[derive(Debug)]
pub struct Counted(pub(super) Option<(Over, Rejected)>);

impl<T> AtHead<T> for Counted {
    type Response = T;

    fn at_head(self, result: Result<T, BoxError>) -> Result<T, BoxError> {
        // Whatever the handler made of a body that broke off: it was too large.
        match self.0.filter(|(over, _)| over.load(Relaxed)) {
            Some((_, rejected)) => Err(rejected.into()),
            None => result,
        }
    }
}
