//! Reading the configuration, with file, line and column in every complaint.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use poolctl_service::{PoolSpec, TargetSpec};
use serde::Deserialize;
use toml::de::DeTable;
use toml::{Table, Value};

use super::place::{Place, find, table};
use super::{Config, Settings};

/// The longest name of a pool.
const MAX_NAME_BYTES: usize = 100;

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error("failed to read the configuration `{}`", .path.display())]
    Read { path: PathBuf, source: io::Error },
    /// It is no TOML.
    #[error("{place}: it is no TOML: {message}")]
    Syntax { place: Place, message: String },
    /// Something stands there twice.
    #[error("{place}: `{name}` stands there twice")]
    Twice { place: Place, name: String },
    /// An unknown key, or a value of the wrong type.
    #[error("{place}: {message}")]
    Bad { place: Place, message: String },
    /// A name that no pool can have.
    #[error("{place}: no pool can be called `{name}`")]
    PoolName { place: Place, name: String },
    /// Nothing says what to run.
    #[error("{place}: `argv` of the pool `{pool}` is empty, so nothing says what to run")]
    NoProgram { place: Place, pool: String },
}

impl ConfigError {
    /// What the person can do.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::PoolName { .. } => Some(format!(
                "a name has letters, digits, `-`, `_` and `.`, begins with a letter or a digit, and has at most \
                 {MAX_NAME_BYTES} bytes"
            )),
            Self::Twice { .. } => Some("each pool is described once: [pools.NAME]".to_owned()),
            Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => Some(
                "poold runs without a configuration too; --config and POOLD_CONFIG name one that is there"
                    .to_owned(),
            ),
            Self::Bad { .. } | Self::Syntax { .. } | Self::NoProgram { .. } => {
                Some("config/poold.toml of poolctl has every setting with its meaning".to_owned())
            }
            Self::Read { .. } => None,
        }
    }
}

/// What a file holds.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    service: Settings,
    pools: BTreeMap<String, PoolSpec>,
}

/// The configuration in `path`; the defaults, if there is none.
pub(crate) fn load(path: Option<&Path>) -> Result<Config, ConfigError> {
    let Some(path) = path else { return Ok(Config::default()) };
    match fs::read_to_string(path) {
        Ok(text) => parse(path, &text),
        Err(source) => Err(ConfigError::Read { path: path.to_path_buf(), source }),
    }
}

/// The configuration in the text of the file `path`.
pub(super) fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
    let place = |offset: usize| Place::of(path, text, offset);
    let root = DeTable::parse(text).map_err(|error| {
        let span = error.span().unwrap_or_default();
        let place = place(span.start);
        match error.message() {
            "duplicate key" => ConfigError::Twice { place, name: text[span].to_owned() },
            message => ConfigError::Syntax { place, message: message.to_owned() },
        }
    })?;
    let root = root.get_ref();
    let file: File = toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let start = place_in_target(root, text, &error).unwrap_or(start);
        ConfigError::Bad { place: place(start), message: message_of(&error) }
    })?;
    for (name, pool) in &file.pools {
        check(root, name, pool, &place)?;
    }
    Ok(Config { service: file.service, pools: file.pools.into_iter().collect() })
}

/// What types cannot say.
fn check(
    root: &DeTable<'_>,
    name: &str,
    pool: &PoolSpec,
    place: &impl Fn(usize) -> Place,
) -> Result<(), ConfigError> {
    if !is_pool_name(name) {
        let start = find(root, &["pools", name]).map_or(0, |found| found.name.start);
        // A name of which nothing is known should not fill a screen either.
        let name = name.escape_debug().take(MAX_NAME_BYTES).collect();
        return Err(ConfigError::PoolName { place: place(start), name });
    }
    match &pool.target {
        TargetSpec::Worker { argv, .. }
        | TargetSpec::Lines { argv, .. }
        | TargetSpec::Command { argv, .. }
            if argv.is_empty() =>
        {
            let start = find(root, &["pools", name, "target", "argv"]).map_or(0, |found| found.value.start);
            Err(ConfigError::NoProgram { place: place(start), pool: name.to_owned() })
        }
        _ => Ok(()),
    }
}

