//! The longest that calls may take, for callers that set no deadline of their own.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use stonetown_api::DurationMax;

/// Streams that end by themselves after some work. Others last as long as their caller wants.
const LOOKUPS: [&str; 2] = ["LookupResources", "LookupSubjects"];

/// Puts a bound on the duration of each call that is answered at once, and on lookups; 0 for none.
pub(crate) fn bound<B>(max: Duration) -> impl Fn(Request<B>) -> Request<B> + Clone {
    let bounded = stonetown_api::methods()
        .into_iter()
        .filter(|method| !method.takes_stream && (!method.streams || LOOKUPS.contains(&method.name.as_str())));
    let bounded: Arc<HashSet<String>> = Arc::new(bounded.map(|method| method.path()).collect());
    move |mut request| {
        if !max.is_zero() && bounded.contains(request.uri().path()) {
            request.extensions_mut().insert(DurationMax(max));
        }
        request
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn bound_of(max: u64, method: &str) -> Option<u64> {
        let path = format!("/authzed.api.v1.{method}");
        let request = bound(Duration::from_secs(max))(Request::builder().uri(path).body(()).unwrap());
        request.extensions().get::<DurationMax>().map(|max| max.0.as_secs())
    }

    #[test]
    fn calls_and_lookups_are_bounded_and_other_streams_are_not() {
        assert_eq!(bound_of(60, "PermissionsService/CheckPermission"), Some(60));
        assert_eq!(bound_of(60, "PermissionsService/LookupResources"), Some(60));
        for stream in
            ["WatchService/Watch", "PermissionsService/ImportBulkRelationships", "PermissionsService/ReadRelationships"]
        {
            assert_eq!(bound_of(60, stream), None, "{stream}");
        }
        assert_eq!(bound_of(0, "PermissionsService/CheckPermission"), None);
    }
}
