//! Pages of other origins: which may call, and what they may see of an answer.

use std::time::Duration;

use http::Method;
use tower_http::cors::{AllowHeaders, Any, CorsLayer};

use crate::config::HttpConfig;

/// How long a browser remembers what it was allowed.
const REMEMBERED: Duration = Duration::from_secs(2 * 3600);

/// Answers browsers that ask before they call, where that is turned on. Cookies are never accepted, so a page can act only
/// with a key that it has itself.
pub(crate) fn layer(config: &HttpConfig) -> Option<CorsLayer> {
    let layer = CorsLayer::new()
        .allow_methods([Method::GET, Method::POST])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(Any)
        .max_age(REMEMBERED);
    let origins = &config.http_cors_allowed_origins;
    config.http_cors_enabled.then(|| {
        if origins.iter().any(|origin| origin == "*") {
            layer.allow_origin(Any)
        } else {
            layer.allow_origin(origins.clone())
        }
    })
}
