//! Files that a command writes: there whole under their names, or not at all.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use super::error::CliError;

/// A file in the making. It gets its name with [`OutputFile::finish`]; when that is not called, what stood under the name stays.
pub(super) struct OutputFile {
    path: PathBuf,
    to: To,
}

enum To {
    /// Beside its place, to be renamed.
    Beside(BufWriter<NamedTempFile>),
    /// What cannot be replaced by another file: a pipe, a device, a file in a directory that only holds it.
    Itself(BufWriter<File>),
}

impl OutputFile {
    /// Begins a file.
    ///
    /// # Errors
    /// [`CliError::File`] where nothing can be written there.
    pub(super) fn create(path: &Path) -> Result<Self, CliError> {
        let to = Self::open(path).map_err(|cause| CliError::File { path: path.to_owned(), cause })?;
        Ok(Self { path: path.to_owned(), to })
    }

    fn open(path: &Path) -> io::Result<To> {
        let there = fs::metadata(path).ok();
        let itself = || Ok(To::Itself(BufWriter::new(File::create(path)?)));
        // Opening says why a directory is no file.
        if there.as_ref().is_some_and(|there| !there.is_file()) {
            return itself();
        }
        let mut builder = tempfile::Builder::new();
        builder.prefix(".bklog-").suffix(".tmp");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            // As any program makes a file: the umask takes away what it takes away.
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        match builder.tempfile_in(directory(&real(path))) {
            Ok(file) => {
                if let Some(there) = there {
                    file.as_file().set_permissions(there.permissions())?;
                }
                Ok(To::Beside(BufWriter::new(file)))
            }
            // A directory that takes no new file may hold one that can be written; else this says why not.
            Err(_) => itself(),
        }
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// [`CliError::File`]; then what stood under the name stays.
    pub(super) fn finish(self) -> Result<(), CliError> {
        let Self { path, to } = self;
        let done = match to {
            To::Beside(writer) => writer
                .into_inner()
                .map_err(io::IntoInnerError::into_error)
                .and_then(|file| file.persist(real(&path)).map_err(|error| error.error).map(drop)),
            To::Itself(mut writer) => writer.flush(),
        };
        done.map_err(|cause| CliError::File { path, cause })
    }

    /// Writes a file at once, and makes the directory that it is to stand in.
    ///
    /// # Errors
    /// [`CliError::File`].
    pub(super) fn save(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
        let failed = |cause| CliError::File { path: path.to_owned(), cause };
        fs::create_dir_all(directory(path)).map_err(failed)?;
        let mut file = Self::create(path)?;
        file.write_all(bytes).map_err(failed)?;
        file.finish()
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.to {
            To::Beside(writer) => writer.write(bytes),
            To::Itself(writer) => writer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.to {
            To::Beside(writer) => writer.flush(),
            To::Itself(writer) => writer.flush(),
        }
    }
}

/// The file behind a link: the link stays one.
fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn write(path: &Path, text: &str, finish: bool) {
        let mut file = OutputFile::create(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        if finish {
            file.finish().unwrap();
        }
    }

    #[test]
    fn a_file_is_there_whole_or_as_it_was() {
        let place = tempfile::tempdir().unwrap();
        let (path, link) = (place.path().join("a.html"), place.path().join("link"));
        write(&path, "lost", false);
        assert!(!path.exists());
        write(&path, "first", true);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        write(&path, "lost", false);
        assert_eq!(fs::read_to_string(&path).unwrap(), "first");
        symlink("a.html", &link).unwrap();
        write(&link, "second", true);
        assert_eq!(fs::read_to_string(&path).unwrap(), "second");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2, "nothing else is left");
    }

    #[test]
    fn devices_are_written_and_directories_refused() {
        write(Path::new("/dev/null"), "x", true);
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
        let place = tempfile::tempdir().unwrap();
        assert!(matches!(OutputFile::create(place.path()), Err(CliError::File { .. })));
        assert!(matches!(OutputFile::create(&place.path().join("no/such")), Err(CliError::File { .. })));
        OutputFile::save(&place.path().join("new/such"), b"x").unwrap();
    }
}