fn is_pool_name(name: &str) -> bool {
    let begins_well = name.starts_with(|letter: char| letter.is_ascii_alphanumeric());
    let is_good = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    begins_well && name.len() <= MAX_NAME_BYTES && name.chars().all(is_good)
}

/// Where in a pool's target the error lies: which kind of target it is decides what may stand in it, so the error only
/// tells the target as a whole. The culprit is what the error goes away without.
fn place_in_target(root: &DeTable<'_>, text: &str, error: &toml::de::Error) -> Option<usize> {
    let span = error.span()?;
    let (_, pools) = root.iter().find(|(name, _)| name.get_ref() == "pools")?;
    let (pool, target) = table(pools)?.iter().find_map(|(pool, settings)| {
        let target = find(table(settings)?, &["target"])?.value;
        (target.start <= span.start && span.end <= target.end || span == target)
            .then_some((pool.get_ref().as_ref(), target))
    })?;
    let file: Table = toml::from_str(text).ok()?;
    let settings = file.get("pools")?.get(pool)?.get("target")?.as_table()?.clone();
    let complaint = |settings: Table| {
        Value::Table(settings).try_into::<TargetSpec>().err().map(|e| e.message().to_owned())
    };
    let whole = complaint(settings.clone())?;
    let culprit = settings.keys().filter(|key| *key != "kind" || whole.contains("variant")).find(|key| {
        let mut without = settings.clone();
        without.remove(key.as_str());
        complaint(without).is_none_or(|other| other != whole)
    });
    let found = culprit.and_then(|key| find(root, &["pools", pool, "target", key]));
    Some(found.map_or(target.start, |found| {
        if whole.starts_with("unknown field") { found.name.start } else { found.value.start }
    }))
}

