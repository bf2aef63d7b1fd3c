//! A timer that is set only when there is something to wait for.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use pin_project_lite::pin_project;
use tokio::runtime;
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
        // Whose wheel it is in.
        home: Option<runtime::Id>,
    }
}

impl<T: Copy> Timer<T> {
    pub(crate) const fn new(at: Option<(Instant, T)>) -> Self {
        Self { at, sleep: None, home: None }
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

    /// Has it wait for nothing, and keep its place in the wheel for the next time.
    ///
    /// A place that comes too early costs less, once, than to leave the wheel and to enter it for
    /// each of the requests until then.
    pub(crate) fn rest(self: Pin<&mut Self>) {
        *self.project().at = None;
    }

    /// Sets it for the first time since it rested.
    pub(crate) fn wake(self: Pin<&mut Self>, at: Option<(Instant, T)>) {
        let mut this = self.project();
        *this.at = at;
        let is_here =
            runtime::Handle::try_current().is_ok_and(|here| *this.home == Some(here.id()));
        let is_of_use = at.zip(this.sleep.as_ref().as_pin_ref()).is_some_and(|((at, _), sleep)| {
            is_here && !sleep.is_elapsed() && sleep.deadline().into_std() <= at
        });
        if !is_of_use {
            this.sleep.set(None);
        }
    }

    /// Ready with the reason once the instant has come; pending for ever without one.
    pub(crate) fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let mut this = self.project();
        let Some((at, why)) = *this.at else { return Poll::Pending };
        if this.sleep.is_none() {
            this.sleep.set(Some(sleep_until(at.into())));
            *this.home = runtime::Handle::try_current().ok().map(|home| home.id());
        }
        if let Some(mut sleep) = this.sleep.as_pin_mut() {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline().into_std() < at {
                // The place of an earlier request.
                sleep.as_mut().reset(at.into());
                ready!(sleep.poll(cx));
            }
        }
        Poll::Ready(why)
    }
}
