//! Hearing of commits, for streams that wait for them without a thread.

use std::time::Duration;

use stonetown_authorizer::Authorizer;
use stonetown_tuple::Revision;
use tokio::sync::watch;

/// Between a commit's being told of and its being visible.
const VISIBLE_SOON: Duration = Duration::from_millis(1);

/// The newest revision that was told of.
#[derive(Debug, Clone)]
pub(crate) struct Commits(watch::Receiver<Revision>);

impl Commits {
    pub(crate) fn of(authorizer: &Authorizer) -> Commits {
        let (tell, told) = watch::channel(Revision::default());
        authorizer.on_commit(move |_, revision| {
            tell.send_replace(revision);
        });
        Commits(told)
    }

    /// Whether more than that was committed, in which case it is visible when this returns, or soon.
    pub(crate) async fn are_past(&mut self, position: Revision) -> bool {
        let past = *self.0.borrow_and_update() > position;
        if past {
            tokio::time::sleep(VISIBLE_SOON).await;
        }
        past
    }

    /// The next commit, or never.
    pub(crate) async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending().await
        }
    }
}
