//! Rules of the code base that a compiler does not check: `cargo xtask tidy`, also run as a test.
//!
//! Not a formatter and not a linter of style: each rule here guards a promise of README.md (dependency direction, where
//! `unsafe` may stand, sizes that keep files readable). Called by `main` and by this module's test. Invariant: it only
//! reads, and every finding names a file and what to do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

mod edges;

/// A file longer than this is two files.
const MAX_FILE_LINES: usize = 800;
/// A function longer than this cannot be read at one glance.
const MAX_FN_LINES: usize = 70;
/// The only places where `unsafe` may stand: kernel contact, the symbol by which embassy finds its clock, and the one
/// call that maps LMDB's file (heed has no safe one).
const UNSAFE_ALLOWED: &[&str] = &[
    "firmware/sys/src/",
    "firmware/init/src/runtime.rs",
    "masterd/daemon/src/replica/store/map.rs",
];
/// Macros that mark unfinished work, and attributes that hide it.
const UNFINISHED: &[&str] = &["todo", "unimplemented", "dbg"];

/// Checks the workspace at `root`; prints each finding and fails if there is one.
pub(crate) fn run(root: &Path) -> Result<()> {
    let findings = check(root)?;
    for finding in &findings {
        println!("tidy: {finding}");
    }
    ensure!(findings.is_empty(), "{} tidy findings", findings.len());
    Ok(())
}

/// All findings, in a stable order.
fn check(root: &Path) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for path in tracked_files(root)? {
        let name = path.to_string_lossy().into_owned();
        if name.ends_with(".rs") {
            let text =
                fs::read_to_string(root.join(&path)).with_context(|| format!("reading {name}"))?;
            check_source(&name, &text, &mut findings);
        } else if name.ends_with("Cargo.toml") {
            check_manifest(&name, &fs::read_to_string(root.join(&path))?, &mut findings);
        }
    }
    edges::check(root, &mut findings)?;
    check_readme(root, &mut findings)?;
    Ok(findings)
}

fn tracked_files(root: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(root)
        .output()
        .context("running git ls-files")?;
    ensure!(
        output.status.success(),
        "git ls-files failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let names = String::from_utf8(output.stdout).context("file names that are not UTF-8")?;
    let files = names
        .split('\0')
        .filter(|name| !name.is_empty())
        .map(PathBuf::from);
    Ok(files.filter(|path| root.join(path).is_file()).collect())
}

fn check_source(name: &str, text: &str, findings: &mut Vec<String>) {
    if !text.starts_with("//!") && !text.starts_with("#![no_main]") {
        findings.push(format!(
            "{name}: begin with a `//!` header: what it is, what it is not, who calls it"
        ));
    }
    let lines = text.lines().count();
    if lines > MAX_FILE_LINES {
        findings.push(format!(
            "{name}: {lines} lines, at most {MAX_FILE_LINES}; find the seam"
        ));
    }
    let file = match syn::parse_file(text) {
        Ok(file) => file,
        Err(error) => return findings.push(format!("{name}: not parsable: {error}")),
    };
    let mut functions = LongFunctions { name, findings };
    functions.visit_file(&file);
    // Tokens, not text: the word in a comment or a string is no matter.
    let tokens: TokenStream = match text.parse() {
        Ok(tokens) => tokens,
        Err(error) => return findings.push(format!("{name}: not tokens: {error}")),
    };
    let unsafe_allowed = UNSAFE_ALLOWED.iter().any(|place| name.starts_with(place));
    check_tokens(name, tokens, unsafe_allowed, findings);
}

fn check_tokens(name: &str, tokens: TokenStream, unsafe_allowed: bool, findings: &mut Vec<String>) {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Group(group) => check_tokens(name, group.stream(), unsafe_allowed, findings),
            TokenTree::Ident(ident) => {
                let line = ident.span().start().line;
                let word = ident.to_string();
                let is_macro =
                    matches!(tokens.peek(), Some(TokenTree::Punct(p)) if p.as_char() == '!');
                if word == "unsafe" && !unsafe_allowed {
                    findings.push(format!("{name}:{line}: `unsafe` belongs in firmware/sys"));
                }
                if is_macro && UNFINISHED.contains(&word.as_str()) {
                    findings.push(format!("{name}:{line}: `{word}!` marks unfinished work"));
                }
                if word == "ignore"
                    && matches!(tokens.peek(), None | Some(TokenTree::Punct(_)))
                    && !name.contains("tidy.rs")
                {
                    findings.push(format!("{name}:{line}: an ignored test is no test"));
                }
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

struct LongFunctions<'a> {
    name: &'a str,
    findings: &'a mut Vec<String>,
}

impl LongFunctions<'_> {
    fn measure(&mut self, ident: &syn::Ident, block: &syn::Block) {
        let span = block.span();
        let lines = span.end().line + 1 - ident.span().start().line;
        if lines > MAX_FN_LINES {
            let (name, line) = (self.name, ident.span().start().line);
            self.findings.push(format!(
                "{name}:{line}: fn {ident} has {lines} lines, at most {MAX_FN_LINES}"
            ));
        }
    }
}

impl<'ast> Visit<'ast> for LongFunctions<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.measure(&item.sig.ident, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.measure(&item.sig.ident, &item.block);
        visit::visit_impl_item_fn(self, item);
    }
}

