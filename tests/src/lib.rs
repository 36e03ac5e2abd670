//! Black-box tests of `poolctl`; the tests themselves are under `suite/`.
#![forbid(unsafe_code)]
