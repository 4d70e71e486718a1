//! The node daemon: enrols, reconciles the plan, drives IKE and the data plane.
