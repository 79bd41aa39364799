//! The log of a process, on standard error.

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// Sets up the log of this process, once. `level` is a level, or levels by module.
///
/// # Errors
/// When there is one already.
pub fn start_logging(format: LogFormat, level: &str) -> Result<(), String> {
    let filter = EnvFilter::new(level);
    // Where standard error cannot be written to, a full disk or a pipe that was closed, there is nowhere to say so: by default
    // that would be a panic.
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false);
    let started = match format {
        LogFormat::Console => log.with_target(false).try_init(),
        LogFormat::Json => log.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init(),
    };
    started.map_err(|error| error.to_string())
}
