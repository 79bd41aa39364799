//! Whether what a schema says fits together: the type errors.

use std::collections::{HashMap, HashSet};

use crate::error::Reports;
use crate::limits::ANNOTATION_STEPS_MAX;
use crate::listing;
use crate::schema::CaveatDefinition;
use crate::syntax::{
    Block, CaveatNode, ExpressionKind, ExpressionNode, FormNode, MemberNode, Name, PermissionNode, RelationNode,
    TypeNode,
};

/// Reports every type error. `blocks` have no splats any more; `caveats` and `compiled` are in the same order.
pub(crate) fn check(blocks: &[Block], caveats: &[CaveatNode], compiled: &[CaveatDefinition], reports: &mut Reports) {
    let index = Index::new(blocks);
    let conditions: HashSet<&str> = caveats.iter().map(|caveat| &*caveat.name.text).collect();
    let wildcards = wildcards(&index);
    let mut steps = 0;
    for (number, block) in blocks.iter().enumerate() {
        let (index, conditions, wildcards) = (&index, &conditions, &wildcards);
        Checker { index, conditions, wildcards, number, block, steps: &mut steps, reports }.definition();
    }
    for (node, caveat) in caveats.iter().zip(compiled) {
        for unused in caveat.caveat.unused_parameters() {
            let Some(parameter) = node.parameters.iter().find(|parameter| *parameter.name.text == *unused) else {
                continue;
            };
            let message = format!("parameter `{unused}` is never used by caveat `{}`", node.name.text);
            reports.within(parameter.name.at, &node.name.text, None, message);
        }
    }
}

/// Definitions and members by name.
pub(crate) struct Index<'a> {
    pub(crate) blocks: &'a [Block],
    types: HashMap<&'a str, usize>,
    members: Vec<HashMap<&'a str, &'a MemberNode>>,
    /// The types that each relation leads to, by definition and name.
    leads_to: Vec<HashMap<&'a str, Vec<usize>>>,
}

/// A relation or permission: the number of its definition, and its name.
type MemberKey<'a> = (usize, &'a str);

impl<'a> Index<'a> {
    pub(crate) fn new(blocks: &'a [Block]) -> Self {
        let types = blocks.iter().enumerate().map(|(number, block)| (&*block.name.text, number)).collect();
        let by_name = blocks.iter().map(|block| members(block).collect()).collect();
        let mut index = Index { blocks, types, members: by_name, leads_to: Vec::new() };
        index.leads_to = blocks.iter().map(|block| index.leads_to(block)).collect();
        index
    }

    fn leads_to(&self, block: &'a Block) -> HashMap<&'a str, Vec<usize>> {
        let relations = members(block).filter_map(|(name, member)| match member {
            MemberNode::Relation(relation) => Some((name, self.distinct_types(relation))),
            MemberNode::Permission(_) | MemberNode::Splat(_) => None,
        });
        relations.collect()
    }

    fn distinct_types(&self, relation: &RelationNode) -> Vec<usize> {
        let types = relation.types.iter().filter_map(|allowed| self.type_number(&allowed.subject_type.text));
        let mut types: Vec<usize> = types.collect();
        types.sort_unstable();
        types.dedup();
        types
    }

    pub(crate) fn type_number(&self, name: &str) -> Option<usize> {
        self.types.get(name).copied()
    }

    pub(crate) fn member(&self, number: usize, name: &str) -> Option<&'a MemberNode> {
        self.members.get(number)?.get(name).copied()
    }

    /// The types that a relation leads to, whatever their form, sorted; none for what is no relation.
    pub(crate) fn types_of(&self, number: usize, relation: &str) -> &[usize] {
        self.leads_to.get(number).and_then(|types| types.get(relation)).map_or(&[], Vec::as_slice)
    }
}

/// Relations and permissions with their names.
fn members(block: &Block) -> impl Iterator<Item = (&str, &MemberNode)> {
    block.members.iter().filter_map(|member| match member {
        MemberNode::Relation(RelationNode { name, .. }) | MemberNode::Permission(PermissionNode { name, .. }) => {
            Some((&*name.text, member))
        }
        MemberNode::Splat(_) => None,
    })
}

