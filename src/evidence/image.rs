//! What an image holds: archives of `docker save` and OCI layouts (as an archive or a directory), read layer by layer.
//!
//! Only layers that a COPY or ADD made are read; the others say nothing of the code. A layer is unpacked as a stream and its files are
//! hashed on the way: nothing is written, and no file is held in memory. Deleted files (OCI image spec, "whiteouts") are heeded.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::context::content::hex;

/// Largest JSON document of an image that is read.
const MAX_JSON: u64 = 16 << 20;
/// Entries of an archive or a layer that are read at most.
const MAX_ENTRIES: usize = 5_000_000;
/// Indexes in indexes that are followed.
const MAX_DEPTH: usize = 4;

/// Why an image cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The archive or a layer breaks off or cannot be read.
    #[error("the image {path} cannot be read: {cause}")]
    Io {
        /// The archive.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// It is something else.
    #[error("{0} is no image: give an archive of docker save, or an OCI layout")]
    NotAnImage(PathBuf),
    /// It holds too much.
    #[error("the image {0} holds too many files")]
    TooLarge(PathBuf),
}

/// One layer with what made it.
#[derive(Debug, Default)]
pub struct Layer {
    /// The command of the image's history, without its mark `# buildkit`.
    pub created_by: String,
    /// SHA-256 of the regular files, by path without a leading slash; of layers that a COPY or ADD made only.
    files: HashMap<String, String>,
    /// Paths that the layer deletes.
    removed: HashSet<String>,
    /// Directories whose content below is deleted.
    opaque: HashSet<String>,
}

/// An image.
#[derive(Debug, Default)]
pub struct Image {
    /// The layers from the lowest up.
    pub layers: Vec<Layer>,
    /// The working directory that it ends with.
    pub workdir: String,
}

#[derive(Deserialize)]
struct SavedManifest {
    #[serde(rename = "Config")]
    config: String,
    #[serde(rename = "Layers")]
    layers: Vec<String>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
    #[serde(default)]
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    #[serde(default)]
    os: String,
}

#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    manifests: Vec<Descriptor>,
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
}

#[derive(Deserialize, Default)]
struct Config {
    #[serde(default)]
    history: Vec<HistoryEntry>,
    #[serde(default)]
    config: Option<RunConfig>,
}

#[derive(Deserialize)]
struct RunConfig {
    #[serde(rename = "WorkingDir", default)]
    workdir: Option<String>,
}

#[derive(Deserialize)]
struct HistoryEntry {
    #[serde(default)]
    created_by: Option<String>,
    #[serde(default)]
    empty_layer: Option<bool>,
}

/// Where the blobs of an image are.
enum Blobs {
    Directory(PathBuf),
    /// Offset and size of each file in the archive.
    Archive(PathBuf, HashMap<String, (u64, u64)>),
}

impl Blobs {
    fn open(path: &Path) -> Result<Self, ImageError> {
        let unreadable = |cause| ImageError::Io { path: path.to_owned(), cause };
        if path.is_dir() {
            return Ok(Self::Directory(path.to_owned()));
        }
        let file = File::open(path).map_err(unreadable)?;
        let mut found = HashMap::new();
        let mut archive = tar::Archive::new(file);
        let entries = archive.entries_with_seek().map_err(unreadable)?;
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(_) if found.is_empty() => return Err(ImageError::NotAnImage(path.to_owned())),
                Err(cause) => return Err(unreadable(cause)),
            };
            if found.len() >= MAX_ENTRIES {
                return Err(ImageError::TooLarge(path.to_owned()));
            }
            let name = clean(&entry.path_bytes());
            // docker save of old writes a layer twice, the second time as a link to the first.
            match entry.link_name_bytes().filter(|_| entry.header().entry_type().is_symlink()) {
                Some(target) => {
                    let directory = name.rsplit_once('/').map_or("", |(directory, _)| directory);
                    let target = clean(format!("{directory}/{}", String::from_utf8_lossy(&target)).as_bytes());
                    if let Some(place) = found.get(&target).copied() {
                        found.insert(name, place);
                    }
                }
                None => {
                    found.insert(name, (entry.raw_file_position(), entry.size()));
                }
            }
        }
        Ok(Self::Archive(path.to_owned(), found))
    }

    fn read(&self, name: &str) -> io::Result<Box<dyn Read>> {
        match self {
            Self::Directory(root) => Ok(Box::new(File::open(root.join(name))?)),
            Self::Archive(path, found) => {
                let (offset, size) =
                    found.get(name).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{name} is missing")))?;
                let mut file = File::open(path)?;
                file.seek(SeekFrom::Start(*offset))?;
                Ok(Box::new(file.take(*size)))
            }
        }
    }

    fn json<T: for<'de> Deserialize<'de>>(&self, name: &str) -> io::Result<T> {
        let mut bytes = Vec::new();
        self.read(name)?.take(MAX_JSON).read_to_end(&mut bytes)?;
        serde_json::from_slice(&bytes).map_err(|error| {
            let what = if error.is_eof() { "it breaks off; save the image again".to_owned() } else { error.to_string() };
            io::Error::new(io::ErrorKind::InvalidData, format!("{name}: {what}"))
        })
    }
}

