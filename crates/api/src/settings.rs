//! How the services are set up.

use std::sync::Arc;
use std::time::Duration;

use stonetown_grants::Desk;
use stonetown_identity::Identity;

use crate::cursor::CursorKey;
use crate::materialize::Downloads;

/// Settings of the services, with their defaults.
#[derive(Debug, Clone)]
pub struct ApiSettings {
    /// The largest request, in bytes. The default is gRPC's own, 4 MiB.
    pub request_bytes_max: usize,
    /// The largest message of a request over HTTP, as JSON text, in bytes.
    pub json_bytes_max: usize,
    /// How long a stream may stand still, on either side, before it ends with `DEADLINE_EXCEEDED`.
    pub stream_idle_max: Duration,
    /// Checks, writes and reads of the schema on the runtime's blocking threads at the same time; more wait. Together with
    /// the next no more than the runtime has such threads, which is 512 unless it is told otherwise.
    pub light_calls_max: usize,
    /// Lookups, reads, deletes, expansions, bulk checks, imports, exports and new schemas at the same time; more wait.
    pub heavy_calls_max: usize,
    /// Where DownloadPermissionSets sends clients; `None` to offer no files.
    pub downloads: Option<Downloads>,
    /// Time between two checkpoints of a watch on which nothing else happens.
    pub watch_heartbeat: Duration,
    /// How long a watch waits for a client that does not read before it ends with `RESOURCE_EXHAUSTED`.
    pub watch_reader_max: Duration,
    /// Turns true when the server stops: watches, which would never end by themselves, then end with `UNAVAILABLE`.
    pub stopping: Option<tokio::sync::watch::Receiver<bool>>,
    /// Where grants are asked for; `None` for a server without.
    pub grants: Option<Arc<Desk>>,
    /// Signs cursors. The default is a random one, with which they end with the process.
    pub cursor_key: CursorKey,
    /// Who calls and what they may do; `None` where the server keeps no principals.
    pub identity: Option<Arc<Identity>>,
    /// The version told to clients that ask; `None` to tell nobody.
    pub version: Option<String>,
}

impl Default for ApiSettings {
    fn default() -> Self {
        ApiSettings {
            request_bytes_max: 4 << 20,
            json_bytes_max: 8 << 20,
            stream_idle_max: Duration::from_secs(30),
            light_calls_max: 256,
            heavy_calls_max: 256,
            downloads: None,
            watch_heartbeat: Duration::from_secs(1),
            watch_reader_max: Duration::from_secs(30),
            stopping: None,
            grants: None,
            cursor_key: CursorKey::default(),
            identity: None,
            version: Some(concat!("v", env!("CARGO_PKG_VERSION")).to_owned()),
        }
    }
}
