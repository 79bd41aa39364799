//! The longest that calls may take, for callers that set no deadline of their own.

use std::time::Duration;

use http::Request;
use stonetown_api::{DurationMax, Method};

/// Streams that end by themselves after some work. Others last as long as their caller wants.
const LOOKUPS: [&str; 2] = ["LookupResources", "LookupSubjects"];

/// Puts a bound on the duration of each call that is answered at once, and on lookups; 0 for none.
pub(crate) struct Bound(pub(crate) Duration);

impl Bound {
    pub(crate) fn put<B>(&self, request: &mut Request<B>, method: &Method) {
        let is_bounded = !method.lasts() || LOOKUPS.contains(&method.name.as_str());
        if is_bounded && !self.0.is_zero() {
            request.extensions_mut().insert(DurationMax(self.0));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn bound_of(max: u64, method: &str) -> Option<u64> {
        let path = format!("/authzed.api.v1.{method}");
        let method = stonetown_api::methods().into_iter().find(|method| method.path() == path).unwrap();
        let mut request = Request::new(());
        Bound(Duration::from_secs(max)).put(&mut request, &method);
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
