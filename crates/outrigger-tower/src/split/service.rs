use std::sync::Arc;
use std::task::{Context as Task, Poll};

use outrigger_core::{Context, Decision};
use tower_service::Service;

use super::SplitLayer;
use crate::{HttpCall, clock};

/// Chooses the subset of each request.
///
/// Cost: one draw or one look-up and hash; no allocation.
///
/// # Cancel safety
/// It holds nothing.
#[derive(Clone, Debug)]
pub struct Split<S> {
    inner: S,
    layer: Arc<SplitLayer>,
}

impl<S> Split<S> {
    pub(super) const fn new(inner: S, layer: Arc<SplitLayer>) -> Self {
        Self { inner, layer }
    }
}

impl<S, R> Service<R> for Split<S>
where
    R: HttpCall,
    S: Service<R>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Task<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: R) -> S::Future {
        let layer = &*self.layer;
        let hash = layer.sticky.as_ref().and_then(|on| on.hash(request.request()));
        let draw = hash.map_or_else(|| layer.dice.roll(), salted);
        let subset = layer.rule.choose(draw);
        let context = request.context_or_insert_with(|| Context::new(clock::now()));
        context.subset = Some(Arc::clone(subset));
        if let Some(receipt) = &context.receipt {
            let at = clock::now().saturating_duration_since(context.started);
            receipt.push(at, Decision::Split { subset: Arc::clone(subset) });
        }
        self.inner.call(request)
    }
}

/// Another hash of the same value: the one that chooses the side must not be the one that chooses
/// the endpoint, or each side would use one arc of its ring only.
const fn salted(hash: u64) -> u64 {
    let z = (hash ^ 0x0073_706c_6974_0001).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 32)
}
