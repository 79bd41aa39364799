//! The schema as data, whole or by name.

use stonetown_schema::{CaveatDefinition, Definition};
use stonetown_tuple::{Consistency, ZedToken};

use crate::admission::Weight;
use crate::gate::Act;
use crate::recording::Asked;
use crate::{Authorizer, Call, Error};

/// Which parts of a schema are wanted. Names match by their beginning; several filters widen the answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReflectFilter {
    /// Definitions whose name begins so.
    pub definition: Option<String>,
    /// Caveats whose name begins so; alone.
    pub caveat: Option<String>,
    /// Relations whose name begins so, of the definitions above.
    pub relation: Option<String>,
    /// Permissions whose name begins so, of the definitions above.
    pub permission: Option<String>,
}

/// Parts of a schema.
#[derive(Debug)]
pub struct ReflectAnswer {
    /// The revision it was read at.
    pub at: ZedToken,
    /// Definitions, sorted by name, with the members that were asked for.
    pub definitions: Vec<Definition>,
    /// Caveats, sorted by name.
    pub caveats: Vec<CaveatDefinition>,
}

impl Authorizer {
    /// Describes the schema; all of it where there are no filters.
    ///
    /// # Errors
    /// [`Error::InvalidFilter`] for a combination that cannot match, and see [`Error`].
    pub fn reflect_schema(
        &self,
        call: &Call,
        consistency: Consistency,
        filters: &[ReflectFilter],
    ) -> Result<ReflectAnswer, Error> {
        self.recorded(call, Asked::of("reflect_schema"), |recording| {
            let _permit = self.admit(call, Weight::Light, &[Act::ReadSchema])?;
            filters.iter().try_for_each(ReflectFilter::check)?;
            let world = self.world(call, consistency)?;
            recording.see(&world);
            if world.snapshot.schema()?.is_none() {
                return Err(Error::NoSchema);
            }
            let schema = world.schema();
            let all = [ReflectFilter::default()];
            let filters = if filters.is_empty() { &all } else { filters };
            let whole = filters.iter().any(|filter| *filter == ReflectFilter::default());
            let definitions =
                schema.definitions().iter().filter_map(|definition| select(definition, filters)).collect();
            let wanted = |caveat: &&CaveatDefinition| {
                whole
                    || filters
                        .iter()
                        .any(|f| f.caveat.as_ref().is_some_and(|name| caveat.name.as_str().starts_with(name)))
            };
            let caveats = schema.caveats().iter().filter(wanted).cloned().collect();
            Ok(ReflectAnswer { at: world.token, definitions, caveats })
        })
    }
}

impl ReflectFilter {
    fn check(&self) -> Result<(), Error> {
        let parts = [&self.definition, &self.caveat, &self.relation, &self.permission];
        let filter = || parts.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(", ");
        let wrong = |message: &str| Err(Error::InvalidFilter { message: message.to_owned(), filter: filter() });
        let of_definition = self.relation.is_some() || self.permission.is_some();
        match (&self.definition, &self.caveat) {
            (Some(_), Some(_)) => wrong("a filter is about definitions or about caveats, not both"),
            (None, _) if of_definition => wrong("a relation or permission filter needs a definition filter beside it"),
            _ if self.relation.is_some() && self.permission.is_some() => {
                wrong("a filter is about relations or about permissions, not both")
            }
            _ => Ok(()),
        }
    }
}

/// The part of a definition that some filter wants, `None` when none wants any.
fn select(definition: &Definition, filters: &[ReflectFilter]) -> Option<Definition> {
    let mine: Vec<_> = filters
        .iter()
        .filter(|f| f.caveat.is_none())
        .filter(|f| f.definition.as_ref().is_none_or(|name| definition.name.as_str().starts_with(name)))
        .collect();
    if mine.is_empty() {
        return None;
    }
    let begins = |wanted: &Option<String>, name: &str| wanted.as_ref().is_some_and(|w| name.starts_with(w));
    let whole = mine.iter().any(|f| f.relation.is_none() && f.permission.is_none());
    let mut selected = definition.clone();
    selected.relations.retain(|r| whole || mine.iter().any(|f| begins(&f.relation, r.name.as_str())));
    selected.permissions.retain(|p| whole || mine.iter().any(|f| begins(&f.permission, p.name.as_str())));
    Some(selected)
}