fn check_manifest(name: &str, text: &str, findings: &mut Vec<String>) {
    if name == "Cargo.toml" {
        let deps = text
            .split("[workspace.dependencies]")
            .nth(1)
            .unwrap_or_default();
        for line in deps.lines().take_while(|line| !line.starts_with('[')) {
            if line.contains('=')
                && !line.starts_with('#')
                && !line.contains("path =")
                && !line.contains(" # ")
            {
                let dependency = line.split('=').next().unwrap_or_default().trim();
                findings.push(format!(
                    "{name}: dependency {dependency} needs a comment that says why it is there"
                ));
            }
        }
    } else if !name.starts_with("tests/fuzz") && !text.contains("[lints]\nworkspace = true") {
        findings.push(format!(
            "{name}: take over the workspace's lints: [lints] workspace = true"
        ));
    }
}

/// The map of the code in README.md names every crate's folder.
fn check_readme(root: &Path, findings: &mut Vec<String>) -> Result<()> {
    let readme = fs::read_to_string(root.join("README.md")).context("reading README.md")?;
    let manifest: toml::Table = fs::read_to_string(root.join("Cargo.toml"))?
        .parse()
        .context("parsing Cargo.toml")?;
    let Some(members) = manifest["workspace"]["members"].as_array() else {
        bail!("Cargo.toml has no members")
    };
    for member in members.iter().filter_map(toml::Value::as_str) {
        if !readme.contains(&format!("`{member}`")) {
            findings.push(format!("README.md: the map of the code lacks `{member}`"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(name: &str, text: &str) -> Vec<String> {
        let mut findings = Vec::new();
        check_source(name, text, &mut findings);
        findings
    }

    #[test]
    fn the_workspace_is_tidy() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        assert_eq!(
            check(&root).expect("readable workspace"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn each_rule_can_fail() {
        assert!(findings("a.rs", "fn main() {}")[0].contains("header"));
        let code = "//! x\nfn f() { unsafe { g() } }";
        assert!(findings("masterd/a.rs", code)[0].contains("firmware/sys"));
        assert!(findings("firmware/sys/src/a.rs", code).is_empty());
        assert!(findings("a.rs", "//! x\nfn f() { todo!() }")[0].contains("unfinished"));
        assert!(findings("a.rs", "//! x\n#[ignore]\nfn f() {}")[0].contains("ignored"));
        let long = format!("//! x\nfn f() {{\n{}}}", "g();\n".repeat(MAX_FN_LINES));
        assert!(findings("a.rs", &long)[0].contains("fn f has"));
        assert!(
            findings("a.rs", &format!("//! x\n{}", "\n".repeat(MAX_FILE_LINES)))[0]
                .contains("seam")
        );
    }

    #[test]
    fn words_in_comments_and_strings_do_not_count() {
        assert!(
            findings(
                "a.rs",
                "//! unsafe\n// todo!()\nconst A: &str = \"unsafe dbg!\";"
            )
            .is_empty()
        );
    }
}