/// The blob of a digest; only what can be a digest becomes a path.
fn blob(digest: &str) -> io::Result<String> {
    match digest.split_once(':') {
        Some((kind, value)) if [kind, value].iter().all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric())) => {
            Ok(format!("blobs/{kind}/{value}"))
        }
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "a digest of the image is malformed")),
    }
}

impl Image {
    /// Reads an image; of several in one archive the first.
    ///
    /// # Errors
    /// See [`ImageError`].
    pub fn read(path: &Path) -> Result<Self, ImageError> {
        let unreadable = |cause| ImageError::Io { path: path.to_owned(), cause };
        let blobs = Blobs::open(path)?;
        let saved: io::Result<Vec<SavedManifest>> = blobs.json("manifest.json");
        let (config, layers) = match saved.map(|manifests| manifests.into_iter().next()) {
            Ok(Some(manifest)) => (manifest.config, manifest.layers),
            Ok(None) => return Err(ImageError::NotAnImage(path.to_owned())),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unreadable(error)),
            Err(_) => match oci(&blobs) {
                Ok(found) => found,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(ImageError::NotAnImage(path.to_owned())),
                Err(error) => return Err(unreadable(error)),
            },
        };
        let config: Config = blobs.json(&config).map_err(unreadable)?;
        let mut made_by = config.history.iter().filter(|entry| entry.empty_layer != Some(true)).map(|entry| {
            let text = entry.created_by.as_deref().unwrap_or_default();
            text.strip_suffix("# buildkit").unwrap_or(text).trim().to_owned()
        });
        let mut image = Self { layers: Vec::new(), workdir: config.config.and_then(|config| config.workdir).unwrap_or_default() };
        for name in layers {
            let mut layer = Layer { created_by: made_by.next().unwrap_or_default(), ..Layer::default() };
            if layer.created_by.starts_with("COPY ") || layer.created_by.starts_with("ADD ") {
                let stream = blobs.read(&name).and_then(unpacked).map_err(unreadable)?;
                layer.unpack(stream, path)?;
            }
            image.layers.push(layer);
        }
        Ok(image)
    }

    /// SHA-256 of a file as it is with the layers up to this one; `None` where it is not there, or in no layer that was read.
    pub fn file(&self, up_to: usize, path: &str) -> Option<&str> {
        for layer in self.layers.iter().take(up_to + 1).rev() {
            if let Some(found) = layer.files.get(path) {
                return Some(found);
            }
            let above = path.match_indices('/').map(|(at, _)| path.get(..at).unwrap_or_default());
            let mut gone = above.chain([path]);
            if gone.any(|part| layer.removed.contains(part) || (part != path && layer.opaque.contains(part))) {
                return None;
            }
        }
        None
    }
}

/// Config and layers of an OCI layout.
fn oci(blobs: &Blobs) -> io::Result<(String, Vec<String>)> {
    let mut manifest: Manifest = blobs.json("index.json")?;
    for _ in 0..MAX_DEPTH {
        if let Some(config) = &manifest.config {
            let layers = manifest.layers.iter().map(|layer| blob(&layer.digest)).collect::<io::Result<_>>()?;
            return Ok((blob(&config.digest)?, layers));
        }
        // An attestation stands beside its image with a platform that is none.
        let is_image = |descriptor: &&Descriptor| descriptor.platform.as_ref().is_none_or(|platform| platform.os != "unknown");
        let Some(next) = manifest.manifests.iter().find(is_image) else {
            break;
        };
        manifest = blobs.json(&blob(&next.digest)?)?;
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "the index names no image"))
}

/// A layer's archive, whatever it is compressed with.
fn unpacked(mut stream: Box<dyn Read>) -> io::Result<Box<dyn Read>> {
    let mut magic = [0; 4];
    let mut length = 0;
    while length < magic.len() {
        match stream.read(magic.get_mut(length..).unwrap_or_default())? {
            0 => break,
            more => length += more,
        }
    }
    let whole = io::Cursor::new(magic.get(..length).unwrap_or_default().to_vec()).chain(stream);
    Ok(match magic {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(whole)),
        [0x28, 0xb5, 0x2f, 0xfd] => Box::new(zstd::Decoder::new(whole)?),
        _ => Box::new(whole),
    })
}

