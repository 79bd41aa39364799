//! What can be asked for: relationships with holes, for how long at most, and who has to approve.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use stonetown_identity::manage::ID_BYTES_MAX;
use stonetown_tuple::{ObjectId, ObjectRef, ObjectType, RelationName, Relationship, SubjectRef, Timestamp};

use crate::Error;
use crate::rules;

/// The hole that is filled with the subject who gets the access.
pub const BENEFICIARY: &str = "${beneficiary}";
/// Most relationships of one template.
pub const EDGES_MAX: usize = 32;
/// Most parameters of one template.
pub const PARAMETERS_MAX: usize = 16;
/// Most stages, and most automatic rules, of one template.
pub const STAGES_MAX: usize = 8;

/// What can be asked for. Times are in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// Its name within the store: letters, digits, `_` and `-`.
    pub name: String,
    /// The relationships that a grant gives, as `cluster:${cluster}#scaler@${beneficiary}`: an id may be a hole, nothing else.
    pub edges: Vec<String>,
    /// The holes beside the beneficiary, by name.
    #[serde(default)]
    pub parameters: BTreeMap<String, Parameter>,
    /// What such a grant lets one do, as `cluster:${cluster}#scale`: a denial of it names this template.
    #[serde(default)]
    pub answers: Vec<String>,
    /// The longest that one grant lasts.
    pub ttl_max: u64,
    /// The longest with all its renewals; as long as one grant where 0.
    #[serde(default)]
    pub total_max: u64,
    /// Approvals, one after the other. A template without any needs an automatic rule to approve.
    #[serde(default)]
    pub stages: Vec<Stage>,
    /// Rules that decide a request at once; the first that matches does.
    #[serde(default)]
    pub auto: Vec<AutoRule>,
    /// Whether a request must say why.
    #[serde(default)]
    pub reason_required: bool,
    /// Whether a request must name a ticket.
    #[serde(default)]
    pub ticket_required: bool,
    /// Access before approval, for emergencies.
    #[serde(default)]
    pub emergency: Option<Emergency>,
    /// The principal who answers for it: a grant never gives what this one may not write.
    pub owner: String,
    /// Who may ask: principals and groups as `sys/principal:ada` or `sys/group:sre#member`.
    #[serde(default)]
    pub requesters: Vec<String>,
    /// Counted up with each change. A request goes by the version it was made under.
    #[serde(default)]
    pub version: u64,
}

/// A hole of a template: the id of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    /// The only ids that may be asked for; any where empty.
    #[serde(default)]
    pub one_of: Vec<String>,
    /// What an id has to begin with.
    #[serde(default)]
    pub prefix: String,
}

/// Some approvals that a request needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// Its name within the template: letters, digits, `_` and `-`.
    pub name: String,
    /// Who may vote: principals and groups.
    pub approvers: Vec<String>,
    /// How many of them must approve. One denial ends the request.
    pub need: u32,
    /// CEL over the request: the stage is left out where it is false. See the documentation for its names.
    #[serde(default)]
    pub when: Option<String>,
    /// The request is denied when the stage takes longer.
    pub timeout: u64,
}

/// A rule that decides without people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AutoRule {
    /// Its name.
    pub name: String,
    /// CEL over the request.
    pub when: String,
    /// Whether it approves or denies.
    pub approve: bool,
    /// The longest that it approves; as asked where 0.
    #[serde(default)]
    pub ttl_max: u64,
}

/// Access before approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Emergency {
    /// How long it lasts.
    pub ttl: u64,
    /// Who has to review it afterwards.
    pub reviewers: Vec<String>,
}

