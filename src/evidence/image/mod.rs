//! What an image holds: archives of `docker save` and OCI layouts (as an archive or a directory).
//!
//! An archive can hold several images: those of several names, or one for each platform. A layer is read when something in it is asked
//! for, once, as a stream: its files are hashed on the way, and no file is held in memory. Only an archive that is compressed as a whole is
//! written to a temporary file.
//!
//! Facts: the config's `history` has an entry for each instruction, and those without `empty_layer` belong to the layers in order (OCI
//! image spec, `config.md`). BuildKit writes what it ran and the mark `# buildkit`; the legacy builder and buildah write
//! `/bin/sh -c #(nop) COPY dir:DIGEST in /app `.

mod layer;
#[cfg(test)]
pub(crate) mod testing;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde::Deserialize;

use self::layer::Layer;
pub use self::layer::{FileId, Found};
use super::context::content::ContentId;
use super::image_name;

/// Largest JSON document of an image that is read.
const MAX_JSON: u64 = 16 << 20;
/// Entries of an archive or a layer that are read at most.
const MAX_ENTRIES: usize = 5_000_000;
/// Indexes in indexes that are followed.
const MAX_DEPTH: usize = 4;
/// Images of one archive that are read at most.
const MAX_IMAGES: usize = 1_000;
/// Bytes that an archive may unpack to.
const MAX_UNPACKED: u64 = 64 << 30;
/// Links that a path is followed through at most, as Linux has it.
const MAX_LINKS: usize = 40;

/// Why an image cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ImageError {
    /// The archive or a layer breaks off or cannot be read.
    #[error("the image {path} cannot be read: {cause}; save it again (docker save -o FILE NAME)")]
    Io {
        /// The archive.
        path: PathBuf,
        /// Why.
        cause: Rc<io::Error>,
    },
    /// It is something else.
    #[error("{0} is no image: give an archive of docker save, or an OCI layout")]
    NotAnImage(PathBuf),
    /// It holds too much.
    #[error("the image {0} holds too many files")]
    TooLarge(PathBuf),
}

/// One entry of an image's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The instruction: `COPY`, in capitals; what stands first where it is none.
    pub keyword: String,
    /// The instruction as it was run, flags included, without the mark of the builder.
    pub text: String,
    /// The layer that it made, where it made one.
    pub layer: Option<usize>,
    /// When its layer was made; the cache hands a layer on with the time of its making. `None` where the config does not say.
    pub created: Option<jiff::Timestamp>,
}

/// An image.
#[derive(Debug)]
pub struct Image {
    path: PathBuf,
    /// Its names, as people write them: `app:latest`.
    pub names: Vec<String>,
    /// The digests that a log can name it by: of its index, its manifest, its config.
    pub digests: Vec<String>,
    /// Its platform, `os/arch[/variant]`; `None` where the config does not say.
    pub platform: Option<String>,
    /// How it was made, from the base up.
    pub history: Vec<Made>,
    /// The working directory that it ends with.
    pub workdir: String,
    layers: Vec<Rc<Layer>>,
    /// The digest of each layer as it is unpacked.
    diff_ids: Vec<String>,
}

#[derive(Deserialize)]
struct SavedManifest {
    #[serde(rename = "Config")]
    config: String,
    #[serde(rename = "RepoTags", default)]
    names: Option<Vec<String>>,
    #[serde(rename = "Layers")]
    layers: Vec<String>,
}

#[derive(Deserialize, Clone)]
struct Descriptor {
    digest: String,
    #[serde(default)]
    platform: Option<Platform>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize, Clone)]
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
    os: Option<String>,
    #[serde(default)]
    architecture: Option<String>,
    #[serde(default)]
    variant: Option<String>,
    #[serde(default)]
    history: Option<Vec<HistoryEntry>>,
    #[serde(default)]
    config: Option<RunConfig>,
    #[serde(default)]
    rootfs: Option<RootFs>,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Option<Vec<String>>,
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
    #[serde(default)]
    created: Option<String>,
}

/// Where the blobs of an image are.
#[derive(Debug)]
enum Blobs {
    Directory(PathBuf),
    Archive {
        path: PathBuf,
        /// Offset and size of each file in the archive.
        found: HashMap<String, (u64, u64)>,
        /// The archive unpacked, where it was compressed as a whole; it is removed with this.
        _unpacked: Option<tempfile::TempPath>,
    },
}

