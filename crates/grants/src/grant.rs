//! One request for access, and what became of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use stonetown_tuple::{Source, Timestamp};

/// A moment as it is kept: RFC 3339, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub Timestamp);

/// Where a request stands. What has ended stays so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Votes are awaited.
    Pending,
    /// It was approved: its relationships are written, and hold between its start and its end.
    Approved,
    /// An approver, a rule or a timeout said no.
    Denied,
    /// The requester took it back.
    Cancelled,
    /// It ended by itself.
    Expired,
    /// Somebody ended it early.
    Revoked,
    /// It was approved and could not be given: the reason is told.
    Failed,
}

/// One approver's word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// Which principal.
    pub by: String,
    /// In which stage.
    pub stage: String,
    /// For or against.
    pub approve: bool,
    /// Why.
    pub comment: String,
    /// When.
    pub at: Moment,
}

/// One request for access, and what became of it. Times are in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Its id.
    pub id: String,
    /// The store that the access is in, by number.
    pub store: u32,
    /// The template's name.
    pub template: String,
    /// The version of the template that was asked for. Under another it is never given.
    pub template_version: u64,
    /// Which principal asked.
    pub requester: String,
    /// Which principal gets the access.
    pub beneficiary: String,
    /// The subject in the store that stands for it.
    pub subject: String,
    /// The values of the template's parameters.
    pub parameters: BTreeMap<String, String>,
    /// For how long, at most.
    pub ttl: u64,
    /// When it is to begin; when it is approved where `None`.
    pub starts_at: Option<Moment>,
    /// Why.
    pub reason: String,
    /// The ticket it belongs to.
    pub ticket: String,
    /// The task it belongs to: completing the task ends it.
    pub task: String,
    /// Whether access came before approval.
    pub emergency: bool,
    /// The grant that this one prolongs.
    pub renews: Option<String>,
    /// When the first of a line of renewals began.
    pub first_began: Option<Moment>,
    /// When it was asked for.
    pub asked_at: Moment,
    /// Counted up with each change.
    pub version: u64,
    /// Where it stands, as last written. See [`Grant::state_at`].
    pub state: State,
    /// Why it stands there.
    pub because: String,
    /// The stage that votes are awaited in.
    pub stage: String,
    /// When that stage ends in a denial.
    pub stage_ends: Option<Moment>,
    /// The votes, in order.
    pub votes: Vec<Vote>,
    /// From when the access holds.
    pub begins: Option<Moment>,
    /// Whether it was written down that a start which lay ahead has come. Access does not wait for that.
    #[serde(default)]
    pub activated: bool,
    /// Until when.
    pub ends: Option<Moment>,
    /// The source of its relationships.
    pub source: u64,
    /// The relationships, without their times.
    pub edges: Vec<String>,
    /// Who looked at an emergency afterwards, and what was found.
    pub review: Option<Vote>,
}

impl State {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Approved => "approved",
            State::Denied => "denied",
            State::Cancelled => "cancelled",
            State::Expired => "expired",
            State::Revoked => "revoked",
            State::Failed => "failed",
        }
    }

    /// Whether nothing can come of it any more.
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, State::Pending | State::Approved)
    }
}

impl Grant {
    /// Where it stands at `now`, whether or not anybody has written it down: a request whose stage is over is denied, access
    /// whose time is over has expired.
    #[must_use]
    pub fn state_at(&self, now: Timestamp) -> State {
        let is_over = |moment: Option<Moment>| moment.is_some_and(|moment| moment.0 <= now);
        match self.state {
            State::Pending if is_over(self.stage_ends) => State::Denied,
            State::Approved if is_over(self.ends) => State::Expired,
            state => state,
        }
    }

    /// Whether it gives access at `now`.
    #[must_use]
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.state_at(now) == State::Approved && self.begins.is_some_and(|begins| begins.0 <= now)
    }

    /// Whether its start, which lay ahead when it was approved, has come by `now` and nobody has written that down.
    #[must_use]
    pub fn is_to_activate(&self, now: Timestamp) -> bool {
        let lay_ahead = self.starts_at.is_some() && self.starts_at == self.begins;
        lay_ahead && !self.activated && self.is_active(now)
    }

    /// Whether a principal has voted in the stage that votes are awaited in.
    #[must_use]
    pub fn has_voted(&self, who: &str) -> bool {
        self.votes.iter().any(|vote| vote.stage == self.stage && vote.by == who)
    }

    /// Whether somebody has yet to look at what was done with it.
    #[must_use]
    pub fn needs_review(&self) -> bool {
        self.emergency && self.begins.is_some() && self.review.is_none()
    }

    /// What its last change was, in a word: `requested`, `voted` where more votes are awaited, `activated` where a start that lay
    /// ahead has come, `reviewed`, or the name of the state that it came to.
    #[must_use]
    pub fn last_change(&self) -> &'static str {
        // What has ended and is reviewed was reviewed after its end.
        let is_last = |review: &Vote| !self.state.is_final() || self.ends.is_some_and(|ends| ends <= review.at);
        match self.state {
            State::Pending if self.version == 1 => "requested",
            State::Pending => "voted",
            _ if self.review.as_ref().is_some_and(is_last) => "reviewed",
            State::Approved if self.activated => "activated",
            state => state.name(),
        }
    }

    /// The source of its relationships.
    #[must_use]
    pub fn source(&self) -> Source {
        Source(self.source)
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Moment, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Moment).map_err(serde::de::Error::custom)
    }
}

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
