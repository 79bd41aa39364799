//! Faults that can be planted, to prove that the comparison with the reference evaluator finds them.
//!
//! Only a build with feature `planted-faults` has any; in others [`planted`] is a constant `false`, and the places that
//! ask it compile to nothing.

macro_rules! faults {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// A mistake that somebody could make.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[cfg_attr(not(feature = "planted-faults"), allow(dead_code, unreachable_pub))]
        pub enum PlantedFault {
            $($(#[doc = $doc])+ $name,)+
        }

        #[cfg(feature = "planted-faults")]
        impl PlantedFault {
            /// All of them.
            pub const ALL: &[PlantedFault] = &[$(PlantedFault::$name,)+];
        }
    };
}

faults! {
    /// `a - b` is `a`, in checks.
    ExclusionDropped,
    /// `a - b` is `a`, in sets of subjects.
    SubjectExclusionDropped,
    /// The values of a request win over those stored with the relationship.
    ContextPrecedenceSwapped,
    /// Relationships do not expire.
    ExpiryIgnored,
    /// Relationships hold before their start.
    StartIgnored,
    /// `user:*` covers usersets of `user`, too.
    WildcardCoversUsersets,
    /// `.all` over no objects is everybody.
    AllOfNoneIsEverybody,
    /// `.all` passes over objects whose type lacks the target.
    AllPassesOverOtherTypes,
    /// A union ends at the first operand that may hold, though a later one may hold for sure.
    UnionEndsAtMaybe,
    /// Of two conditions, only the parameters of one are named.
    MissingNamesDropped,
    /// A value that rests on one still being computed is kept as final.
    UnfinishedValueKept,
    /// Names that only an unfinished round needed stay in the answer.
    UnfinishedNamesKept,
    /// A cycle through the right side of an exclusion counts as a no.
    ExclusionCycleIsNo,
    /// A userset is no member of itself.
    IdentityIgnored,
    /// What one source says of a relationship replaces what the others say.
    SourcesOverwriteEachOther,
    /// The resident index answers older revisions from its newest.
    OldRevisionAnsweredAtHead,
    /// The resident index does not take in what is deleted.
    IndexKeepsDeleted,
    /// A rebuild of a table in the resident index loses what was written since.
    RebuildLosesWrites,
    /// A page of a lookup begins one too late.
    PageSkipsOne,
    /// A page of a lookup begins with the last item of the page before.
    PageRepeatsOne,
    /// A lookup asks for the permission alone, and not for what lists it.
    ListerIgnored,
    /// Those whom a wildcard does not cover are not listed.
    WildcardExclusionsLost,
    /// What a lookup of resources has not decided is taken for certain.
    DoubtTakenForCertainty,
    /// A request-scoped relationship does not replace the stored one, but joins it.
    OverlayJoinsStored,
    /// A table without stored relationships is passed over, whatever is laid over it.
    OverlayOfEmptyTableIgnored,
    /// Caveats of one name share their result, whatever their stored values.
    CaveatResultShared,
    /// What is seen from the subject stops at groups within groups.
    ClosureStopsEarly,
    /// A jump within a long row passes the edge it was looking for.
    JumpPassesEdge,
    /// Caveats share their result, whatever object's attributes they depend on.
    ResourceAttributeShared,
    /// An attribute that has expired still counts.
    AttributeNeverEnds,
    /// A value of the request counts for a parameter that only the server or an attribute gives.
    RequestGivesSourced,
    /// A value stored with a relationship counts for a parameter that only the server or an attribute gives.
    StoredValueForSource,
    /// A lookup of subjects decides all of them by the attributes of one.
    SubjectAttributeShared,
    /// A caveat that fails counts as false.
    FailingCaveatIsFalse,
    /// A trace does not say what became of its parts.
    TraceLosesResult,
    /// An expanded tree shows relationships that have ended.
    TreeShowsEnded,
    /// Sets that lead to a changed one through groups or arrows are not read again.
    SetsAboveNotReadAgain,
    /// Where a relationship changes that an arrow follows, the permission with the arrow is not read again.
    ArrowOfSetNotFollowed,
}

#[cfg(feature = "planted-faults")]
static CURRENT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(usize::MAX);

/// Plants a fault in the whole process, or removes the one there is.
#[cfg(feature = "planted-faults")]
pub fn plant(fault: Option<PlantedFault>) {
    CURRENT.store(fault.map_or(usize::MAX, |fault| fault as usize), std::sync::atomic::Ordering::SeqCst);
}

/// Whether this fault is planted.
#[cfg(feature = "planted-faults")]
#[inline]
pub(crate) fn planted(fault: PlantedFault) -> bool {
    CURRENT.load(std::sync::atomic::Ordering::Relaxed) == fault as usize
}

/// Whether this fault is planted: never, in this build.
#[cfg(not(feature = "planted-faults"))]
#[inline(always)]
pub(crate) const fn planted(_: PlantedFault) -> bool {
    false
}
