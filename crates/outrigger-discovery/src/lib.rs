//! Registrar and resolver traits, snapshot differences, the last-good guard and an in-memory registry.
