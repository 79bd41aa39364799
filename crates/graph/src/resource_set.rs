//! Sets of resources of one type, as far as walking from the subject can tell: the sets that LookupResources computes with.
//!
//! Reachability alone proves some resources and leaves others open: those behind a condition, or behind an operator of
//! which only one side is known. These are kept apart, to be decided one by one.

use roaring::RoaringBitmap;

#[cfg(test)]
mod tests;

/// Resources by ordinal. Whatever is in neither part is certainly not a member.
///
/// Invariant: the parts are disjoint.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ResourceSet {
    /// Certainly members.
    pub(crate) certain: RoaringBitmap,
    /// Perhaps members.
    pub(crate) doubtful: RoaringBitmap,
}

impl ResourceSet {
    /// Certainly these and no others.
    pub(crate) fn of(certain: RoaringBitmap) -> ResourceSet {
        ResourceSet { certain, doubtful: RoaringBitmap::new() }
    }

    /// Whether no resource can be a member.
    pub(crate) fn is_empty(&self) -> bool {
        self.certain.is_empty() && self.doubtful.is_empty()
    }

    /// How many resources can be members.
    pub(crate) fn len(&self) -> u64 {
        self.certain.len() + self.doubtful.len()
    }

    /// Bytes held, roughly.
    pub(crate) fn bytes(&self) -> u64 {
        (self.certain.serialized_size() + self.doubtful.serialized_size()) as u64
    }

    /// All that can be members.
    fn possible(&self) -> RoaringBitmap {
        &self.certain | &self.doubtful
    }

    /// The same resources, none of them certain.
    pub(crate) fn doubted(self) -> ResourceSet {
        ResourceSet { certain: RoaringBitmap::new(), doubtful: self.certain | self.doubtful }
    }

    /// In both sets.
    pub(crate) fn and(&self, other: &ResourceSet) -> ResourceSet {
        let certain = &self.certain & &other.certain;
        if self.doubtful.is_empty() && other.doubtful.is_empty() {
            return ResourceSet::of(certain);
        }
        let doubtful = (self.possible() & other.possible()) - &certain;
        ResourceSet { certain, doubtful }
    }

    /// In this set and not in the other.
    pub(crate) fn minus(&self, other: &ResourceSet) -> ResourceSet {
        let certain = &self.certain - &other.certain - &other.doubtful;
        if self.doubtful.is_empty() && other.doubtful.is_empty() {
            return ResourceSet::of(certain);
        }
        let doubtful = self.possible() - &other.certain - &certain;
        ResourceSet { certain, doubtful }
    }

    /// Takes in another set, and returns what is new: resources that were not there, or are certain only now.
    pub(crate) fn absorb(&mut self, mut other: ResourceSet) -> ResourceSet {
        other.certain -= &self.certain;
        other.doubtful -= &self.certain;
        other.doubtful -= &self.doubtful;
        other.doubtful -= &other.certain;
        self.doubtful -= &other.certain;
        self.certain |= &other.certain;
        self.doubtful |= &other.doubtful;
        other
    }
}