/// The relations that a wildcard can be reached through, directly or by usersets of relations, each with the relation
/// that declares the wildcard. Permissions hide the wildcards below them.
fn wildcards<'a>(index: &Index<'a>) -> HashMap<MemberKey<'a>, MemberKey<'a>> {
    let mut found: HashMap<MemberKey<'a>, MemberKey<'a>> = HashMap::new();
    let mut used_by: HashMap<MemberKey<'a>, Vec<MemberKey<'a>>> = HashMap::new();
    let mut pending = Vec::new();
    for (number, block) in index.blocks.iter().enumerate() {
        for (name, member) in members(block) {
            let MemberNode::Relation(relation) = member else { continue };
            for allowed in &relation.types {
                match &allowed.form {
                    FormNode::Object => {}
                    FormNode::Wildcard => pending.push(((number, name), (number, name))),
                    FormNode::Userset(used) => {
                        if let Some(subject_type) = index.type_number(&allowed.subject_type.text) {
                            used_by.entry((subject_type, &used.text)).or_default().push((number, name));
                        }
                    }
                }
            }
        }
    }
    while let Some((relation, origin)) = pending.pop() {
        if found.contains_key(&relation) {
            continue;
        }
        found.insert(relation, origin);
        pending.extend(used_by.get(&relation).into_iter().flatten().map(|user| (*user, origin)));
    }
    found
}

/// Checks one definition.
struct Checker<'a, 'r> {
    index: &'r Index<'a>,
    conditions: &'r HashSet<&'a str>,
    wildcards: &'r HashMap<MemberKey<'a>, MemberKey<'a>>,
    number: usize,
    block: &'a Block,
    /// Spent on annotations so far, in all definitions.
    steps: &'r mut usize,
    reports: &'r mut Reports,
}

