//! What is kept about commits beside the log: provenance, counts, times, schemas, answers, and bulks that are not done with.

use stonetown_storage::{DifferenceKind, StorageError};
use stonetown_tuple::Revision;

use super::Scrub;
use super::sums::weight;
use super::versions::read_count;
use crate::keys::{self, Kind};
use crate::values::{Answered, LogHeader, Progress, StateReader, StoredProvenance, decode};

impl Scrub<'_, '_> {
    /// All records of commits.
    pub(super) fn commits(&mut self) -> Result<(), StorageError> {
        self.provenance()?;
        self.counts()?;
        self.times()?;
        self.schemas()?;
        self.requests()?;
        self.moments()?;
        self.staged()
    }

    /// Notes of moments are of commits; what they lead to is found out when they have passed.
    fn moments(&mut self) -> Result<(), StorageError> {
        for kind in [Kind::Ahead, Kind::Expired] {
            self.each(kind, |scrub, key, _| {
                let Some(moment) = keys::read_moment(key) else {
                    scrub.unreadable_key("a moment", key);
                    return Ok(());
                };
                if !scrub.is_committed(moment.written) {
                    let what = format!(
                        "{} has a moment noted, but is of no commit",
                        scrub.describe(&moment.edge, moment.written)
                    );
                    scrub.differ(DifferenceKind::Version, what);
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    fn provenance(&mut self) -> Result<(), StorageError> {
        self.each(Kind::Transaction, |scrub, key, value| {
            let Some(revision) = keys::read_revision(key) else {
                scrub.unreadable_key("a provenance", key);
                return Ok(());
            };
            let read = decode::<StoredProvenance>("provenance", value).and_then(StoredProvenance::read);
            if let Err(error) = read {
                scrub.differ(DifferenceKind::Unreadable, format!("commit {revision}: {error}"));
            }
            if revision.0 > scrub.meta.head {
                scrub.differ(
                    DifferenceKind::Commits,
                    format!("commit {revision} has a provenance, but is not committed"),
                );
            }
            if scrub.frozen.get(&keys::versions(revision))?.is_none() {
                scrub.differ(DifferenceKind::Commits, format!("commit {revision} has a provenance, but no count"));
            }
            Ok(())
        })
    }

    fn counts(&mut self) -> Result<(), StorageError> {
        self.each(Kind::Versions, |scrub, key, value| {
            let (Some(revision), Some(count)) = (keys::read_revision(key), read_count(value)) else {
                scrub.unreadable_key("a count", key);
                return Ok(());
            };
            let counted = &mut scrub.sums.counted.of(revision).1;
            *counted = counted.wrapping_add(weight(revision).wrapping_mul(count));
            if scrub.frozen.get(&keys::transaction(revision))?.is_none() {
                scrub.differ(DifferenceKind::Commits, format!("commit {revision} has a count, but no provenance"));
            }
            Ok(())
        })
    }

    /// Times rise with the revisions, and have no gap from the oldest readable revision to the head.
    fn times(&mut self) -> Result<(), StorageError> {
        let mut before: Option<Revision> = None;
        self.each(Kind::Time, |scrub, key, _| {
            let Some((_, revision)) = keys::read_time(key) else {
                scrub.unreadable_key("a time", key);
                return Ok(());
            };
            let expected = match before {
                None => revision.0 <= scrub.meta.floor.max(1),
                Some(before) => revision == before.next(),
            };
            if !expected {
                let after = before.map_or("at the beginning".to_owned(), |before| format!("after {before}"));
                scrub.differ(DifferenceKind::Commits, format!("the times of commits have {revision} {after}"));
            }
            before = Some(revision);
            Ok(())
        })?;
        let last = before.unwrap_or_default();
        if last.0 != self.meta.head {
            let what = format!("the times of commits end at {last}, the head is {}", self.meta.head);
            self.differ(DifferenceKind::Commits, what);
        }
        Ok(())
    }

    fn schemas(&mut self) -> Result<(), StorageError> {
        self.each(Kind::Schema, |scrub, key, _| {
            let Some((store, revision)) = keys::read_schema(key) else {
                scrub.unreadable_key("a schema", key);
                return Ok(());
            };
            if !scrub.is_committed(revision) {
                scrub.differ(
                    DifferenceKind::Schemas,
                    format!("a schema of revision {revision}, which is not committed"),
                );
            } else if revision >= scrub.first_logged
                && revision.0 <= scrub.meta.head
                && let Some(bytes) = scrub.frozen.get_log(&keys::log(revision, 0))?
                && let Ok(header) = LogHeader::decode(&bytes)
                && (!header.schema_changed || header.store != store.0)
            {
                scrub.differ(
                    DifferenceKind::Schemas,
                    format!("a schema of revision {revision}, which wrote none by the log"),
                );
            }
            Ok(())
        })
    }

    fn requests(&mut self) -> Result<(), StorageError> {
        self.each(Kind::Request, |scrub, key, value| {
            let Some((store, id)) = keys::read_request(key) else {
                scrub.unreadable_key("a request", key);
                return Ok(());
            };
            let answered = decode::<Answered>("answered request", value).and_then(|answered| {
                let time = answered.time()?;
                Ok((answered.replay().revision, time))
            });
            match answered {
                Ok((revision, _)) if revision > scrub.limit => {
                    let what = format!("request `{id}` was answered with revision {revision}, which is not committed");
                    scrub.differ(DifferenceKind::Requests, what);
                }
                Ok((_, time)) if scrub.frozen.get(&keys::request_time(time, store, id))?.is_none() => {
                    scrub.differ(DifferenceKind::Requests, format!("request `{id}` would never be forgotten"));
                }
                Ok(_) => {}
                Err(error) => scrub.differ(DifferenceKind::Unreadable, format!("request `{id}`: {error}")),
            }
            Ok(())
        })?;
        self.each(Kind::RequestTime, |scrub, key, _| {
            let Some((_, store, id)) = keys::read_request_time(key) else {
                scrub.unreadable_key("a request's time", key);
                return Ok(());
            };
            if scrub.frozen.get(&keys::request(store, id))?.is_none() {
                scrub.differ(DifferenceKind::Requests, format!("request `{id}` has a time, but no answer"));
            }
            Ok(())
        })
    }

    /// What belongs to bulks belongs to one that is there.
    fn staged(&mut self) -> Result<(), StorageError> {
        for kind in [Kind::Staged, Kind::StagedName, Kind::Progress] {
            let mut states = StateReader::default();
            self.each(kind, |scrub, key, value| {
                let Some(bulk) = keys::read_bulk_of(key) else {
                    scrub.unreadable_key("a part of a bulk", key);
                    return Ok(());
                };
                if !scrub.bulks.contains(&bulk) {
                    scrub.differ(DifferenceKind::Bulks, format!("a part of bulk {bulk}, which is not there"));
                }
                let read = match kind {
                    Kind::Staged => states.read(value).map(|_| ()),
                    Kind::Progress => decode::<Progress>("progress of a bulk", value).map(|_| ()),
                    _ => Ok(()),
                };
                if let Err(error) = read {
                    scrub.differ(DifferenceKind::Unreadable, format!("bulk {bulk}: {error}"));
                }
                Ok(())
            })?;
        }
        Ok(())
    }
}
