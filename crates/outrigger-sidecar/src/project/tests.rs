use std::ffi::OsString;
use std::fs;

use super::*;

fn words(text: &str) -> Vec<OsString> {
    text.split(' ').filter(|word| !word.is_empty()).map(OsString::from).collect()
}

fn guess(files: &[(&str, &str)], command: &str) -> Guess {
    let folder = tempfile::tempdir().expect("a folder");
    let directory = folder.path().join("shop-pricing");
    fs::create_dir(&directory).expect("a folder");
    for (name, text) in files {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().expect("inside")).expect("a folder");
        fs::write(path, text).expect("writes");
    }
    look(&directory, &words(command))
}

fn told(guessed: Option<&Guessed>) -> Option<(&str, &str)> {
    guessed.map(|guessed| (guessed.value.as_str(), guessed.from.as_str()))
}

#[test]
fn each_kind_of_project_tells_its_name_and_version() {
    for (file, text, name, version, language) in [
        (
            "package.json",
            "{\"name\":\"@shop/storefront\",\"version\":\"1.0.0\"}",
            "storefront",
            "1.0.0",
            "node",
        ),
        (
            "pyproject.toml",
            "[project]\nname='pricing'\nversion='2.1'\n",
            "pricing",
            "2.1",
            "python",
        ),
        (
            "pyproject.toml",
            "[tool.poetry]\nname='pricing'\nversion='2.1'\n",
            "pricing",
            "2.1",
            "python",
        ),
        ("Cargo.toml", "[package]\nname='orders'\nversion='0.1.0'\n", "orders", "0.1.0", "rust"),
        (
            "pom.xml",
            "<project><artifactId>billing</artifactId><version>3</version></project>",
            "billing",
            "3",
            "java",
        ),
    ] {
        let guess = guess(&[(file, text)], "");
        assert_eq!(told(guess.service.as_ref()), Some((name, file)));
        assert_eq!(told(guess.version.as_ref()), Some((version, file)));
        assert_eq!(told(guess.language.as_ref()), Some((language, file)));
        assert_eq!(guess.warnings, Vec::<String>::new());
    }
}

#[test]
fn a_module_of_go_is_named_by_the_end_of_its_path() {
    let text = "// x\nmodule example.com/shop/inventory/v2 // y\n\ngo 1.24\n";
    let guess = guess(&[("go.mod", text)], "");
    assert_eq!(told(guess.service.as_ref()), Some(("inventory", "go.mod")));
    assert_eq!(told(guess.language.as_ref()), Some(("go", "go.mod")));
}

#[test]
fn spring_s_own_name_beats_maven_s_and_its_health_is_known() {
    let pom = "<project><artifactId>billing-service</artifactId><version>1</version><dependencies>
        <dependency><artifactId>spring-boot-starter-actuator</artifactId></dependency>
        </dependencies></project>";
    let yaml = "spring:\n  application:\n    name: billing\nserver:\n  port: 8081\n";
    let guess = guess(&[("pom.xml", pom), ("src/main/resources/application.yml", yaml)], "");
    let from = "src/main/resources/application.yml";
    assert_eq!(told(guess.service.as_ref()), Some(("billing", from)));
    assert_eq!(told(guess.port.as_ref()), Some(("8081", from)));
    assert_eq!(guess.version.expect("a version").from, "pom.xml");
    assert_eq!(guess.health.expect("a path").value, "/actuator/health");
}

#[test]
fn a_port_that_is_filled_in_from_outside_is_no_port() {
    let pom = "<project><artifactId>billing</artifactId></project>";
    for (file, text) in [
        ("application.yml", "server:\n  port: ${PORT:8080}\n"),
        ("application.properties", "server.port=${PORT:8080}\n"),
    ] {
        assert_eq!(guess(&[("pom.xml", pom), (file, text)], "").port, None, "{file}");
    }
    let files = [("pom.xml", pom), ("application.properties", "server.port = 8081\n")];
    assert_eq!(guess(&files, "").port.expect("a port").value, "8081");
}

#[test]
fn gradle_s_name_stands_in_its_settings() {
    let guess = guess(
        &[
            ("build.gradle", "version = '1.2'\n"),
            ("settings.gradle", "rootProject.name = 'billing'\n"),
        ],
        "./gradlew bootRun",
    );
    assert_eq!(told(guess.service.as_ref()), Some(("billing", "settings.gradle")));
    assert_eq!(told(guess.version.as_ref()), Some(("1.2", "build.gradle")));
}

#[test]
fn the_command_decides_between_projects_of_several_languages() {
    let files = [
        ("package.json", "{\"name\":\"tools\"}"),
        ("pyproject.toml", "[project]\nname = 'pricing'\n"),
    ];
    let python = guess(&files, "python3 app.py");
    assert_eq!(told(python.service.as_ref()), Some(("pricing", "pyproject.toml")));
    assert_eq!(told(python.language.as_ref()), Some(("python", "the command, python3")));
    let node = guess(&files, "node server.js");
    assert_eq!(told(node.service.as_ref()), Some(("tools", "package.json")));
}

#[test]
fn a_script_s_own_folder_comes_before_the_working_directory() {
    let files = [
        ("pyproject.toml", "[project]\nname = 'all'\n"),
        ("services/pricing/pyproject.toml", "[project]\nname = 'pricing'\n"),
        ("services/pricing/src/app.py", ""),
    ];
    let guess = guess(&files, "python3 services/pricing/src/app.py");
    let wanted = Some(("pricing", "services/pricing/pyproject.toml"));
    assert_eq!(told(guess.service.as_ref()), wanted);
}

#[test]
fn without_a_project_archive_program_and_folder_tell_a_name() {
    let jar = guess(&[("billing-1.4.2.jar", "")], "java -jar billing-1.4.2.jar");
    assert_eq!(told(jar.service.as_ref()), Some(("billing", "billing-1.4.2.jar")));
    assert_eq!(told(jar.version.as_ref()), Some(("1.4.2", "billing-1.4.2.jar")));
    let program = guess(&[("inventory", "#!/bin/sh\n")], "./inventory");
    assert_eq!(
        told(program.service.as_ref()),
        Some(("inventory", "the program's name, inventory"))
    );
    assert_eq!(told(program.language.as_ref()), Some(("shell", "the command, sh")));
    let script = guess(&[("app.py", "")], "python3 app.py");
    assert_eq!(told(script.service.as_ref()), Some(("shop-pricing", "the folder's name")));
}

#[test]
fn a_broken_huge_or_strange_file_is_a_warning() {
    let huge = " ".repeat(300 << 10);
    for (file, text) in [
        ("package.json", "{"),
        ("pyproject.toml", "= ="),
        ("Cargo.toml", "[package"),
        ("pom.xml", "<html></html>"),
        ("go.mod", "nothing"),
        ("package.json", &huge),
        ("Cargo.toml", "\u{0}\u{1}"),
    ] {
        let guess = guess(&[(file, text)], "");
        assert_eq!(guess.warnings.len(), 1, "{file}: {:?}", guess.warnings);
        assert!(guess.warnings[0].starts_with(&format!("{file} says nothing: ")));
        assert_eq!(told(guess.service.as_ref()), Some(("shop-pricing", "the folder's name")));
    }
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("package.json")).expect("a folder");
    fs::write(folder.path().join("pyproject.toml"), b"\xff\xfe").expect("writes");
    assert_eq!(look(folder.path(), &[]).warnings.len(), 2);
}