impl Layer {
    fn unpack(&mut self, stream: impl Read, path: &Path) -> Result<(), ImageError> {
        let unreadable = |cause| ImageError::Io { path: path.to_owned(), cause };
        let mut archive = tar::Archive::new(stream);
        for (number, entry) in archive.entries().map_err(unreadable)?.enumerate() {
            let mut entry = entry.map_err(unreadable)?;
            if number >= MAX_ENTRIES {
                return Err(ImageError::TooLarge(path.to_owned()));
            }
            let name = clean(&entry.path_bytes());
            let (directory, base) = name.rsplit_once('/').unwrap_or(("", &name));
            if base == ".wh..wh..opq" {
                self.opaque.insert(directory.to_owned());
            } else if let Some(gone) = base.strip_prefix(".wh.") {
                let gone = if directory.is_empty() { gone.to_owned() } else { format!("{directory}/{gone}") };
                self.removed.insert(gone);
            } else if entry.header().entry_type().is_hard_link() {
                let target = entry.link_name_bytes().map(|target| clean(&target));
                if let Some(digest) = target.and_then(|target| self.files.get(&target).cloned()) {
                    self.files.insert(name, digest);
                }
            } else if entry.header().entry_type().is_file() {
                let mut hasher = Sha256::new();
                let mut piece = vec![0; 32 * 1024];
                loop {
                    match entry.read(&mut piece).map_err(unreadable)? {
                        0 => break,
                        length => hasher.update(piece.get(..length).unwrap_or_default()),
                    }
                }
                self.files.insert(name, hex(&hasher.finalize()));
            }
        }
        Ok(())
    }
}

/// A path of an archive without `./` and slashes at its ends.
fn clean(path: &[u8]) -> String {
    super::go_match::below_root(&String::from_utf8_lossy(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, content) in files {
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            let mut header = header.clone();
            builder.append_data(&mut header, name, *content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn sha(content: &[u8]) -> String {
        hex(&Sha256::digest(content))
    }

    const CONFIG: &[u8] = br#"{"config":{"WorkingDir":"/app"},"history":[{"created_by":"/bin/sh -c #(nop) base"},{"created_by":"ENV a","empty_layer":true},{"created_by":"COPY . /app # buildkit"},{"created_by":"COPY b /app/ # buildkit"}]}"#;

    #[test]
    fn a_saved_image_with_compressed_layers_and_whiteouts() {
        let first = tar(&[("./app/a", b"one"), ("app/d/x", b"x"), ("app/d/y", b"y")]);
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(&first).unwrap();
        let second = zstd::encode_all(&*tar(&[("app/b", b"two"), ("app/.wh.a", b""), ("app/d/.wh..wh..opq", b"")]), 1).unwrap();
        let manifest = br#"[{"Config":"c.json","Layers":["0.tar","1.tar","2.tar"]}]"#;
        let archive = tar(&[
            ("0.tar", b"not read"),
            ("1.tar", &gz.finish().unwrap()),
            ("2.tar", &second),
            ("c.json", CONFIG),
            ("manifest.json", manifest),
        ]);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image.tar");
        std::fs::write(&path, &archive).unwrap();
        let image = Image::read(&path).unwrap();
        assert_eq!(image.layers[1].created_by, "COPY . /app");
        assert_eq!(image.file(1, "app/a"), Some(sha(b"one").as_str()));
        assert_eq!(image.file(1, "app/d/x"), Some(sha(b"x").as_str()));
        assert_eq!(image.file(2, "app/a"), None);
        assert_eq!(image.file(2, "app/d/x"), None);
        assert_eq!(image.file(2, "app/b"), Some(sha(b"two").as_str()));
        // Cut in the middle of a layer.
        std::fs::write(&path, &archive[..archive.len() / 2]).unwrap();
        assert!(Image::read(&path).is_err());
    }

    #[test]
    fn an_oci_layout_in_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        std::fs::create_dir_all(root.join("blobs/sha256")).unwrap();
        let put = |content: &[u8]| {
            let digest = sha(content);
            std::fs::write(root.join("blobs/sha256").join(&digest), content).unwrap();
            format!("sha256:{digest}")
        };
        let (config, base, layer) = (put(CONFIG), put(b"-"), put(&tar(&[("app/a", b"one")])));
        let manifest =
            put(format!(r#"{{"config":{{"digest":"{config}"}},"layers":[{{"digest":"{base}"}},{{"digest":"{layer}"}}]}}"#).as_bytes());
        let index =
            put(format!(r#"{{"manifests":[{{"digest":"sha256:0","platform":{{"os":"unknown"}}}},{{"digest":"{manifest}"}}]}}"#).as_bytes());
        std::fs::write(root.join("index.json"), format!(r#"{{"manifests":[{{"digest":"{index}"}}]}}"#)).unwrap();
        assert_eq!(Image::read(root).unwrap().file(1, "app/a"), Some(sha(b"one").as_str()));
        std::fs::write(root.join("index.json"), r#"{"manifests":[{"digest":"sha256:../../x"}]}"#).unwrap();
        assert!(matches!(Image::read(root), Err(ImageError::Io { .. })));
    }

    #[test]
    fn what_is_no_image_is_said() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Image::read(dir.path()), Err(ImageError::NotAnImage(_))));
        let path = dir.path().join("x");
        std::fs::write(&path, "no archive at all ".repeat(100)).unwrap();
        assert!(matches!(Image::read(&path), Err(ImageError::NotAnImage(_))));
        std::fs::write(&path, tar(&[("a", b"a")])).unwrap();
        assert!(matches!(Image::read(&path), Err(ImageError::NotAnImage(_))));
    }
}
