//! What the command itself says: the language, and the file that it runs.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use outrigger::core::Language;

use super::file::bytes;

/// What a command says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// The language, and from what that was told.
    pub(super) language: Option<(Language, String)>,
    /// The script, program or archive, as a path.
    pub(super) file: Option<PathBuf>,
    /// Whether the file is a program of its own rather than what an interpreter reads.
    pub(super) is_program: bool,
}

/// Deepest `sh -c`, `env` and the like inside each other.
const DEEPEST: usize = 4;

pub(super) fn said(directory: &Path, command: &[OsString]) -> Said {
    let words: Vec<&OsStr> = command.iter().map(OsString::as_os_str).collect();
    look(directory, &words, DEEPEST)
}

fn look(directory: &Path, words: &[&OsStr], deepest: usize) -> Said {
    let Some((first, rest)) = words.split_first() else { return Said::default() };
    let path = Path::new(first);
    let name = path.file_name().unwrap_or(first).to_string_lossy().to_ascii_lowercase();
    let name = name.strip_suffix(".exe").unwrap_or(&name);
    if deepest == 0 {
        return Said::default();
    }
    if is_wrapper(name) {
        let rest = without_options(name, rest);
        return look(directory, rest, deepest - 1);
    }
    if is_shell(name) {
        return shell(directory, name, rest, deepest);
    }
    match interpreter(name) {
        Some(language) => Said {
            language: Some((language, format!("the command, {name}"))),
            file: rest.iter().find_map(|word| existing(directory, word)),
            is_program: false,
        },
        None => program(directory, first, name, rest, deepest),
    }
}

/// Programs that run another one, told after their options.
fn is_wrapper(name: &str) -> bool {
    matches!(
        name,
        "env" | "exec" | "nohup" | "setsid" | "nice" | "time" | "timeout" | "tini" | "dumb-init"
    )
}

fn is_shell(name: &str) -> bool {
    matches!(name, "sh" | "bash" | "dash" | "ash" | "zsh" | "ksh" | "busybox")
}

/// What follows the options and assignments of a wrapper.
fn without_options<'w, 's>(name: &str, words: &'w [&'s OsStr]) -> &'w [&'s OsStr] {
    let is_option = |word: &&OsStr| {
        let text = word.to_string_lossy();
        text.starts_with('-')
            || (name == "env" && text.contains('='))
            || (name == "timeout" && text.starts_with(|c: char| c.is_ascii_digit()))
    };
    let taken = words.iter().take_while(|word| is_option(word)).count();
    &words[taken..]
}

/// The language of what is called by this name.
fn interpreter(name: &str) -> Option<Language> {
    let bare = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    Some(match bare {
        "python" | "pypy" | "uvicorn" | "gunicorn" | "hypercorn" | "daphne" | "flask" | "uv"
        | "poetry" | "pipenv" | "celery" | "fastapi" => Language::Python,
        "node" | "nodejs" | "npm" | "npx" | "yarn" | "pnpm" | "tsx" | "ts-node" | "nodemon"
        | "next" => Language::Node,
        "java" | "mvn" | "mvnw" | "gradle" | "gradlew" | "jshell" | "quarkus" => Language::Java,
        "kotlin" | "kotlinc" => Language::Kotlin,
        "scala" | "sbt" => Language::Scala,
        "go" | "air" => Language::Go,
        "cargo" => Language::Rust,
        "dotnet" => Language::DotNet,
        "ruby" | "bundle" | "rails" | "puma" | "rackup" | "unicorn" => Language::Ruby,
        "php" | "php-fpm" | "frankenphp" => Language::Php,
        "mix" | "elixir" | "iex" => Language::Elixir,
        "erl" | "escript" | "rebar" => Language::Erlang,
        "swift" => Language::Swift,
        "deno" | "bun" | "perl" | "lua" | "luajit" | "julia" | "dart" | "raku" => {
            return Language::named(bare);
        }
        _ => return None,
    })
}

