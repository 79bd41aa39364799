//! Who asks, and what they may do with the database itself: the system store, kept and judged by the same engine as all
//! others.
//!
//! Everything here is relationships in the store [`StoreId::SYSTEM`], under the schema in `system.zed`. What an object of that
//! store is beside its relationships is a *document*: JSON in the caveat context of a relationship of its own, so that it has
//! versions, a history and provenance, and is written in one transaction with the relationships that it explains.
//!
//! Reading order: `system.zed`, [`system`].
//!
//! [`StoreId::SYSTEM`]: stonetown_tuple::StoreId::SYSTEM

pub mod system;

pub use system::{Change, Kind, System};
