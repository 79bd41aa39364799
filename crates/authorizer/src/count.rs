//! How many relationships match a filter.

use std::ops::ControlFlow;

use stonetown_tuple::{Consistency, RelationshipFilter, ZedToken};

use crate::read::ReadRequest;
use crate::recording::Asked;
use crate::{Authorizer, Call, Error};

impl Authorizer {
    /// Counts the relationships that match a filter at the newest revision; those that have expired or not yet begun do not
    /// count. Reads them all.
    ///
    /// # Errors
    /// As [`Authorizer::read`].
    pub fn count(&self, call: &Call, filter: &RelationshipFilter) -> Result<(u64, ZedToken), Error> {
        let consistency = Consistency::FullyConsistent;
        let request = ReadRequest { consistency, filter: filter.clone(), ..ReadRequest::default() };
        let mut count = 0;
        let at = self.recorded(call, Asked::of("count").filter(filter), |recording| {
            self.scan(call, &request, true, recording, &mut |_| {
                count += 1;
                ControlFlow::Continue(())
            })
        })?;
        Ok((count, at))
    }
}
