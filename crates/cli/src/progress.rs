//! Progress on standard error: a bar where the end is known, a spinner where not, nothing where nobody looks.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::Output;

/// How often the picture changes, per second.
const FRAMES: u8 = 5;

/// Progress in bytes of a known total.
pub(crate) fn bytes(output: Output, total: u64, what: &'static str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), target(output)).with_message(what);
    bar.with_style(style("{msg} {bar:30} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}"))
}

/// A number of things, whose total is not known.
pub(crate) fn count(output: Output, what: &'static str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, target(output)).with_message(what);
    bar.with_style(style("{spinner} {human_pos} {msg} {per_sec} {elapsed}"))
}

fn target(output: Output) -> ProgressDrawTarget {
    // Hides itself where standard error is not a terminal.
    if output.json { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr_with_hz(FRAMES) }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
