//! Retry rules: classification, backoff, budgets, deadlines, hedging and the chain-wide guard.