/// `sh -c 'exec python app.py'` is a python program; `sh serve.sh` a script of the shell.
fn shell(directory: &Path, name: &str, rest: &[&OsStr], deepest: usize) -> Said {
    let mut words = rest.iter();
    while let Some(word) = words.next() {
        let text = word.to_string_lossy();
        let is_command = text.starts_with('-') && !text.starts_with("--") && text.ends_with('c');
        if is_command {
            let script = words.next().map(|script| script.to_string_lossy().into_owned());
            let script = script.unwrap_or_default();
            let last = last_command(&script);
            let said = look(directory, &last, deepest - 1);
            if said.language.is_some() {
                return said;
            }
            break;
        }
        if text.starts_with('-') {
            continue;
        }
        return Said {
            language: Some((Language::Shell, format!("the command, {name}"))),
            file: existing(directory, word),
            is_program: existing(directory, word).is_some(),
        };
    }
    Said { language: Some((Language::Shell, format!("the command, {name}"))), ..Said::default() }
}

/// The words of the last command of a line: what keeps running.
fn last_command(script: &str) -> Vec<&OsStr> {
    let last = script.split([';', '&', '|', '\n']).rfind(|part| !part.trim().is_empty());
    let words = last.unwrap_or_default().split_whitespace();
    let plain = words.skip_while(|word| word.contains('=') && !word.starts_with('-'));
    plain.map(|word| OsStr::new(word.trim_matches(['"', '\'']))).collect()
}

/// A program of its own: what its first bytes say.
fn program(directory: &Path, first: &OsStr, name: &str, rest: &[&OsStr], deepest: usize) -> Said {
    let Some(file) = found(directory, first) else { return Said::default() };
    // Enough for the head of a program and the names of its sections are read apart.
    let head = bytes(&file, 4_096).unwrap_or_default();
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line).into_owned();
        let mut words: Vec<&OsStr> = line.split_whitespace().map(OsStr::new).collect();
        words.push(file.as_os_str());
        words.extend(rest);
        let said = look(directory, &words, deepest - 1);
        return Said { file: Some(file.clone()), is_program: true, ..said };
    }
    let language =
        elf_language(&file).map(|language| (language, format!("the program itself, {name}")));
    Said { language, file: Some(file), is_program: true }
}

/// A program by its path, or found on `PATH`.
fn found(directory: &Path, first: &OsStr) -> Option<PathBuf> {
    let path = Path::new(first);
    if path.components().count() > 1 {
        return Some(directory.join(path)).filter(|path| path.is_file());
    }
    let places = std::env::var_os("PATH")?;
    std::env::split_paths(&places).map(|place| place.join(first)).find(|path| path.is_file())
}

/// A word that names a file that is there.
fn existing(directory: &Path, word: &OsStr) -> Option<PathBuf> {
    let text = word.to_string_lossy();
    if text.starts_with('-') {
        return None;
    }
    let path = directory.join(word);
    path.is_file().then_some(path)
}

/// The language of a program of Linux: Go's toolchain leaves sections of its own, Rust's its name
/// among the compilers.
fn elf_language(file: &Path) -> Option<Language> {
    let head = bytes(file, 64).ok()?;
    if !head.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    // Piece by piece: with what debuggers want to know, a program has hundreds of megabytes.
    let program = File::open(file).ok()?;
    let read = |from: usize, length: usize| {
        let mut piece = vec![0; length];
        program.read_exact_at(&mut piece, from.try_into().ok()?).ok()?;
        Some(piece)
    };
    elf::language(&elf::sections(&read)?)
}

/// Sections of a 64-bit little-endian program.
mod elf {
    use outrigger::core::Language;

    /// Names of the sections, and the text of `.comment`.
    #[derive(Debug, Default)]
    pub(super) struct Sections {
        names: Vec<String>,
        comment: Vec<u8>,
    }

    fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
        bytes.get(at..at.checked_add(N)?)?.try_into().ok()
    }

    fn word(bytes: &[u8], at: usize) -> Option<usize> {
        number(bytes, at).map(u64::from_le_bytes).and_then(|n| n.try_into().ok())
    }

    fn half(bytes: &[u8], at: usize) -> Option<usize> {
        number(bytes, at).map(|n| u16::from_le_bytes(n).into())
    }

    /// The most that is read at once: names and comments have a few hundred bytes.
    const MOST: usize = 1 << 20;

    /// `read` gives so many bytes from there on, if they are in the file.
    pub(super) fn sections(read: &dyn Fn(usize, usize) -> Option<Vec<u8>>) -> Option<Sections> {
        let head = read(0, 64)?;
        let table = word(&head, 0x28)?;
        let (size, count, names) = (half(&head, 0x3a)?, half(&head, 0x3c)?, half(&head, 0x3e)?);
        let length = count.checked_mul(size).filter(|length| *length <= MOST)?;
        let headers = read(table, length)?;
        // A section's content.
        let part = |index: usize| {
            let header = index.checked_mul(size)?;
            let from = word(&headers, header.checked_add(0x18)?)?;
            let length = word(&headers, header.checked_add(0x20)?)?;
            if length <= MOST { read(from, length) } else { None }
        };
        let texts = part(names)?;
        let mut found = Sections::default();
        for index in 0..count {
            let header = index.checked_mul(size)?;
            let at = number(&headers, header).map(u32::from_le_bytes)?;
            let name = texts.get(at as usize..)?.split(|byte| *byte == 0).next()?;
            let name = String::from_utf8_lossy(name).into_owned();
            if name == ".comment" {
                found.comment = part(index).unwrap_or_default();
            }
            found.names.push(name);
        }
        Some(found)
    }

    pub(super) fn language(sections: &Sections) -> Option<Language> {
        if sections.names.iter().any(|name| name == ".go.buildinfo" || name == ".note.go.buildid") {
            return Some(Language::Go);
        }
        let comment = String::from_utf8_lossy(&sections.comment);
        comment.contains("rustc version").then_some(Language::Rust)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn language(words: &[&str]) -> Option<Language> {
        let words: Vec<&OsStr> = words.iter().map(OsStr::new).collect();
        look(Path::new("/"), &words, DEEPEST).language.map(|(language, _)| language)
    }

    #[test]
    fn interpreters_and_their_tools_tell_the_language() {
        for (words, wanted) in [
            (&["python3.12", "app.py"][..], Language::Python),
            (&["/usr/bin/node", "server.js"], Language::Node),
            (&["java", "-jar", "billing.jar"], Language::Java),
            (&["go", "run", "."], Language::Go),
            (&["uvicorn", "app:app"], Language::Python),
            (&["env", "A=b", "-i", "ruby", "x.rb"], Language::Ruby),
            (&["sh", "-c", "exec python3 -m http.server $PORT"], Language::Python),
            (&["bash", "-ec", "cd /srv && A=b node server.js"], Language::Node),
            (&["sh", "-c", "while true; do nc -l; done"], Language::Shell),
            (&["timeout", "-k", "5s", "60", "node", "x.js"], Language::Node),
            (&["sh", "serve.sh"], Language::Shell),
        ] {
            assert_eq!(language(words), Some(wanted), "{words:?}");
        }
    }

    #[test]
    fn what_nobody_knows_is_not_guessed() {
        for words in [&["frobnicate"][..], &[], &["env"], &["./not-there"]] {
            assert_eq!(language(words), None, "{words:?}");
        }
    }

    #[test]
    fn commands_inside_each_other_end_somewhere() {
        let words = ["env"; 100];
        assert_eq!(language(&words), None);
    }

    #[test]
    fn a_program_of_rust_is_known_by_what_its_compiler_left() {
        let own = std::env::current_exe().expect("a path");
        assert_eq!(elf_language(&own), Some(Language::Rust), "{}", own.display());
    }

    #[test]
    fn a_broken_program_is_no_program() {
        let own = std::env::current_exe().expect("a path");
        let mut bytes = bytes(&own, 4_096).expect("reads");
        for at in [0x28, 0x3a, 0x3c, 0x3e] {
            bytes[at] = 0xff;
            let read = |from: usize, length: usize| {
                bytes.get(from..from.checked_add(length)?).map(<[u8]>::to_vec)
            };
            assert!(elf::sections(&read).is_none(), "{at:#x}");
        }
    }
}
