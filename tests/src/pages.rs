//! Pages of the documentation, as what they contain that can be run.
//!
//! The convention, which a reader of a page hardly sees:
//!
//! | in the page | what the test does |
//! | --- | --- |
//! | ` ```console ` | runs each command after `$ ` (`> ` goes on with it) and compares what it prints with the lines below. `[..]` is any text in a line, a line `...` any lines, a last line `? 3` the exit code |
//! | ` ```sh ` | runs the block, which must succeed |
//! | ` ```sh not-run: WHY ` | nothing |
//! | `<!-- run` to `-->` | runs what stands between, which no reader sees |
//! | ` ```python save=app.py ` | writes the block into a file for later commands |
//! | ` ```… needs=python ` | leaves the block out where the Python client cannot be had |
//! | ` ```go file=PATH#REGION ` | compares the block with what stands between `[REGION]` and `[/REGION]` in a file, from the repository's root |
//!
//! All blocks of a page are one shell session, in a folder of its own ([`session`]). [`expected`] compares.

pub mod expected;
pub mod session;

use anyhow::{Context, Result, bail};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A page and what stands in it between fences, or in comments that are run.
#[derive(Debug)]
pub struct Page {
    /// Where it is.
    pub path: PathBuf,
    /// Its lines, without their ends.
    pub lines: Vec<String>,
    /// Its blocks, in order.
    pub blocks: Vec<Block>,
}

/// What stands between two fences.
#[derive(Debug)]
pub struct Block {
    /// The first word after the opening fence; `run` for a comment that is run.
    pub language: String,
    /// What follows it.
    pub info: String,
    /// Its lines, as positions in [`Page::lines`].
    pub lines: Range<usize>,
}

impl Block {
    /// The value of `name=value` after the language.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.info.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }

    /// Whether its commands are to be run.
    #[must_use]
    pub fn is_run(&self) -> bool {
        ["sh", "console", "run"].contains(&self.language.as_str()) && !self.info.starts_with("not-run:")
    }
}

impl Page {
    /// Reads a page.
    ///
    /// # Errors
    /// If it cannot be read, or a block in it does not end.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let mut blocks = Vec::new();
        let mut at = 0;
        while let Some(line) = lines.get(at) {
            let (info, end) = if let Some(info) = line.strip_prefix("```") {
                (info, "```")
            } else if line.starts_with("<!-- run") {
                (line.trim_start_matches("<!-- "), "-->")
            } else {
                at += 1;
                continue;
            };
            let length = lines.iter().skip(at + 1).position(|line| line == end);
            let Some(length) = length else { bail!("{}:{}: the block has no end", path.display(), at + 1) };
            let (language, info) = info.split_once(' ').unwrap_or((info, ""));
            blocks.push(Block { language: language.to_owned(), info: info.to_owned(), lines: at + 1..at + 1 + length });
            at += length + 2;
        }
        Ok(Self { path: path.to_owned(), lines, blocks })
    }

    /// The lines of a block.
    #[must_use]
    pub fn text(&self, block: &Block) -> String {
        self.lines.get(block.lines.clone()).unwrap_or_default().iter().flat_map(|line| [line, "\n"]).collect()
    }

    /// Writes the page anew with other lines in some places.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn replace(&self, mut changes: Vec<(Range<usize>, String)>) -> Result<()> {
        let mut lines = self.lines.clone();
        changes.sort_by_key(|(place, _)| place.start);
        for (place, text) in changes.into_iter().rev() {
            lines.splice(place, text.lines().map(str::to_owned));
        }
        Ok(std::fs::write(&self.path, lines.join("\n") + "\n")?)
    }
}

/// What stands in a file between the lines that end in `[region]` and `[/region]`, without the indentation that all lines share; the
/// whole file if no region is given. A region that is closed and opened again leaves out what is between.
///
/// # Errors
/// If the file cannot be read or has no such region.
pub fn region(path: &Path, region: &str) -> Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    if region.is_empty() {
        return Ok(text);
    }
    let (begin, end) = (format!("[{region}]"), format!("[/{region}]"));
    let mut inside = false;
    let mut lines: Vec<&str> = Vec::new();
    for line in text.lines() {
        if line.ends_with(&begin) || line.ends_with(&end) {
            inside = line.ends_with(&begin);
        } else if inside {
            lines.push(line);
        }
    }
    if lines.is_empty() {
        bail!("{} has nothing between {begin} and {end}", path.display());
    }
    let indent = lines.iter().filter(|line| !line.trim().is_empty()).map(|line| line.len() - line.trim_start().len());
    let indent = indent.min().unwrap_or(0);
    Ok(lines.iter().flat_map(|line| [line.get(indent..).unwrap_or(""), "\n"]).collect())
}
