//! Times left as header values.

use std::cell::RefCell;
use std::time::Duration;

use http::HeaderValue;
use outrigger_retry::deadline::{self, GrpcTimeout};

thread_local! {
    /// The last value of `x-outrigger-deadline-ms`. A first try under the policy's timeout has
    /// exactly that left, so that one value serves nearly all requests and none is allocated.
    static LAST: RefCell<Option<(u64, HeaderValue)>> = const { RefCell::new(None) };
}

pub(super) fn ms(left: Duration) -> HeaderValue {
    let ms = deadline::to_ms(left);
    LAST.try_with(|last| {
        let mut last = last.borrow_mut();
        match &*last {
            Some((known, value)) if *known == ms => value.clone(),
            _ => {
                let value = HeaderValue::from(ms);
                *last = Some((ms, value.clone()));
                value
            }
        }
    })
    // The thread is ending.
    .unwrap_or_else(|_| HeaderValue::from(ms))
}

pub(super) fn grpc(left: Duration) -> HeaderValue {
    let text = GrpcTimeout::new(left).to_string();
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("0m"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_is_that_of_now_and_not_of_the_last_request() {
        for left in [15_000, 15_000, 7, 15_000, 0] {
            assert_eq!(ms(Duration::from_millis(left)), left.to_string());
        }
        assert_eq!(grpc(Duration::from_millis(300)), "300m");
    }
}
