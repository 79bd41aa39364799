//! Where the values of a caveat's parameters come from.
//!
//! A parameter without a source is given by relationships and requests. One with a source is given by the server, by stored
//! attributes or by relationships, and by nobody else: `server(…)`, `trusted(…)` and `stored(…)` in the annotations of the
//! caveat say so.

use std::collections::BTreeMap;
use std::fmt;

use stonetown_caveat::{Parameter, ParameterType};
use stonetown_tuple::AttributeName;

use crate::annotations::{Annotation, Argument};
use crate::error::{Place, Reports};
use crate::schema::CaveatDefinition;
use crate::syntax::CaveatNode;

/// Who gives the value of a parameter. Never a request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ParameterSource {
    /// The time of the call.
    Now,
    /// The address that the call came from, as the server sees it.
    PeerIp,
    /// An attribute of the object that the relationship with the caveat is on.
    Resource(AttributeName),
    /// An attribute of the object that is the subject of the question, or whose userset it is.
    Subject(AttributeName),
    /// The relationship with the caveat.
    Relationship,
}

impl ParameterSource {
    /// The attribute that it is, if it is one.
    #[must_use]
    pub fn attribute(&self) -> Option<&AttributeName> {
        match self {
            ParameterSource::Resource(name) | ParameterSource::Subject(name) => Some(name),
            ParameterSource::Now | ParameterSource::PeerIp | ParameterSource::Relationship => None,
        }
    }

    /// The type that a parameter must have, `None` if any will do.
    fn required(&self) -> Option<ParameterType> {
        match self {
            ParameterSource::Now => Some(ParameterType::Timestamp),
            ParameterSource::PeerIp => Some(ParameterType::IpAddress),
            ParameterSource::Resource(_) | ParameterSource::Subject(_) | ParameterSource::Relationship => None,
        }
    }
}

/// As an annotation has it, such as `server(now)`, `trusted(resource.env)` or `stored`.
impl fmt::Display for ParameterSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParameterSource::Now => f.write_str("server(now)"),
            ParameterSource::PeerIp => f.write_str("server(peer_ip)"),
            ParameterSource::Resource(name) => write!(f, "trusted(resource.{name})"),
            ParameterSource::Subject(name) => write!(f, "trusted(subject.{name})"),
            ParameterSource::Relationship => f.write_str("stored"),
        }
    }
}

impl CaveatDefinition {
    /// Who gives the value of a parameter; `None` for relationships and requests, and for what is no parameter.
    #[must_use]
    pub fn source(&self, parameter: &str) -> Option<&ParameterSource> {
        self.given().find(|(name, _)| *name == parameter).map(|(_, source)| source)
    }

    /// The parameters that have a source, with it.
    pub fn given(&self) -> impl Iterator<Item = (&str, &ParameterSource)> {
        let parameters = self.caveat.parameters().iter().zip(&self.sources);
        parameters.filter_map(|(parameter, source)| Some((parameter.name.as_str(), source.as_ref()?)))
    }
}

/// The sources that the annotations of a caveat name, one for each parameter. What is wrong is reported by `report`.
pub(crate) fn read(
    node: &CaveatNode,
    parameters: &[Parameter],
    report: &mut dyn FnMut(Place, String),
) -> Vec<Option<ParameterSource>> {
    let mut sources = vec![None; parameters.len()];
    for Annotation { name, arguments } in &node.annotations {
        if arguments.is_empty() {
            report(name.at, format!("`{0}` names at least one parameter, as in `{0}(…)`", name.text));
        }
        for argument in arguments {
            match one(&name.text, argument, node, parameters) {
                Ok((index, _)) if sources[index].is_some() => {
                    report(argument.at(), format!("parameter `{}` is given a source twice", argument.name()));
                }
                Ok((index, source)) => sources[index] = Some(source),
                Err(message) => report(argument.at(), message),
            }
        }
    }
    sources
}

fn one(
    term: &str,
    argument: &Argument,
    node: &CaveatNode,
    parameters: &[Parameter],
) -> Result<(usize, ParameterSource), String> {
    let value = &*argument.value.text;
    let source = match (term, value.split_once('.')) {
        ("server", None) if value == "now" => ParameterSource::Now,
        ("server", None) if value == "peer_ip" => ParameterSource::PeerIp,
        ("server", _) => return Err(format!("the server gives `now` and `peer_ip`, not `{value}`")),
        ("stored", None) if argument.label.is_none() => ParameterSource::Relationship,
        ("stored", _) => return Err(format!("`stored` takes the names of parameters, not `{value}`")),
        (_, Some(("resource", attribute))) => ParameterSource::Resource(attribute_name(attribute)?),
        (_, Some(("subject", attribute))) => ParameterSource::Subject(attribute_name(attribute)?),
        _ => return Err(format!("`trusted` takes `resource.ATTRIBUTE` and `subject.ATTRIBUTE`, not `{value}`")),
    };
    let name = argument.name();
    let index = parameters.iter().position(|parameter| parameter.name == name);
    let index = index.ok_or_else(|| format!("caveat `{}` has no parameter `{name}`", node.name.text))?;
    let declared = &parameters[index].parameter_type;
    match source.required() {
        Some(required) if required != *declared => {
            Err(format!("`{value}` is a {required}, but parameter `{name}` a {declared}"))
        }
        _ => Ok((index, source)),
    }
}

fn attribute_name(text: &str) -> Result<AttributeName, String> {
    AttributeName::new(text).map_err(|error| error.to_string())
}

/// A request's context is for all caveats at once. So a parameter's name stands, throughout a schema, either for what
/// requests and relationships say or for what they cannot.
pub(crate) fn check_names(nodes: &[CaveatNode], caveats: &[CaveatDefinition], reports: &mut Reports) {
    let mut given: BTreeMap<&str, &CaveatDefinition> = BTreeMap::new();
    for caveat in caveats {
        given.extend(caveat.given().map(|(name, _)| (name, caveat)));
    }
    for (node, caveat) in nodes.iter().zip(caveats) {
        for parameter in &node.parameters {
            let name = &*parameter.name.text;
            let Some(other) = given.get(name).filter(|_| caveat.source(name).is_none()) else { continue };
            let message = format!(
                "parameter `{name}` of caveat `{}` is given by requests, but has a source in caveat `{}`: give it one here, \
                 or another name",
                node.name.text, other.name
            );
            reports.within(parameter.name.at, &node.name.text, None, message);
        }
    }
}
