//! Ends a call that lasts when its caller is no longer let in.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body::{Frame, SizeHint};
use stonetown_authorizer::Caller;
use stonetown_identity::Identity;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tonic::Status;
use tonic::body::Body;

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(400);

/// Looks now and then whether a caller is still let in.
pub(crate) struct Guard {
    identity: Arc<Identity>,
    caller: Caller,
    /// Made only for a call that has to wait.
    looks: Option<Interval>,
}

impl Guard {
    pub(super) fn new(identity: Arc<Identity>, caller: Caller) -> Guard {
        Guard { identity, caller, looks: None }
    }

    /// Ready with the refusal once there is one.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        let looks = self.looks.get_or_insert_with(|| {
            let mut looks = interval(LOOK_EVERY);
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            looks
        });
        while looks.poll_tick(cx).is_ready() {
            if let Err(refusal) = self.identity.still(&self.caller) {
                return Poll::Ready(super::refused(&refusal));
            }
        }
        Poll::Pending
    }

    /// Guards the rest of an answer.
    pub(super) fn over(self, inner: Body) -> Body {
        Body::new(Guarded { inner: Some(inner), guard: self })
    }
}

struct Guarded {
    /// `None` once it was ended.
    inner: Option<Body>,
    guard: Guard,
}

impl http_body::Body for Guarded {
    type Data = <Body as http_body::Body>::Data;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = &mut *self;
        let Some(inner) = &mut this.inner else { return Poll::Ready(None) };
        // First, so that one who is sent something all the time is looked at as well.
        if let Poll::Ready(status) = this.guard.poll(cx) {
            this.inner = None;
            let mut trailers: HeaderMap = status.into_http::<Body>().into_parts().0.headers;
            trailers.remove(CONTENT_TYPE);
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        Pin::new(inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(SizeHint::default, http_body::Body::size_hint)
    }
}
