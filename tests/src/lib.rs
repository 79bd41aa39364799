//! The whole server over the wire: what tests and the `crash` command share. Nothing here is used by the product.
//!
//! Reading order: [`server`] (a real `stonetown serve` process), [`client`] (calls in the text form of relationships),
//! [`http`] (the same over HTTP/1.1), [`home`] (the command line as a user has it), [`scenario`] (one scenario file through every
//! call), [`crash`] (kill -9, and the loss of what was not synced), [`followed`] (those who follow the log, compared with scans),
//! [`operated`] (a process as its operator sees it), [`certificates`] (for TLS), [`answering`] (a server that it asks),
//! [`until`] (waiting for what comes of itself), [`pages`] (what a page of the documentation shows, run), [`attack`] (attacks at
//! full size).

pub mod answering;
pub mod attack;
pub mod certificates;
pub mod client;
pub mod crash;
pub mod followed;
pub mod home;
pub mod http;
pub mod operated;
pub mod pages;
pub mod scenario;
pub mod server;
pub mod until;