impl Blobs {
    fn open(path: &Path) -> Result<Self, ImageError> {
        let unreadable = |cause| ImageError::io(path, cause);
        if path.is_dir() {
            return Ok(Self::Directory(path.to_owned()));
        }
        let unpacked = unpacked_archive(path)?;
        let shown = path;
        let path = unpacked.as_deref().unwrap_or(path);
        let file = File::open(path).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len();
        let mut found = HashMap::new();
        let mut links: Vec<(String, String)> = Vec::new();
        let mut archive = tar::Archive::new(file);
        let entries = archive.entries_with_seek().map_err(unreadable)?;
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(_) if found.is_empty() => return Err(ImageError::NotAnImage(shown.to_owned())),
                Err(cause) => return Err(unreadable(cause)),
            };
            if found.len().saturating_add(links.len()) >= MAX_ENTRIES {
                return Err(ImageError::TooLarge(shown.to_owned()));
            }
            let name = clean(&entry.path_bytes());
            // docker save of old writes a layer that occurs twice once, and the other time a link to it; either can come first.
            match entry.link_name_bytes().filter(|_| entry.header().entry_type().is_symlink()) {
                Some(target) => {
                    let directory = name.rsplit_once('/').map_or("", |(directory, _)| directory);
                    let target = clean(format!("{directory}/{}", String::from_utf8_lossy(&target)).as_bytes());
                    links.push((name, target));
                }
                None => {
                    let (offset, size) = (entry.raw_file_position(), entry.size());
                    if offset.saturating_add(size) > length {
                        return Err(unreadable(io::Error::new(io::ErrorKind::UnexpectedEof, format!("it is cut off within {name}"))));
                    }
                    found.insert(name, (offset, size));
                }
            }
        }
        for (name, target) in links {
            if let Some(place) = found.get(&target).copied() {
                found.insert(name, place);
            }
        }
        Ok(Self::Archive { path: path.to_owned(), found, _unpacked: unpacked })
    }

    fn read(&self, name: &str) -> io::Result<Box<dyn Read>> {
        match self {
            Self::Directory(root) => Ok(Box::new(File::open(root.join(name))?)),
            Self::Archive { path, found, .. } => {
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

/// An archive that is compressed as a whole (`docker save app | gzip`), unpacked into a temporary file: its parts are read in another order
/// than they stand in. `None` where it is not compressed.
fn unpacked_archive(path: &Path) -> Result<Option<tempfile::TempPath>, ImageError> {
    let unreadable = |cause| ImageError::io(path, cause);
    let mut file = File::open(path).map_err(unreadable)?;
    let mut magic = Vec::new();
    file.by_ref().take(4).read_to_end(&mut magic).map_err(unreadable)?;
    file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    if !is_compressed(&magic) {
        return Ok(None);
    }
    let stream = layer::unpacked(Box::new(io::BufReader::new(file))).map_err(unreadable)?;
    let mut to = tempfile::NamedTempFile::new().map_err(unreadable)?;
    let written = io::copy(&mut stream.take(MAX_UNPACKED), &mut to).map_err(unreadable)?;
    if written >= MAX_UNPACKED {
        return Err(ImageError::TooLarge(path.to_owned()));
    }
    Ok(Some(to.into_temp_path()))
}

/// Says whether bytes begin as gzip or zstd do.
fn is_compressed(magic: &[u8]) -> bool {
    magic.starts_with(&[0x1f, 0x8b]) || magic.starts_with(&[0x28, 0xb5, 0x2f, 0xfd])
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

/// What a manifest says: config and layers by their names in the archive, and what the image is called.
struct Described {
    config: String,
    layers: Vec<String>,
    names: Vec<String>,
    digests: Vec<String>,
}

impl ImageError {
    fn io(path: &Path, cause: io::Error) -> Self {
        Self::Io { path: path.to_owned(), cause: Rc::new(cause) }
    }
}

impl Image {
    /// Reads what an archive or a layout holds: every image of it, without its layers.
    ///
    /// # Errors
    /// See [`ImageError`].
    pub fn read_all(path: &Path) -> Result<Vec<Self>, ImageError> {
        let unreadable = |cause| ImageError::io(path, cause);
        let blobs = Rc::new(Blobs::open(path)?);
        let saved = match blobs.json::<Vec<SavedManifest>>("manifest.json") {
            Ok(manifests) => Some(saved(manifests)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(unreadable(error)),
        };
        // A layout says more: platforms, and the digests that the log has. docker save of today writes both, older ones only the first.
        let described = match (oci(&blobs), saved) {
            (Ok(mut described), Some(saved)) => {
                for image in &mut described {
                    let same = saved.iter().filter(|saved| saved.config == image.config);
                    image.names.extend(same.flat_map(|saved| saved.names.iter().cloned()));
                }
                described
            }
            (Ok(described), None) => described,
            (Err(_), Some(saved)) => saved,
            (Err(error), None) if error.kind() == io::ErrorKind::NotFound => return Err(ImageError::NotAnImage(path.to_owned())),
            (Err(error), None) => return Err(unreadable(error)),
        };
        if described.is_empty() {
            return Err(ImageError::NotAnImage(path.to_owned()));
        }
        let mut known: HashMap<String, Rc<Layer>> = HashMap::new();
        let mut images = Vec::new();
        for image in described.into_iter().take(MAX_IMAGES) {
            let config: Config = blobs.json(&image.config).map_err(unreadable)?;
            let layers = image
                .layers
                .iter()
                .map(|name| known.entry(name.clone()).or_insert_with(|| Rc::new(Layer::new(blobs.clone(), name.clone()))).clone());
            let layers: Vec<_> = layers.collect();
            let parts = [config.os, config.architecture, config.variant];
            let platform = parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
            let mut names: Vec<String> = image.names.iter().map(|name| image_name::tagged(name)).collect();
            names.sort();
            names.dedup();
            images.push(Self {
                path: path.to_owned(),
                names,
                digests: image.digests,
                platform: Some(platform).filter(|platform| platform.contains('/')),
                history: history(config.history.unwrap_or_default(), layers.len()),
                workdir: config.config.and_then(|config| config.workdir).unwrap_or_default(),
                layers,
                diff_ids: config.rootfs.and_then(|rootfs| rootfs.diff_ids).unwrap_or_default(),
            });
        }
        Ok(images)
    }

    /// The number of its layers.
    pub fn layers(&self) -> usize {
        self.layers.len()
    }

    /// What is at a path with the layers up to and with `up_to` (an index, the lowest is 0), symbolic links on the way followed.
    ///
    /// # Errors
    /// A layer that is needed for the answer cannot be read.
    pub fn file(&self, up_to: usize, path: &str) -> Result<Option<FileId>, ImageError> {
        let mut path = path.to_owned();
        for _ in 0..MAX_LINKS {
            match self.entry(up_to, &path)? {
                Some(Found::File(id)) => return Ok(Some(id)),
                Some(Found::Link(target)) => path = beside(&path, &target),
                None => match self.through_links(up_to, &path)? {
                    Some(real) => path = real,
                    None => return Ok(None),
                },
            }
        }
        Ok(None)
    }

    /// What a layer stack has under a name, a link as a link; `None` where nothing is there, or a directory.
    ///
    /// # Errors
    /// A layer that is needed for the answer cannot be read.
    pub fn entry(&self, up_to: usize, path: &str) -> Result<Option<Found>, ImageError> {
        for layer in self.layers.iter().take(up_to.saturating_add(1)).rev() {
            let contents = layer.contents(&self.path)?;
            if let Some(found) = contents.find(path) {
                return Ok(Some(found));
            }
            if contents.hides(path) {
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// The path with the first directory of it that is a link replaced by what it points to; `None` where none is.
    fn through_links(&self, up_to: usize, path: &str) -> Result<Option<String>, ImageError> {
        for (at, _) in path.match_indices('/') {
            let (directory, rest) = path.split_at(at);
            if let Some(Found::Link(target)) = self.entry(up_to, directory)? {
                return Ok(Some(clean(format!("{}/{rest}", beside(directory, &target)).as_bytes())));
            }
        }
        Ok(None)
    }

    /// The number of files and links in a layer.
    ///
    /// # Errors
    /// The layer cannot be read.
    pub fn files(&self, layer: usize) -> Result<usize, ImageError> {
        self.layers.get(layer).map_or(Ok(0), |layer| Ok(layer.contents(&self.path)?.len()))
    }

    /// The digest of a layer as it is unpacked, where the config names it.
    pub fn diff_id(&self, layer: usize) -> Option<&str> {
        self.diff_ids.get(layer).map(String::as_str)
    }

    /// What the files of a layer are called, without their directories.
    ///
    /// # Errors
    /// The layer cannot be read.
    pub fn file_names(&self, layer: usize) -> Result<HashSet<&str>, ImageError> {
        let Some(layer) = self.layers.get(layer) else {
            return Ok(HashSet::new());
        };
        Ok(layer.contents(&self.path)?.paths().map(|path| path.rsplit('/').next().unwrap_or(path)).collect())
    }

    /// The git repositories that a layer holds, with the commit that each has checked out, by their directories.
    ///
    /// # Errors
    /// The layer cannot be read.
    pub fn clones(&self, layer: usize) -> Result<Vec<(String, String)>, ImageError> {
        self.layers.get(layer).map_or_else(|| Ok(Vec::new()), |layer| Ok(layer.contents(&self.path)?.clones()))
    }

    /// The paths of the files of a layer with this content, whatever they are called, sorted.
    ///
    /// # Errors
    /// The layer cannot be read.
    pub fn with_content(&self, layer: usize, id: &ContentId) -> Result<Vec<&str>, ImageError> {
        let Some(layer) = self.layers.get(layer) else {
            return Ok(Vec::new());
        };
        let mut paths: Vec<&str> = layer.contents(&self.path)?.with_content(id).collect();
        paths.sort_unstable();
        Ok(paths)
    }

    /// Says whether any layer holds a file with this content, by the name that git has for it.
    ///
    /// # Errors
    /// A layer cannot be read.
    pub fn holds_blob(&self, id: &str) -> Result<bool, ImageError> {
        for layer in &self.layers {
            if layer.contents(&self.path)?.has_blob(id) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Where a link leads to.
fn beside(link: &str, target: &str) -> String {
    if target.starts_with('/') {
        return clean(target.as_bytes());
    }
    let directory = link.rsplit_once('/').map_or("", |(directory, _)| directory);
    clean(format!("{directory}/{target}").as_bytes())
}

fn saved(manifests: Vec<SavedManifest>) -> Vec<Described> {
    let described = manifests.into_iter().map(|manifest| {
        // `ID.json` of old, `blobs/sha256/ID` of today: the id of the image is the digest of its config.
        let id = manifest.config.rsplit('/').next().unwrap_or_default();
        let digests = vec![format!("sha256:{}", id.strip_suffix(".json").unwrap_or(id))];
        Described { config: manifest.config, layers: manifest.layers, names: manifest.names.unwrap_or_default(), digests }
    });
    described.collect()
}

/// The images of an OCI layout.
fn oci(blobs: &Blobs) -> io::Result<Vec<Described>> {
    let index: Manifest = blobs.json("index.json")?;
    let mut found = Vec::new();
    for descriptor in &index.manifests {
        let mut names = Vec::new();
        if let Some(name) = descriptor.annotations.get("io.containerd.image.name") {
            names.push(name.clone());
        } else if let Some(name) = descriptor.annotations.get("org.opencontainers.image.ref.name").filter(|name| name.contains([':', '/']))
        {
            names.push(name.clone());
        }
        descend(blobs, descriptor, &names, &[], 0, &mut found)?;
    }
    match found.is_empty() {
        true => Err(io::Error::new(io::ErrorKind::InvalidData, "the index names no image")),
        false => Ok(found),
    }
}

fn descend(
    blobs: &Blobs,
    descriptor: &Descriptor,
    names: &[String],
    above: &[String],
    depth: usize,
    found: &mut Vec<Described>,
) -> io::Result<()> {
    // An attestation stands beside its image with a platform that is none.
    if depth > MAX_DEPTH || found.len() >= MAX_IMAGES || descriptor.platform.as_ref().is_some_and(|platform| platform.os == "unknown") {
        return Ok(());
    }
    let manifest: Manifest = match blobs.json(&blob(&descriptor.digest)?) {
        Ok(manifest) => manifest,
        // docker save of one platform names the others in the index and leaves them out.
        Err(error) if error.kind() == io::ErrorKind::NotFound && depth > 0 => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut digests = above.to_vec();
    digests.push(descriptor.digest.clone());
    if let Some(config) = &manifest.config {
        digests.push(config.digest.clone());
        let layers = manifest.layers.iter().map(|layer| blob(&layer.digest)).collect::<io::Result<_>>()?;
        found.push(Described { config: blob(&config.digest)?, layers, names: names.to_vec(), digests: digests.clone() });
    }
    for next in &manifest.manifests {
        descend(blobs, next, names, &digests, depth + 1, found)?;
    }
    Ok(())
}

/// The history with the layer of each entry.
fn history(entries: Vec<HistoryEntry>, layers: usize) -> Vec<Made> {
    let mut next = 0;
    let made = entries.into_iter().map(|entry| {
        let layer = (entry.empty_layer != Some(true) && next < layers).then(|| {
            next += 1;
            next - 1
        });
        let text = entry.created_by.unwrap_or_default();
        let text = text.strip_suffix("# buildkit").unwrap_or(&text).trim();
        let text = text.strip_prefix("/bin/sh -c #(nop)").unwrap_or(text).trim();
        let keyword = text.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
        // What was never built has Go's zero time, and what is built to be the same each time often that of 1970.
        let created = entry.created.and_then(|time| time.parse().ok()).filter(|time: &jiff::Timestamp| time.as_second() > 0);
        Made { keyword, text: text.to_owned(), layer, created }
    });
    made.collect()
}

/// A path of an archive without `./` and slashes at its ends.
fn clean(path: &[u8]) -> String {
    super::go_match::below_root(&String::from_utf8_lossy(path))
}

#[cfg(test)]
mod tests;
