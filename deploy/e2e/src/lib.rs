//! End-to-end tests: namespaces, interoperability, chaos, and the demo.
