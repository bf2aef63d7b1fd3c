//! The future of every rule that may refuse: an admitted call with what its rule does at the
//! answer's head, or the refusal.
//!
//! Each rule names its own by an alias, as in [`shed::ResponseFuture`](crate::shed::ResponseFuture).

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use outrigger_core::{BoxError, Rejected};
use pin_project_lite::pin_project;

/// What a rule does with the outcome of a call that it admitted.
///
/// Shape: it is asked once, at the answer's head or at the error. One that is dropped without being
/// asked belongs to a call that was given up.
pub trait AtHead<T> {
    /// What becomes of the answer.
    type Response;

    /// Judges the outcome, and hands on what the caller gets.
    ///
    /// # Errors
    /// The call's own error, or the refusal that takes its place.
    fn at_head(self, result: Result<T, BoxError>) -> Result<Self::Response, BoxError>;
}

/// A rule that is done once it has admitted.
impl<T> AtHead<T> for () {
    type Response = T;

    fn at_head(self, result: Result<T, BoxError>) -> Result<T, BoxError> {
        result
    }
}

pin_project! {
    /// The answer of an admitted call after its rule has seen it, or the rule's refusal.
    #[derive(Debug)]
    pub struct Admission<F, H> {
        #[pin]
        state: State<F, H>,
    }
}

pin_project! {
    #[project = StateProj]
    #[derive(Debug)]
    enum State<F, H> {
        // The inner future goes first when this is dropped: then the connection is already given
        // back when the rule hears that the call is over.
        Admitted { #[pin] inner: F, rule: Option<H> },
        Rejected { rejected: Option<Rejected> },
    }
}

impl<F, H> Admission<F, H> {
    pub(crate) const fn admitted(inner: F, rule: H) -> Self {
        Self { state: State::Admitted { inner, rule: Some(rule) } }
    }

    pub(crate) const fn rejected(rejected: Rejected) -> Self {
        Self { state: State::Rejected { rejected: Some(rejected) } }
    }
}

impl<F, H, T, E> Future for Admission<F, H>
where
    F: Future<Output = Result<T, E>>,
    H: AtHead<T>,
    E: Into<BoxError>,
{
    type Output = Result<H::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Admitted { inner, rule } => {
                let result = ready!(inner.poll(cx)).map_err(Into::into);
                let rule = rule.take().expect("a future is not polled after it is ready");
                Poll::Ready(rule.at_head(result))
            }
            StateProj::Rejected { rejected } => {
                let rejected = rejected.take().expect("a future is not polled after it is ready");
                Poll::Ready(Err(rejected.into()))
            }
        }
    }
}
