//! A circuit breaker over failsafe's state machine: sliding windows, permits, generations, bounded probes.
