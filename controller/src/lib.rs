//! The controller: who is in the mesh, who they are to each other, and what each of them has to do.

pub mod app;
pub mod config;
pub mod fleet;
pub mod grpc;
pub mod keyring;
pub mod pki;
pub mod planner;
pub mod rest;
pub mod run;
pub mod store;
pub mod tls;
