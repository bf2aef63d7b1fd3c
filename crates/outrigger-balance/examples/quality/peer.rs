//! tower's P2C over its peak EWMA, driven by the simulation on tokio's paused clock.

use std::cell::RefCell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::oneshot;
use tower::Service;
use tower::balance::p2c::Balance;
use tower::discover::ServiceList;
use tower::load::{CompleteOnResponse, PeakEwmaDiscover};
use tower::util::rng::Rng;

use crate::sim::{Balancer, Time};

/// Which endpoint was called, and how it is told to answer.
type Called = Rc<RefCell<Option<(usize, oneshot::Sender<()>)>>>;
type Running = (oneshot::Sender<()>, Pin<Box<dyn Future<Output = ()>>>);
type Answer = Pin<Box<dyn Future<Output = Result<(), Infallible>>>>;
type Peers = PeakEwmaDiscover<ServiceList<Vec<Endpoint>>, CompleteOnResponse>;

/// Says which endpoint was called, and answers when told to.
struct Endpoint {
    index: usize,
    called: Called,
}

impl Service<()> for Endpoint {
    type Response = ();
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Answer {
        let (answer, answered) = oneshot::channel();
        *self.called.borrow_mut() = Some((self.index, answer));
        Box::pin(async move {
            let _ = answered.await;
            Ok(())
        })
    }
}

struct Dice(fastrand::Rng);

impl Rng for Dice {
    fn next_u64(&mut self) -> u64 {
        self.0.u64(..)
    }
}

/// tower's balancer on virtual time.
///
/// It cannot be told to avoid an endpoint: a retry draws again.
pub(crate) struct Tower {
    runtime: tokio::runtime::Runtime,
    now: Time,
    balance: Balance<Peers, ()>,
    called: Called,
    running: HashMap<u64, Running>,
}

impl Tower {
    pub(crate) fn new(endpoints: usize, seed: u64) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let called = Rc::new(RefCell::new(None));
        let list = (0..endpoints).map(|index| Endpoint { index, called: Rc::clone(&called) });
        let peers = PeakEwmaDiscover::new::<()>(
            ServiceList::new::<()>(list.collect::<Vec<_>>()),
            // Both are Finagle's and Linkerd's defaults.
            Duration::from_millis(30),
            Duration::from_secs(10),
            CompleteOnResponse::default(),
        );
        let balance = Balance::from_rng(peers, Dice(fastrand::Rng::with_seed(seed)));
        Self { runtime, now: Time::ZERO, balance, called, running: HashMap::new() }
    }
}

impl Balancer for Tower {
    fn advance(&mut self, now: Time) {
        let step = now - self.now;
        self.now = now;
        self.runtime.block_on(tokio::time::advance(step));
    }

    fn pick(&mut self, id: u64, _avoid: &[usize], _now: Time) -> usize {
        let _clock = self.runtime.enter();
        let mut context = Context::from_waker(Waker::noop());
        // Seen ready at once, since the endpoints always are. The clock's own runtime must be
        // entered, or tower reads the real time.
        self.runtime.block_on(async {
            assert!(self.balance.poll_ready(&mut context).is_ready(), "endpoints are always ready");
            let answer = self.balance.call(());
            let (index, sender) = self.called.borrow_mut().take().expect("one was called");
            let mut answer: Pin<Box<dyn Future<Output = ()>>> =
                Box::pin(async move { drop(answer.await) });
            assert!(pin!(&mut answer).as_mut().poll(&mut context).is_pending(), "not answered yet");
            self.running.insert(id, (sender, answer));
            index
        })
    }

    fn done(&mut self, id: u64, _endpoint: usize, _ok: bool, _now: Time) {
        let (sender, answer) = self.running.remove(&id).expect("picked before");
        let _ = sender.send(());
        self.runtime.block_on(answer);
    }
}
