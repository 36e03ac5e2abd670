//! Segments of shared memory, and the rings in them.