impl Template {
    /// Refuses a template that could not be granted, or could be read in two ways.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the field.
    pub fn check(&self) -> Result<(), Error> {
        name("name", &self.name)?;
        let owner = ObjectId::new(self.owner.as_str()).map_err(|error| Error::invalid("owner", error.to_string()))?;
        if owner.as_str().len() > ID_BYTES_MAX {
            return Err(Error::invalid("owner", format!("a principal's id has at most {ID_BYTES_MAX} bytes")));
        }
        if self.edges.is_empty() || self.edges.len() > EDGES_MAX {
            return Err(Error::invalid("edges", format!("there must be 1 to {EDGES_MAX}")));
        }
        if self.parameters.len() > PARAMETERS_MAX {
            return Err(Error::invalid("parameters", format!("there can be at most {PARAMETERS_MAX}")));
        }
        if self.ttl_max == 0 {
            return Err(Error::invalid("ttl_max", "must be above 0: access of a grant always ends"));
        }
        if self.total_max != 0 && self.total_max < self.ttl_max {
            return Err(Error::invalid("total_max", "must not be below ttl_max"));
        }
        for parameter in self.parameters.keys() {
            name("parameters", parameter)?;
            if parameter == "beneficiary" {
                return Err(Error::invalid("parameters", "`beneficiary` is filled by the request itself"));
            }
        }
        let mut used = BTreeSet::new();
        for (number, text) in self.edges.iter().enumerate() {
            let field = format!("edges[{number}]");
            if let Id::Hole(parameter) = edge(&field, text)?.id {
                if !self.parameters.contains_key(parameter) {
                    return Err(Error::invalid(&field, format!("`{}` is no parameter", parameter.escape_debug())));
                }
                used.insert(parameter);
            }
        }
        if let Some(unused) = self.parameters.keys().find(|parameter| !used.contains(parameter.as_str())) {
            return Err(Error::invalid("parameters", format!("`{unused}` is in no edge")));
        }
        for (number, text) in self.answers.iter().enumerate() {
            let field = format!("answers[{number}]");
            let named = match pattern(&field, text)?.id {
                Id::Hole(parameter) => self.parameters.contains_key(parameter) && self.parameters.len() == 1,
                Id::Fixed(_) => self.parameters.is_empty(),
            };
            if !named {
                return Err(Error::invalid(
                    &field,
                    "must name every parameter, so that a denial tells what to ask for",
                ));
            }
        }
        self.check_decisions()
    }

    fn check_decisions(&self) -> Result<(), Error> {
        if self.stages.len() > STAGES_MAX || self.auto.len() > STAGES_MAX {
            return Err(Error::invalid("stages", format!("there can be at most {STAGES_MAX}, and as many rules")));
        }
        if self.stages.is_empty() && !self.auto.iter().any(|rule| rule.approve) {
            return Err(Error::invalid("stages", "nobody and nothing could approve: add a stage or an automatic rule"));
        }
        for (number, stage) in self.stages.iter().enumerate() {
            let field = format!("stages[{number}]");
            name(&field, &stage.name)?;
            if self.stages[..number].iter().any(|earlier| earlier.name == stage.name) {
                return Err(Error::invalid(&field, "another stage has that name"));
            }
            if stage.need == 0 || stage.timeout == 0 || stage.approvers.is_empty() {
                return Err(Error::invalid(&field, "needs approvers, `need` above 0 and a timeout"));
            }
            actors(&format!("{field}.approvers"), &stage.approvers)?;
            if let Some(when) = &stage.when {
                rules::check(&format!("{field}.when"), when)?;
            }
        }
        for (number, rule) in self.auto.iter().enumerate() {
            rules::check(&format!("auto[{number}].when"), &rule.when)?;
        }
        if let Some(emergency) = &self.emergency {
            if emergency.ttl == 0 || emergency.ttl > self.ttl_max || emergency.reviewers.is_empty() {
                let why = "needs reviewers and a ttl of at most ttl_max: every emergency is reviewed";
                return Err(Error::invalid("emergency", why));
            }
            actors("emergency.reviewers", &emergency.reviewers)?;
        }
        actors("requesters", &self.requesters)
    }

    /// The relationships of a grant, ending at `end`. Values are ids or nothing: none is ever read as a part of the text.
    ///
    /// # Errors
    /// [`Error::Invalid`] when a parameter is missing, unknown or not allowed.
    pub fn edges_for(
        &self,
        beneficiary: &SubjectRef,
        values: &BTreeMap<String, String>,
        start: Option<Timestamp>,
        end: Timestamp,
    ) -> Result<Vec<Relationship>, Error> {
        self.check_values(values)?;
        let mut edges = Vec::with_capacity(self.edges.len());
        for text in &self.edges {
            let Pattern { object_type, id, relation } = edge("template", text)?;
            let object_id = match id {
                Id::Fixed(id) => id,
                Id::Hole(parameter) => {
                    let value = values.get(parameter).map_or("", String::as_str);
                    ObjectId::new(value).map_err(|error| Error::invalid("parameters", error.to_string()))?
                }
            };
            let relationship = Relationship::new(ObjectRef { object_type, object_id }, relation, beneficiary.clone());
            edges.push(Relationship { not_before: start, expires_at: Some(end), ..relationship });
        }
        Ok(edges)
    }

    /// The type and relation of each relationship.
    pub(crate) fn relations(&self) -> Result<Vec<(ObjectType, RelationName)>, Error> {
        let parts = |text: &String| edge("edges", text).map(|pattern| (pattern.object_type, pattern.relation));
        self.edges.iter().map(parts).collect()
    }

