//! What a client sends with a call, as far as it does.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body::{Body, Frame, SizeHint};
use hyper::body::{Bytes, Incoming};
use tonic::{Code, Status};

/// The body of a request. That of a call which its client takes back never ends: the connection drops the call then. tonic would
/// take it for ended, and a part of what was to be sent for all of it.
pub(crate) struct Sent(pub(crate) Incoming);

impl Body for Sent {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match ready!(Pin::new(&mut self.0).poll_frame(cx)).map(|frame| frame.map_err(|e| Status::from_error(e.into())))
        {
            Some(Err(status)) if status.code() == Code::Cancelled => Poll::Pending,
            frame => Poll::Ready(frame),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