impl<'a> Checker<'a, '_> {
    fn definition(&mut self) {
        let mut seen = HashSet::new();
        for (name, member) in members(self.block) {
            match member {
                MemberNode::Relation(relation) => {
                    self.unique(seen.insert(name), &relation.name);
                    self.relation(relation);
                }
                MemberNode::Permission(permission) => {
                    self.unique(seen.insert(name), &permission.name);
                    self.expression(&permission.name, &permission.expression);
                    self.annotation(permission);
                }
                MemberNode::Splat(_) => {}
            }
        }
        self.aliases();
        listing::check(self.block, self.reports);
    }

    fn unique(&mut self, is_new: bool, name: &Name) {
        if !is_new {
            let message =
                format!("definition `{}` has more than one relation or permission `{}`", self.name(), name.text);
            self.report(name, name, message);
        }
    }

    fn relation(&mut self, relation: &RelationNode) {
        let mut seen = HashSet::new();
        for allowed in &relation.types {
            self.allowed_type(relation, allowed);
            if !seen.insert(written(allowed)) {
                let message = format!("relation `{}` allows `{}` twice", relation.name.text, written(allowed));
                self.reports.within(allowed.at, self.name(), Some(&relation.name.text), message);
            }
        }
    }

    fn allowed_type(&mut self, relation: &RelationNode, allowed: &TypeNode) {
        let name = &relation.name;
        let type_name = &allowed.subject_type.text;
        match (self.index.type_number(type_name), &allowed.form) {
            (None, _) => {
                let message = format!("relation `{}` allows the type `{type_name}`, which is not defined", name.text);
                self.report(name, &allowed.subject_type, message);
            }
            (Some(_), FormNode::Object | FormNode::Wildcard) => {}
            (Some(number), FormNode::Userset(used)) => self.userset(name, number, used),
        }
        if let Some(caveat) = &allowed.caveat
            && !self.conditions.contains(&*caveat.text)
        {
            let hint = if &*caveat.text == "expiration" {
                " (for relationships that expire, begin the schema with `use expiration`)"
            } else {
                ""
            };
            let message =
                format!("relation `{}` uses the caveat `{}`, which is not defined{hint}", name.text, caveat.text);
            self.report(name, caveat, message);
        }
    }

    /// `type#used` among the types of `relation`.
    fn userset(&mut self, relation: &Name, number: usize, used: &Name) {
        let type_name = &self.index.blocks[number].name.text;
        let Some(_) = self.index.member(number, &used.text) else {
            let message = format!(
                "relation `{}` allows `{type_name}#{1}`, but `{type_name}` has no relation or permission `{1}`",
                relation.text, used.text
            );
            return self.report(relation, used, message);
        };
        // Within one definition this is allowed, as in `relation member: user:* | group#member`.
        if number == self.number {
            return;
        }
        if let Some(origin) = self.wildcards.get(&(number, &*used.text)) {
            let message = format!(
                "relation `{}` allows `{type_name}#{}`, which includes a wildcard by relation `{}`; \
                 a wildcard cannot be included from another definition",
                relation.text,
                used.text,
                self.member_name(*origin)
            );
            self.report(relation, used, message);
        }
    }

    fn expression(&mut self, permission: &Name, node: &ExpressionNode) {
        match &node.kind {
            ExpressionKind::Nil | ExpressionKind::Itself => {}
            ExpressionKind::Reference(name) => {
                if self.index.member(self.number, &name.text).is_none() {
                    self.missing(permission, name);
                }
            }
            ExpressionKind::Arrow { relation, .. } => self.arrow(permission, relation),
            ExpressionKind::Union(operands) | ExpressionKind::Intersection(operands) => {
                operands.iter().for_each(|operand| self.expression(permission, operand));
            }
            ExpressionKind::Exclusion(left, right) => {
                self.expression(permission, left);
                self.expression(permission, right);
            }
        }
    }

    fn arrow(&mut self, permission: &Name, relation: &Name) {
        match self.index.member(self.number, &relation.text) {
            None => self.missing(permission, relation),
            Some(MemberNode::Relation(_)) => {
                if let Some(origin) = self.wildcards.get(&(self.number, &*relation.text)) {
                    let message = format!(
                        "permission `{}` walks relation `{}`, which includes a wildcard by relation `{}`; \
                         an arrow cannot walk to every object of a type",
                        permission.text,
                        relation.text,
                        self.member_name(*origin)
                    );
                    self.report(permission, relation, message);
                }
            }
            Some(_) => {
                let message = format!(
                    "permission `{}` walks `{1}`, but `{1}` is a permission; only a relation can stand left of an arrow",
                    permission.text, relation.text
                );
                self.report(permission, relation, message);
            }
        }
    }

    fn missing(&mut self, permission: &Name, target: &Name) {
        let message = format!(
            "permission `{}` refers to `{}`, but definition `{}` has no such relation or permission",
            permission.text,
            target.text,
            self.name()
        );
        self.report(permission, target, message);
    }

    /// Every type that the expression mentions must be named by the annotation, if there is one.
    fn annotation(&mut self, permission: &PermissionNode) {
        let annotation = &permission.annotation;
        if annotation.is_empty() {
            return;
        }
        let mut named = HashSet::new();
        for name in annotation {
            match self.index.type_number(&name.text) {
                Some(number) => _ = named.insert(number),
                None => {
                    let message = format!(
                        "permission `{}` names the type `{}`, which is not defined",
                        permission.name.text, name.text
                    );
                    self.report(&permission.name, name, message);
                }
            }
        }
        let Some(reached) = self.index.subject_types((self.number, &permission.name.text), self.steps) else {
            let message = format!("annotations reach too far to be checked: more than {ANNOTATION_STEPS_MAX} steps");
            return self.report(&permission.name, &permission.name, message);
        };
        let missing: Vec<String> = (0..self.index.blocks.len())
            .filter(|number| reached.contains(number) && !named.contains(number))
            .map(|number| format!("`{}`", self.index.blocks[number].name.text))
            .collect();
        if !missing.is_empty() {
            let message = format!(
                "the types of permission `{}` are incomplete: its subjects can also be {}",
                permission.name.text,
                missing.join(", ")
            );
            self.report(&permission.name, &permission.name, message);
        }
    }

    /// Permissions that are nothing but each other's names, in a circle.
    fn aliases(&mut self) {
        let mut alias: HashMap<&str, &str> = HashMap::new();
        for (name, member) in members(self.block) {
            if let MemberNode::Permission(PermissionNode { expression, .. }) = member
                && let ExpressionKind::Reference(target) = &expression.kind
            {
                alias.insert(name, &target.text);
            }
        }
        let mut done: HashSet<&str> = HashSet::new();
        for (start, member) in members(self.block) {
            let mut path = vec![start];
            let mut on_path = HashSet::from([start]);
            let mut current = start;
            while let Some(next) = alias.get(current).copied().filter(|_| !done.contains(current)) {
                if !on_path.insert(next) {
                    // Members before `next` only lead into the circle.
                    let from = path.iter().position(|name| *name == next).unwrap_or(0);
                    path.push(next);
                    let circle = path[from..].join(" -> ");
                    let message =
                        format!("permissions of definition `{}` only refer to each other: {circle}", self.name());
                    if let MemberNode::Permission(permission) = self.index.member(self.number, next).unwrap_or(member) {
                        self.report(&permission.name, &permission.name, message);
                    }
                    break;
                }
                path.push(next);
                current = next;
            }
            done.extend(path);
        }
    }

    fn name(&self) -> &'a str {
        &self.block.name.text
    }

    /// `definition#member`
    fn member_name(&self, (number, name): MemberKey<'_>) -> String {
        format!("{}#{name}", self.index.blocks[number].name.text)
    }

    fn report(&mut self, member: &Name, at: &Name, message: String) {
        self.reports.within(at.at, self.name(), Some(&member.text), message);
    }
}

