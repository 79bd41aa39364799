//! What a text declares and where it names it, for editors. Works on texts with errors, as far as they can be read.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use crate::compile::ResolveImport;
use crate::error::{Place, Reports};
use crate::imports;
use crate::limits::SCHEMA_BYTES_MAX;
use crate::syntax::{
    Block, CaveatNode, ExpressionKind, ExpressionNode, File, FormNode, MemberNode, Name, RelationNode,
};

/// Declarations and uses of names, of a text and what it imports.
#[derive(Debug)]
pub struct Outline {
    files: Vec<OutlineFile>,
    symbols: Vec<Symbol>,
    references: Vec<Reference>,
    imports: Vec<(Place, usize)>,
    index: Index,
}

/// One text.
#[derive(Debug)]
pub struct OutlineFile {
    /// The path by which it was imported; `None` for the text itself.
    pub path: Option<String>,
    /// What it says.
    pub text: String,
}

/// Bytes of one of the files of an outline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// Index into [`Outline::files`]; 0 is the text itself.
    pub file: usize,
    /// Bytes of its text.
    pub bytes: Range<usize>,
}

/// Something with a name.
#[derive(Debug)]
pub struct Symbol {
    /// What it is.
    pub kind: SymbolKind,
    /// Its name.
    pub name: String,
    /// Index of the definition or partial that it belongs to.
    pub parent: Option<usize>,
    /// The comments before it, delimiters included.
    pub doc: String,
    name_at: Place,
    at: Place,
}

/// What has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SymbolKind {
    /// A type of objects.
    Definition,
    /// Members to be copied.
    Partial,
    /// A condition.
    Caveat,
    /// A relation of a definition or partial.
    Relation,
    /// A permission of a definition or partial.
    Permission,
}

/// Where something is named.
#[derive(Debug)]
struct Reference {
    at: Place,
    target: Target,
}

#[derive(Debug)]
enum Target {
    /// The type of that name.
    Definition(Box<str>),
    Partial(Box<str>),
    Caveat(Box<str>),
    /// A member of the block with that index.
    Member(usize, Box<str>),
    /// A member of the type of that name.
    MemberOf(Box<str>, Box<str>),
    /// The target of an arrow: a member of each type that a relation leads to. Block, relation, target.
    Arrow(usize, Box<str>, Box<str>),
}

#[derive(Debug, Default)]
struct Index {
    definitions: HashMap<Box<str>, usize>,
    partials: HashMap<Box<str>, usize>,
    caveats: HashMap<Box<str>, usize>,
    /// By block and name.
    members: HashMap<(usize, Box<str>), usize>,
    /// By block, in the order of the text.
    by_block: HashMap<usize, Vec<usize>>,
    /// Which blocks copy which partials.
    splats: HashMap<usize, Vec<Box<str>>>,
    /// The types that a relation leads to, by its symbol.
    types: HashMap<usize, HashSet<Box<str>>>,
}

impl Outline {
    /// Reads a text and what it imports. Imports that cannot be read are left out, and so is all of a text of more than
    /// [`SCHEMA_BYTES_MAX`] bytes.
    #[must_use]
    pub fn read(source: &str, resolve: Option<ResolveImport<'_>>) -> Outline {
        let source = if source.len() > SCHEMA_BYTES_MAX { "" } else { source };
        let sources = imports::load(source, resolve, &mut Reports::default());
        let files = sources.files.into_iter().map(|file| OutlineFile { path: file.path, text: file.text }).collect();
        let mut outline = Outline {
            files,
            symbols: Vec::new(),
            references: Vec::new(),
            imports: sources.imported,
            index: Index::default(),
        };
        for tree in &sources.trees {
            outline.file(tree);
        }
        outline
    }

    /// The text itself, then what it imports.
    #[must_use]
    pub fn files(&self) -> &[OutlineFile] {
        &self.files
    }

    /// Everything that has a name, file by file; definitions, partials and caveats come before what belongs to them.
    #[must_use]
    pub fn symbols(&self) -> &[Symbol] {
        &self.symbols
    }

    /// Where the name of a symbol stands.
    #[must_use]
    pub fn name_at(&self, symbol: &Symbol) -> Location {
        location(symbol.name_at)
    }

    /// All of a symbol, without the comments before it.
    #[must_use]
    pub fn extent(&self, symbol: &Symbol) -> Location {
        location(symbol.at)
    }

    /// The text of a symbol, without the comments before it.
    #[must_use]
    pub fn text(&self, symbol: &Symbol) -> &str {
        let Place { file, start, end } = symbol.at;
        self.files.get(file as usize).and_then(|file| file.text.get(start as usize..end as usize)).unwrap_or("")
    }