/// The words of an error, without what is told by its place.
fn message_of(error: &toml::de::Error) -> String {
    let message = error.message();
    message.replace("unknown field", "unknown key").replace("missing field", "what is missing is")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(text: &str) -> String {
        parse(Path::new("poold.toml"), text).unwrap_err().to_string()
    }

    const PYTHON: &str =
        "[pools.a]\ntarget = { kind = \"python\", module = \"math\", function = \"sqrt\" }\n";

    #[test]
    fn complaints_name_file_line_and_column() {
        assert!(
            complaint("[service]\nmax_client = 3\n")
                .starts_with("poold.toml:2:1: unknown key `max_client`, expected")
        );
        assert!(complaint("[services]\n").starts_with("poold.toml:1:2: unknown key `services`"));
        assert!(complaint("[service]\n  max_clients = \"x\"\n").starts_with("poold.toml:2:17: invalid type"));
        assert!(complaint("[service]\nmay_open = \n").starts_with("poold.toml:2:12: it is no TOML"));
        assert!(
            complaint(&format!("{PYTHON}worker = 2\n")).starts_with("poold.toml:3:1: unknown key `worker`")
        );
        assert!(complaint(&format!("{PYTHON}workers = 0\n")).starts_with("poold.toml:3:11: invalid value"));
        assert!(
            complaint("[pools.a]\nworkers = 2\n").starts_with("poold.toml:1:1: what is missing is `target`")
        );
    }

    #[test]
    fn complaints_about_a_target_name_the_place_in_it() {
        let unknown = "[pools.a]\ntarget = { kind = \"python\", modul = \"m\", function = \"f\" }\n";
        assert!(
            complaint(unknown).starts_with("poold.toml:2:29: unknown key `modul`"),
            "{}",
            complaint(unknown)
        );
        let wrong = "[pools.a.target]\nkind = \"command\"\nargv = \"ls\"\n";
        assert!(complaint(wrong).starts_with("poold.toml:3:8: invalid type"), "{}", complaint(wrong));
        let kind = "[pools.a.target]\nkind = \"pyton\"\nmodule = \"m\"\n";
        assert!(
            complaint(kind).starts_with("poold.toml:2:8: unknown variant `pyton`"),
            "{}",
            complaint(kind)
        );
        let empty = "[pools.a]\ntarget = { kind = \"lines\", argv = [] }\n";
        assert!(complaint(empty).starts_with("poold.toml:2:35: `argv` of the pool `a` is empty"));
    }

    #[test]
    fn a_pool_that_is_described_twice_is_told_at_the_second_place() {
        let twice = format!("{PYTHON}{PYTHON}");
        assert_eq!(complaint(&twice), "poold.toml:3:8: `a` stands there twice");
    }

    #[test]
    fn names_that_would_be_paths_or_worse_are_no_names() {
        for name in ["a/b", "..", "", ".a", "a\\u0000", "-a", &"x".repeat(10_000)] {
            let text = PYTHON.replacen("[pools.a]", &format!("[pools.\"{name}\"]"), 1);
            let complaint = complaint(&text);
            assert!(complaint.starts_with("poold.toml:1:8: no pool can be called"), "{complaint}");
            assert!(complaint.len() < 300);
        }
        assert!(parse(Path::new("x"), &PYTHON.replacen("pools.a", "pools.\"0a.b-c_d\"", 1)).is_ok());
    }

    #[test]
    fn users_are_named_or_numbered() {
        let users =
            |text: &str| parse(Path::new("poold.toml"), &format!("[service]\nallow_users = {text}\n"));

        let found = users("[\"root\", 1000]").unwrap().service.allow_users;
        let nobody = users("[1000, \"no such user\"]").unwrap_err().to_string();

        assert_eq!(found.iter().map(|user| user.0).collect::<Vec<_>>(), [0, 1000]);
        assert!(nobody.starts_with("poold.toml:2:22: there is no user `no such user`"), "{nobody}");
    }

    /// The published file with its settings uncommented: `#name = value` is one, `# text` is not.
    fn uncommented() -> String {
        let published = include_str!("../../../../config/poold.toml");
        let settings = published
            .lines()
            .map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with([' ', '#'])).unwrap_or(line));
        settings.fold(String::new(), |text, line| text + line + "\n")
    }

    #[test]
    fn the_published_file_holds_every_setting_with_its_default() {
        let path = Path::new("config/poold.toml");

        let config = parse(path, &uncommented()).unwrap();

        assert_eq!(
            config.service,
            Settings {
                socket: config.service.socket.clone(),
                log: config.service.log.clone(),
                ..Settings::default()
            }
        );
        assert_eq!(parse(path, include_str!("../../../../config/poold.toml")).unwrap(), Config::default());
    }

    #[test]
    fn the_published_file_describes_pools_with_every_setting_and_its_default() {
        let config = parse(Path::new("config/poold.toml"), &uncommented()).unwrap();
        let root = uncommented();
        let root: Table = toml::from_str(&root).unwrap();
        let mut known = std::collections::BTreeSet::new();
        for (name, pool) in &config.pools {
            let bare = format!("[pools.{name}]\ntarget = {}\n", root["pools"][name]["target"]);
            let bare = parse(Path::new("x"), &bare).unwrap().pools.remove(0).1;
            let (mut said, mut default) = (json(pool), json(&bare));
            // What is `none` by default has no value that a file could give.
            let optional: Vec<String> =
                said.keys().filter(|key| !default.contains_key(*key)).cloned().collect();
            known.extend(said.keys().cloned());
            for key in &optional {
                said.remove(key);
            }
            // A table that is empty by default is shown with something in it.
            said.remove("env");
            default.remove("env");
            assert_eq!(said, default, "pool {name}");
        }

        let every = json(&PoolSpec {
            workers: Some(std::num::NonZeroU32::MIN),
            timeout_ms: Some(1),
            max_tasks: Some(1),
            max_rss: Some(1),
            idle_timeout_ms: Some(1),
            cwd: Some("/".into()),
            nice: Some(1),
            ..config.pools[0].1.clone()
        });
        assert_eq!(known, every.keys().cloned().collect());
    }

    fn json(pool: &PoolSpec) -> serde_json::Map<String, serde_json::Value> {
        match serde_json::to_value(pool).unwrap() {
            serde_json::Value::Object(settings) => settings,
            other => panic!("a pool is an object: {other}"),
        }
    }
}
