//! Closing what nobody has used for a while.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::endpoint::{EndpointPool, Swept};
use super::{Common, OutboundBody};

/// Units: what the pool's tick counts.
const EVERY: Duration = Duration::from_secs(1);

/// Has a sweeper run, unless one does.
pub(crate) fn ensure<B: OutboundBody>(endpoint: &Arc<EndpointPool<B>>) {
    if !endpoint.common.is_swept.swap(true, Ordering::AcqRel) {
        let running = Running(Arc::clone(&endpoint.common));
        tokio::spawn(run(Weak::clone(&endpoint.pool), running));
    }
}

/// Says that a sweeper runs; its runtime may be shut down around it.
struct Running(Arc<Common>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.is_swept.store(false, Ordering::Release);
    }
}

async fn run<B: OutboundBody>(pool: Weak<super::Shared<B>>, running: Running) {
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // The first tick is now.
    every.tick().await;
    loop {
        every.tick().await;
        running.0.tick.fetch_add(1, Ordering::Relaxed);
        // Not held while it sleeps: with its last clone the pool is gone.
        let Some(pool) = pool.upgrade() else { return };
        pool.endpoints.pin().retain(|_, endpoint| match endpoint.sweep() {
            Swept::InUse | Swept::Empty => true,
            Swept::Forgotten => {
                endpoint.retire();
                false
            }
        });
    }
}