    /// The name at that byte of the text itself, or that ends there, and what it can mean; several for the target of an
    /// arrow that leads to several types.
    #[must_use]
    pub fn meaning(&self, offset: usize) -> Option<(Range<usize>, Vec<usize>)> {
        let is_here = |at: Place| at.file == 0 && at.start as usize <= offset && offset <= at.end as usize;
        if let Some(index) = self.symbols.iter().position(|symbol| is_here(symbol.name_at)) {
            return Some((location(self.symbols[index].name_at).bytes, vec![index]));
        }
        let reference = self.references.iter().find(|reference| is_here(reference.at))?;
        Some((location(reference.at).bytes, self.targets(&reference.target)))
    }

    /// The file whose import stands at that byte of the text itself: its index in [`Outline::files`].
    #[must_use]
    pub fn import_at(&self, offset: usize) -> Option<usize> {
        let is_here = |at: Place| at.file == 0 && at.start as usize <= offset && offset <= at.end as usize;
        self.imports.iter().find(|(at, _)| is_here(*at)).map(|(_, file)| *file)
    }

    /// Where the text itself imports a file, by its path.
    #[must_use]
    pub fn import_of(&self, path: &str) -> Option<Range<usize>> {
        let file = self.files.iter().position(|file| file.path.as_deref() == Some(path))?;
        self.imports.iter().find(|(at, imported)| at.file == 0 && *imported == file).map(|(at, _)| location(*at).bytes)
    }

    /// Where a symbol is named, its declaration left out, in all files; with whether the name means this symbol alone.
    #[must_use]
    pub fn references(&self, symbol: usize) -> Vec<(Location, bool)> {
        let mut found = Vec::new();
        for reference in &self.references {
            let targets =
                if self.may_mean(&reference.target, symbol) { self.targets(&reference.target) } else { vec![] };
            if targets.contains(&symbol) {
                found.push((location(reference.at), targets.len() == 1));
            }
        }
        found
    }

    /// The definition of that name.
    #[must_use]
    pub fn definition(&self, name: &str) -> Option<usize> {
        self.index.definitions.get(name).copied()
    }

    /// The definition or partial around a byte of the text itself, or the last that began before it.
    pub(crate) fn block_before(&self, offset: usize) -> Option<usize> {
        let blocks = self.symbols.iter().enumerate().filter(|(_, symbol)| {
            let is_block = matches!(symbol.kind, SymbolKind::Definition | SymbolKind::Partial);
            is_block && symbol.at.file == 0 && symbol.at.start as usize <= offset
        });
        blocks.max_by_key(|(_, symbol)| symbol.at.start).map(|(index, _)| index)
    }

    /// The relations and permissions of a definition or partial, those copied from partials included.
    pub(crate) fn members(&self, block: usize) -> Vec<usize> {
        let blocks = self.with_partials(block).into_iter();
        blocks.flat_map(|block| self.index.by_block.get(&block).into_iter().flatten().copied()).collect()
    }

    /// The types that a relation of a block leads to.
    pub(crate) fn leads_to(&self, block: usize, relation: &str) -> Vec<usize> {
        let types = self.member(block, relation).and_then(|symbol| self.index.types.get(&symbol));
        types.into_iter().flatten().filter_map(|name| self.definition(name)).collect()
    }

    fn targets(&self, target: &Target) -> Vec<usize> {
        let one = |found: Option<&usize>| found.into_iter().copied().collect();
        match target {
            Target::Definition(name) => one(self.index.definitions.get(name)),
            Target::Partial(name) => one(self.index.partials.get(name)),
            Target::Caveat(name) => one(self.index.caveats.get(name)),
            Target::Member(block, name) => self.member(*block, name).into_iter().collect(),
            Target::MemberOf(definition, name) => {
                self.definition(definition).and_then(|block| self.member(block, name)).into_iter().collect()
            }
            Target::Arrow(block, relation, name) => {
                let types = self.leads_to(*block, relation).into_iter();
                let mut found: Vec<usize> = types.filter_map(|block| self.member(block, name)).collect();
                found.sort_unstable();
                found.dedup();
                found
            }
        }
    }

    /// A quick look before [`Outline::targets`].
    fn may_mean(&self, target: &Target, symbol: usize) -> bool {
        let Some(symbol) = self.symbols.get(symbol) else { return false };
        let (Target::Definition(name)
        | Target::Partial(name)
        | Target::Caveat(name)
        | Target::Member(_, name)
        | Target::MemberOf(_, name)
        | Target::Arrow(_, _, name)) = target;
        **name == *symbol.name
    }

    /// A member of a block, or of a partial that it copies.
    fn member(&self, block: usize, name: &str) -> Option<usize> {
        self.with_partials(block).into_iter().find_map(|block| self.index.members.get(&(block, name.into())).copied())
    }