    fn check_values(&self, values: &BTreeMap<String, String>) -> Result<(), Error> {
        if let Some(unknown) = values.keys().find(|name| !self.parameters.contains_key(*name)) {
            return Err(Error::invalid("parameters", format!("template `{}` has no parameter `{unknown}`", self.name)));
        }
        for (name, parameter) in &self.parameters {
            let field = format!("parameters.{name}");
            let value = values.get(name).ok_or_else(|| Error::invalid(&field, "is missing"))?;
            ObjectId::new(value.as_str()).map_err(|error| Error::invalid(&field, error.to_string()))?;
            if !parameter.one_of.is_empty() && !parameter.one_of.contains(value) {
                return Err(Error::invalid(&field, "is not among what this template allows"));
            }
            if !value.starts_with(&parameter.prefix) {
                return Err(Error::invalid(&field, format!("must begin with `{}`", parameter.prefix)));
            }
        }
        Ok(())
    }

    /// The parameters to ask for, when this template answers a denial of `permission` on an object.
    #[must_use]
    pub fn answer(&self, object_type: &str, object_id: &str, permission: &str) -> Option<BTreeMap<String, String>> {
        let values = self.answers.iter().find_map(|answer| {
            let Pattern { object_type: of_type, id, relation } = pattern("answers", answer).ok()?;
            let matches = of_type.as_str() == object_type && relation.as_str() == permission;
            match id {
                Id::Hole(parameter) if matches => Some(BTreeMap::from([(parameter.to_owned(), object_id.to_owned())])),
                Id::Fixed(id) if matches && id.as_str() == object_id => Some(BTreeMap::new()),
                _ => None,
            }
        })?;
        self.check_values(&values).is_ok().then_some(values)
    }

    /// The longest that a grant lasts with all renewals.
    #[must_use]
    pub fn longest(&self) -> u64 {
        self.total_max.max(self.ttl_max)
    }
}

/// An object and a relation or permission of it. Only the whole id can be a hole.
struct Pattern<'t> {
    object_type: ObjectType,
    id: Id<'t>,
    relation: RelationName,
}

enum Id<'t> {
    Hole(&'t str),
    Fixed(ObjectId),
}

fn pattern<'t>(field: &str, text: &'t str) -> Result<Pattern<'t>, Error> {
    let wrong = |why: String| Error::invalid(field, format!("`{}`: {why}", text.escape_debug()));
    let parts = text.split_once('#').and_then(|(object, relation)| Some((object.split_once(':')?, relation)));
    let ((object_type, id), relation) = parts.ok_or_else(|| wrong("expected `type:id#relation`".to_owned()))?;
    let id = match id.strip_prefix("${").and_then(|id| id.strip_suffix('}')) {
        Some(parameter) => Id::Hole(parameter),
        None => Id::Fixed(ObjectId::new(id).map_err(|error| wrong(error.to_string()))?),
    };
    Ok(Pattern {
        object_type: ObjectType::new(object_type).map_err(|error| wrong(error.to_string()))?,
        id,
        relation: RelationName::new(relation).map_err(|error| wrong(error.to_string()))?,
    })
}

/// A relationship for the beneficiary.
fn edge<'t>(field: &str, text: &'t str) -> Result<Pattern<'t>, Error> {
    let object = text.strip_suffix(BENEFICIARY).and_then(|text| text.strip_suffix('@'));
    let expected = || Error::invalid(field, format!("expected `type:id#relation@{BENEFICIARY}`"));
    pattern(field, object.ok_or_else(expected)?)
}

fn name(field: &str, text: &str) -> Result<(), Error> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-' || c == '/';
    if text.is_empty() || text.len() > 64 || !text.chars().all(is_plain) {
        return Err(Error::invalid(
            field,
            format!("`{}` must be 1 to 64 letters, digits, `_`, `-`, `/`", text.escape_debug()),
        ));
    }
    Ok(())
}

/// Principals and groups of the system store.
fn actors(field: &str, actors: &[String]) -> Result<(), Error> {
    for actor in actors {
        let subject: Result<SubjectRef, _> = actor.parse();
        let subject = subject.map_err(|error| Error::invalid(field, format!("`{actor}`: {error}")))?;
        let is_principal = subject.object_type().as_str() == "sys/principal" && subject.relation().is_none();
        let is_group = subject.object_type().as_str() == "sys/group"
            && subject.relation().is_some_and(|relation| relation.as_str() == "member");
        if !(is_principal || is_group) || subject.object_id().as_str() == "*" {
            let expected = "expected `sys/principal:ID` or `sys/group:ID#member`";
            return Err(Error::invalid(field, format!("`{actor}`: {expected}")));
        }
    }
    Ok(())
}
