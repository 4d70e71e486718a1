//! REST request and response types.
