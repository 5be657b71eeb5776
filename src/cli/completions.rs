//! `ringroad completions`: scripts with which shells complete the command line.

use clap::ArgMatches;
use clap_complete::generate;

use crate::cli::grammar::grammar;
use crate::cli::subcommand::arguments;
use crate::cli::values::UsageError;

/// The shells that have completions.
const SHELLS: [(&str, Shell); 3] = [
    ("bash", Shell::Bash),
    ("zsh", Shell::Zsh),
    ("fish", Shell::Fish),
];

/// A shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shell {
    /// Bash.
    Bash,
    /// Zsh.
    Zsh,
    /// Fish.
    Fish,
}

/// The script for a shell.
#[must_use]
pub fn completions(shell: Shell) -> Vec<u8> {
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    generate(shell, &mut grammar(), "ringroad", &mut script);
    script
}

pub(super) fn read(matches: &ArgMatches) -> Result<Shell, UsageError> {
    let mut wanted = arguments(matches);
    let shell = match (wanted.next(), wanted.next()) {
        (Some(wanted), None) => SHELLS.iter().find(|(name, _)| wanted == *name),
        _ => None,
    };
    match shell {
        Some((_, shell)) => Ok(*shell),
        None => Err(UsageError::new(
            "completions requires a shell: bash, zsh or fish".to_owned(),
        )),
    }
}
