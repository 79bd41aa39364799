//! Which headers of HTTP are metadata of a call, and which of its metadata are headers of the answer.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use tonic::metadata::MetadataMap;

use crate::trailers::REQUEST_ID;

const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
/// What other metadata is sent as; the rest of the name is its own.
const PREFIX: &str = "grpc-metadata-";
/// Names, and beginnings of names (those that end in `-` or `.`), that mean the same as headers and as metadata.
const SHARED: [&str; 8] =
    ["stonetown-", "io.spicedb.", "traceparent", "tracestate", "baggage", "b3", "x-b3-", "ot-tracer-"];
/// Names, and beginnings of names, that belong to a connection or to gRPC itself: never taken from a prefixed header.
const RESERVED: [&str; 10] = [
    "grpc-",
    "content-",
    "te",
    "host",
    "connection",
    "transfer-encoding",
    "upgrade",
    "keep-alive",
    "proxy-",
    "user-agent",
];
/// What an answer tells in headers.
const TOLD: [&str; 2] = ["stonetown-", "io.spicedb."];

/// Whether one of `names` is the name, or its beginning.
fn is_one_of(name: &str, names: &[&str]) -> bool {
    let begins = |other: &str| if other.ends_with(['-', '.']) { name.starts_with(other) } else { name == other };
    names.iter().any(|other| begins(other))
}

/// The metadata of a call, from the headers of its request.
pub(super) fn of_request(headers: &HeaderMap, request_id: &HeaderValue) -> MetadataMap {
    let mut metadata = HeaderMap::new();
    metadata.insert(REQUEST_ID, request_id.clone());
    for name in [AUTHORIZATION, TIMEOUT] {
        if let Some(value) = headers.get(&name) {
            metadata.insert(name, value.clone());
        }
    }
    for (name, value) in headers {
        let text = name.as_str();
        if is_one_of(text, &SHARED) {
            metadata.append(name.clone(), value.clone());
        } else if let Some(own) = text.strip_prefix(PREFIX)
            && !is_one_of(own, &RESERVED)
            && let Ok(own) = HeaderName::try_from(own)
        {
            // A caller is who the request itself says, and a request has one id.
            if !(metadata.contains_key(&own) && [AUTHORIZATION, REQUEST_ID].contains(&own)) {
                metadata.append(own, value.clone());
            }
        }
    }
    MetadataMap::from_headers(metadata)
}

/// The headers, or trailers, of an answer, from what the call tells beside its messages.
pub(super) fn of_answer(metadata: MetadataMap) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in &metadata.into_headers() {
        if is_one_of(name.as_str(), &TOLD) {
            headers.append(name.clone(), value.clone());
        }
    }
    headers
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_what_is_meant_for_a_call() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer key"),
            ("grpc-timeout", "5S"),
            ("accept", "*/*"),
            ("cookie", "c"),
            ("content-type", "application/json"),
            ("stonetown-with", "a:1#b@c:2"),
            ("stonetown-with", "a:1#b@c:3"),
            ("io.spicedb.requestversion", "1"),
            ("traceparent", "00-ab-cd-01"),
            ("grpc-metadata-authorization", "Bearer other"),
            ("grpc-metadata-x-request-id", "other"),
            ("grpc-metadata-content-type", "text/plain"),
            ("grpc-metadata-grpc-timeout", "1n"),
            ("grpc-metadata-te", "x"),
            ("grpc-metadata-io.spicedb.requestdebuginfo", "1"),
            ("grpc-metadata-tenant", "blue"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let metadata = of_request(&headers, &HeaderValue::from_static("mine")).into_headers();
        let mut found: Vec<_> =
            metadata.iter().map(|(name, value)| format!("{name}={}", value.to_str().unwrap())).collect();
        found.sort();
        assert_eq!(
            found,
            [
                "authorization=Bearer key",
                "grpc-timeout=5S",
                "io.spicedb.requestdebuginfo=1",
                "io.spicedb.requestversion=1",
                "stonetown-with=a:1#b@c:2",
                "stonetown-with=a:1#b@c:3",
                "tenant=blue",
                "traceparent=00-ab-cd-01",
                "x-request-id=mine",
            ]
        );
    }

    #[test]
    fn a_key_may_come_with_the_prefix_where_it_does_not_come_without() {
        let headers = HeaderMap::from_iter([(
            HeaderName::from_static("grpc-metadata-authorization"),
            HeaderValue::from_static("Bearer key"),
        )]);
        let metadata = of_request(&headers, &HeaderValue::from_static("mine"));
        assert_eq!(metadata.get("authorization").unwrap(), "Bearer key");
    }
}