impl<'a> Index<'a> {
    /// The types of the objects that a relation or permission mentions as subjects, through usersets and arrows;
    /// `None` when `steps` exceeds its limit.
    fn subject_types(&self, start: MemberKey<'a>, steps: &mut usize) -> Option<HashSet<usize>> {
        let mut types = HashSet::new();
        let mut seen = HashSet::from([start]);
        let mut pending = vec![start];
        while let Some((number, name)) = pending.pop() {
            let mut next = Vec::new();
            match self.member(number, name) {
                Some(MemberNode::Relation(relation)) => {
                    *steps += relation.types.len();
                    for allowed in &relation.types {
                        let Some(subject_type) = self.type_number(&allowed.subject_type.text) else { continue };
                        match &allowed.form {
                            FormNode::Userset(used) => next.push((subject_type, &*used.text)),
                            FormNode::Object | FormNode::Wildcard => _ = types.insert(subject_type),
                        }
                    }
                }
                Some(MemberNode::Permission(permission)) => {
                    self.mentioned(number, &permission.expression, &mut next, &mut types);
                }
                Some(MemberNode::Splat(_)) | None => {}
            }
            *steps += 1 + next.len();
            if *steps > ANNOTATION_STEPS_MAX {
                return None;
            }
            pending.extend(next.into_iter().filter(|key| seen.insert(*key)));
        }
        Some(types)
    }

    /// The members that an expression of definition `number` mentions; for `self` the type itself.
    fn mentioned(
        &self,
        number: usize,
        node: &'a ExpressionNode,
        mentioned: &mut Vec<MemberKey<'a>>,
        types: &mut HashSet<usize>,
    ) {
        match &node.kind {
            ExpressionKind::Nil => {}
            ExpressionKind::Itself => _ = types.insert(number),
            ExpressionKind::Reference(name) => mentioned.push((number, &name.text)),
            ExpressionKind::Arrow { relation, target, .. } => {
                mentioned.extend(self.types_of(number, &relation.text).iter().map(|one| (*one, &*target.text)));
            }
            ExpressionKind::Union(operands) | ExpressionKind::Intersection(operands) => {
                operands.iter().for_each(|operand| self.mentioned(number, operand, mentioned, types));
            }
            ExpressionKind::Exclusion(left, right) => {
                self.mentioned(number, left, mentioned, types);
                self.mentioned(number, right, mentioned, types);
            }
        }
    }
}

/// An allowed type as the canonical text has it.
fn written(allowed: &TypeNode) -> String {
    let mut text = allowed.subject_type.text.to_string();
    match &allowed.form {
        FormNode::Object => {}
        FormNode::Wildcard => text.push_str(":*"),
        FormNode::Userset(relation) => text.push_str(&format!("#{}", relation.text)),
    }
    match (&allowed.caveat, allowed.expiration) {
        (None, false) => {}
        (Some(caveat), false) => text.push_str(&format!(" with {}", caveat.text)),
        (None, true) => text.push_str(" with expiration"),
        (Some(caveat), true) => text.push_str(&format!(" with {} and expiration", caveat.text)),
    }
    text
}

#[cfg(test)]
mod tests;
