//! The outrigger command: the demo, the development agent, and looking at a fleet.
