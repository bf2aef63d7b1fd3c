//! One tower layer for each rule of Outrigger.
