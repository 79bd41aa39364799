//! The syntax tree: what was written, with its place, before names are resolved.

use std::collections::BTreeSet;

use crate::annotations::Annotation;
use crate::error::Place;
use crate::guards::Guard;
use crate::schema::ArrowFunction;

/// One file.
#[derive(Debug, Default)]
pub(crate) struct File {
    pub(crate) imports: Vec<Import>,
    pub(crate) definitions: Vec<Block>,
    pub(crate) partials: Vec<Block>,
    pub(crate) caveats: Vec<CaveatNode>,
    pub(crate) flags: Flags,
    /// Where each statement begins and ends, in order; of a block only its head, up to `{`.
    pub(crate) statements: Vec<Place>,
}

/// The `use` lines of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    pub(crate) expiration: bool,
    pub(crate) import: bool,
    pub(crate) partial: bool,
    pub(crate) itself: bool,
    pub(crate) typechecking: bool,
}

impl Flags {
    pub(crate) const NAMES: &[&str] = &["expiration", "import", "partial", "self", "typechecking"];

    /// The flag of that name.
    pub(crate) fn named(&mut self, name: &str) -> Option<&mut bool> {
        Some(match name {
            "expiration" => &mut self.expiration,
            "import" => &mut self.import,
            "partial" => &mut self.partial,
            "self" => &mut self.itself,
            "typechecking" => &mut self.typechecking,
            _ => return None,
        })
    }

    /// Whether `word` means something else than a name.
    pub(crate) fn is_keyword(self, word: &str) -> bool {
        match word {
            "definition" | "caveat" | "relation" | "permission" | "nil" | "with" => true,
            "expiration" | "and" => self.expiration,
            "import" => self.import,
            "partial" => self.partial,
            "self" => self.itself,
            "typechecking" => self.typechecking,
            _ => false,
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Name {
    pub(crate) text: Box<str>,
    pub(crate) at: Place,
}

#[derive(Debug)]
pub(crate) struct Import {
    /// The path, without its quotes; its place is that of the quoted path.
    pub(crate) path: Name,
}

/// A definition or a partial.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) name: Name,
    pub(crate) doc: String,
    /// What its annotations name as the lister of its members.
    pub(crate) lister: Option<Name>,
    pub(crate) members: Vec<MemberNode>,
    /// From its keyword to its `}`.
    pub(crate) at: Place,
}

#[derive(Debug, Clone)]
pub(crate) enum MemberNode {
    Relation(RelationNode),
    Permission(PermissionNode),
    /// `...partial`
    Splat(Name),
}

impl MemberNode {
    /// Its name, and what its annotations name as its lister; `None` for a splat.
    pub(crate) fn named(&self) -> Option<(&Name, Option<&Name>)> {
        match self {
            MemberNode::Relation(relation) => Some((&relation.name, relation.lister.as_ref())),
            MemberNode::Permission(permission) => Some((&permission.name, permission.lister.as_ref())),
            MemberNode::Splat(_) => None,
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct RelationNode {
    pub(crate) name: Name,
    pub(crate) doc: String,
    pub(crate) guards: BTreeSet<Guard>,
    /// What its annotations name as its lister.
    pub(crate) lister: Option<Name>,
    pub(crate) types: Vec<TypeNode>,
    pub(crate) at: Place,
}

#[derive(Debug, Clone)]
pub(crate) struct TypeNode {
    pub(crate) subject_type: Name,
    pub(crate) form: FormNode,
    pub(crate) caveat: Option<Name>,
    pub(crate) expiration: bool,
    pub(crate) at: Place,
}

#[derive(Debug, Clone)]
pub(crate) enum FormNode {
    Object,
    Wildcard,
    Userset(Name),
}

#[derive(Debug, Clone)]
pub(crate) struct PermissionNode {
    pub(crate) name: Name,
    pub(crate) doc: String,
    pub(crate) guards: BTreeSet<Guard>,
    /// What its annotations name as its lister.
    pub(crate) lister: Option<Name>,
    pub(crate) annotation: Vec<Name>,
    pub(crate) expression: ExpressionNode,
    pub(crate) at: Place,
}

#[derive(Debug, Clone)]
pub(crate) struct ExpressionNode {
    pub(crate) at: Place,
    /// 1 for an operand; at most [`crate::NESTING_MAX`], so that recursion over the tree is bounded.
    pub(crate) depth: usize,
    pub(crate) kind: ExpressionKind,
}

#[derive(Debug, Clone)]
pub(crate) enum ExpressionKind {
    Nil,
    Itself,
    Reference(Name),
    Arrow { relation: Name, target: Name, function: ArrowFunction },
    Union(Vec<ExpressionNode>),
    Intersection(Vec<ExpressionNode>),
    Exclusion(Box<ExpressionNode>, Box<ExpressionNode>),
}

#[derive(Debug)]
pub(crate) struct CaveatNode {
    pub(crate) name: Name,
    pub(crate) doc: String,
    pub(crate) annotations: Vec<Annotation>,
    pub(crate) parameters: Vec<ParameterNode>,
    /// The expression without surrounding white space.
    pub(crate) expression: Name,
    /// From its keyword to its `}`.
    pub(crate) at: Place,
}

#[derive(Debug)]
pub(crate) struct ParameterNode {
    pub(crate) name: Name,
    pub(crate) parameter_type: ParameterTypeNode,
}

#[derive(Debug)]
pub(crate) struct ParameterTypeNode {
    pub(crate) name: Name,
    pub(crate) arguments: Vec<ParameterTypeNode>,
    pub(crate) at: Place,
}
