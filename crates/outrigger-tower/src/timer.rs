//! A timer that is set only when there is something to wait for.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep_until};

pin_project! {
    /// A timer for an instant and the reason it is set for.
    ///
    /// It enters the runtime's wheel at the first poll: what is ready at once never sets it.
    #[derive(Debug)]
    pub(crate) struct Timer<T> {
        at: Option<(Instant, T)>,
        #[pin]
        sleep: Option<Sleep>,
    }
}

impl<T: Copy> Timer<T> {
    pub(crate) const fn new(at: Option<(Instant, T)>) -> Self {
        Self { at, sleep: None }
    }

    /// Sets it for another instant.
    pub(crate) fn reset(self: Pin<&mut Self>, at: Option<(Instant, T)>) {
        let mut this = self.project();
        *this.at = at;
        match (at, this.sleep.as_mut().as_pin_mut()) {
            (Some((at, _)), Some(sleep)) => sleep.reset(at.into()),
            (None, Some(_)) => this.sleep.set(None),
            (_, None) => {}
        }
    }

    /// Ready with the reason once the instant has come; pending for ever without one.
    pub(crate) fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let mut this = self.project();
        let Some((at, why)) = *this.at else { return Poll::Pending };
        if this.sleep.is_none() {
            this.sleep.set(Some(sleep_until(at.into())));
        }
        if let Some(sleep) = this.sleep.as_pin_mut() {
            ready!(sleep.poll(cx));
        }
        Poll::Ready(why)
    }
}
