//! Rate limits over governor, concurrency limits and adaptive limits, on an explicit clock.