    /// A block and the partials that are copied into it, in any number of steps.
    fn with_partials(&self, block: usize) -> Vec<usize> {
        let mut blocks = vec![block];
        let mut next = 0;
        while let Some(block) = blocks.get(next).copied() {
            next += 1;
            for name in self.index.splats.get(&block).into_iter().flatten() {
                match self.index.partials.get(name) {
                    Some(partial) if !blocks.contains(partial) => blocks.push(*partial),
                    _ => {}
                }
            }
        }
        blocks
    }

    // Reading.

    fn file(&mut self, tree: &File) {
        for block in &tree.definitions {
            self.block(SymbolKind::Definition, block);
        }
        for block in &tree.partials {
            self.block(SymbolKind::Partial, block);
        }
        for CaveatNode { name, doc, at, .. } in &tree.caveats {
            let symbol = self.symbol(SymbolKind::Caveat, name, None, doc, *at);
            self.index.caveats.entry(name.text.clone()).or_insert(symbol);
        }
    }

    fn block(&mut self, kind: SymbolKind, block: &Block) {
        let symbol = self.symbol(kind, &block.name, None, &block.doc, block.at);
        let names = if kind == SymbolKind::Partial { &mut self.index.partials } else { &mut self.index.definitions };
        names.entry(block.name.text.clone()).or_insert(symbol);
        for member in &block.members {
            match member {
                MemberNode::Relation(relation) => self.relation(symbol, relation),
                MemberNode::Permission(permission) => {
                    let (name, doc) = (&permission.name, &permission.doc);
                    self.member_symbol(SymbolKind::Permission, name, symbol, doc, permission.at);
                    for name in &permission.annotation {
                        self.refer(name.at, Target::Definition(name.text.clone()));
                    }
                    self.expression(symbol, &permission.expression);
                }
                MemberNode::Splat(name) => {
                    self.refer(name.at, Target::Partial(name.text.clone()));
                    self.index.splats.entry(symbol).or_default().push(name.text.clone());
                }
            }
        }
    }

    fn relation(&mut self, block: usize, relation: &RelationNode) {
        let symbol = self.member_symbol(SymbolKind::Relation, &relation.name, block, &relation.doc, relation.at);
        for allowed in &relation.types {
            let subject_type = &allowed.subject_type;
            self.refer(subject_type.at, Target::Definition(subject_type.text.clone()));
            if let FormNode::Userset(used) = &allowed.form {
                self.refer(used.at, Target::MemberOf(subject_type.text.clone(), used.text.clone()));
            }
            if let Some(caveat) = &allowed.caveat {
                self.refer(caveat.at, Target::Caveat(caveat.text.clone()));
            }
        }
        let types = relation.types.iter().map(|allowed| allowed.subject_type.text.clone()).collect();
        self.index.types.insert(symbol, types);
    }

    /// Recursion is bounded by [`crate::NESTING_MAX`].
    fn expression(&mut self, block: usize, node: &ExpressionNode) {
        match &node.kind {
            ExpressionKind::Nil | ExpressionKind::Itself => {}
            ExpressionKind::Reference(name) => self.refer(name.at, Target::Member(block, name.text.clone())),
            ExpressionKind::Arrow { relation, target, .. } => {
                self.refer(relation.at, Target::Member(block, relation.text.clone()));
                self.refer(target.at, Target::Arrow(block, relation.text.clone(), target.text.clone()));
            }
            ExpressionKind::Union(operands) | ExpressionKind::Intersection(operands) => {
                operands.iter().for_each(|operand| self.expression(block, operand));
            }
            ExpressionKind::Exclusion(left, right) => {
                self.expression(block, left);
                self.expression(block, right);
            }
        }
    }

    fn symbol(&mut self, kind: SymbolKind, name: &Name, parent: Option<usize>, doc: &str, at: Place) -> usize {
        let (doc, name_at) = (doc.to_owned(), name.at);
        self.symbols.push(Symbol { kind, name: name.text.to_string(), parent, doc, name_at, at });
        self.symbols.len() - 1
    }

    fn member_symbol(&mut self, kind: SymbolKind, name: &Name, block: usize, doc: &str, at: Place) -> usize {
        let symbol = self.symbol(kind, name, Some(block), doc, at);
        self.index.members.entry((block, name.text.clone())).or_insert(symbol);
        self.index.by_block.entry(block).or_default().push(symbol);
        symbol
    }

    fn refer(&mut self, at: Place, target: Target) {
        self.references.push(Reference { at, target });
    }
}

fn location(at: Place) -> Location {
    Location { file: at.file as usize, bytes: at.start as usize..at.end as usize }
}

#[cfg(test)]
mod tests;
