//! `pom.xml`, and what its framework adds.

use super::file::Folder;
use super::{Guess, Guessed, spring};

const FILE: &str = "pom.xml";

pub(super) fn read(folder: &mut Folder) -> Option<Guess> {
    let text = folder.text(FILE)?;
    let Some(pom) = Pom::read(&text) else {
        folder.warn(FILE, "it is not a project of Maven");
        return None;
    };
    let from = folder.name(FILE);
    let mut guess = spring::read(folder, &text);
    let name = pom.artifact.map(|name| Guessed::new(name, from.clone()));
    let version = pom.version.map(|version| Guessed::new(version, from.clone()));
    let language = Guessed::new("java", from);
    guess.fill(Guess { service: name, version, language: Some(language), ..Guess::NOTHING });
    Some(guess)
}

/// What a project of Maven says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Pom {
    artifact: Option<String>,
    version: Option<String>,
}

impl Pom {
    /// Reads the few elements that matter. No entity is expanded and no other file is opened, so
    /// the text can be anybody's.
    fn read(text: &str) -> Option<Self> {
        let mut path: Vec<&str> = Vec::new();
        let mut pom = Self::default();
        let mut parents = None;
        let mut properties: Vec<(&str, &str)> = Vec::new();
        let mut is_project = false;
        let mut rest = text;
        while let Some(at) = rest.find('<') {
            let value = rest[..at].trim();
            match path.as_slice() {
                ["project", "artifactId"] if !value.is_empty() => pom.artifact = Some(value.into()),
                ["project", "version"] if !value.is_empty() => pom.version = Some(value.into()),
                ["project", "parent", "version"] if !value.is_empty() => parents = Some(value),
                ["project", "properties", name] if !value.is_empty() => {
                    properties.push((name, value));
                }
                _ => {}
            }
            rest = &rest[at..];
            let end = ["<!--", "<![CDATA[", "<?", "<!"].into_iter().find(|s| rest.starts_with(s));
            let close = match end {
                Some("<!--") => "-->",
                Some("<![CDATA[") => "]]>",
                Some("<?") => "?>",
                _ => ">",
            };
            let length = rest.find(close)? + close.len();
            let tag = &rest[..length];
            rest = &rest[length..];
            if end.is_some() {
                continue;
            }
            if tag.starts_with("</") {
                path.pop();
            } else if !tag.ends_with("/>") {
                let name = tag[1..tag.len() - 1].split_whitespace().next().unwrap_or_default();
                is_project |= path.is_empty() && name == "project";
                path.push(name);
            }
        }
        let resolved = |value: String| match value.strip_prefix("${") {
            None => Some(value),
            Some(inner) => {
                let name = inner.strip_suffix('}')?;
                let found = properties.iter().find(|(there, _)| *there == name);
                found.map(|(_, value)| (*value).to_owned()).filter(|value| !value.contains("${"))
            }
        };
        pom.version = pom.version.or_else(|| parents.map(str::to_owned)).and_then(resolved);
        pom.artifact = pom.artifact.and_then(resolved);
        is_project.then_some(pom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_project_counts_and_not_its_parent_or_what_it_uses() {
        let pom = Pom::read(
            "<?xml version=\"1.0\"?><!-- <artifactId>no</artifactId> -->
             <project xmlns=\"x\"><parent><artifactId>starter</artifactId>
             <version>3.5.0</version></parent><artifactId>billing</artifactId>
             <version>${revision}</version><properties><revision>1.4.2</revision></properties>
             <dependencies><dependency><artifactId>web</artifactId></dependency></dependencies>
             </project>",
        );
        let wanted = Pom { artifact: Some("billing".into()), version: Some("1.4.2".into()) };
        assert_eq!(pom, Some(wanted));
    }

    #[test]
    fn a_version_is_inherited_and_a_broken_file_says_nothing() {
        let text = "<project><parent><version>2.0</version></parent><artifactId>a</artifactId>";
        assert_eq!(Pom::read(text).expect("reads").version.as_deref(), Some("2.0"));
        for broken in ["", "<html></html>", "<project", "<!-- ", "no"] {
            assert_eq!(Pom::read(broken), None, "{broken}");
        }
    }
}
