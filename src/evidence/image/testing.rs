//! Images for tests, written as the tools write them.

use std::fs;
use std::io::Write;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::evidence::context::content::hex;

/// What goes into a layer: a path with content, `path -> target` for a link, `path => first` for a second name.
pub(crate) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_mtime(1);
        let link = [(" -> ", tar::EntryType::Symlink), (" => ", tar::EntryType::Link)];
        match link.iter().find_map(|(mark, kind)| Some((name.split_once(mark)?, *kind))) {
            Some(((name, target), kind)) => {
                header.set_entry_type(kind);
                header.set_size(0);
                builder.append_link(&mut header, name, target).unwrap();
            }
            None => {
                header.set_size(content.len() as u64);
                builder.append_data(&mut header, name, *content).unwrap();
            }
        }
    }
    builder.into_inner().unwrap()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(bytes).unwrap();
    gz.finish().unwrap()
}

pub(crate) fn sha256(content: &[u8]) -> String {
    hex(&Sha256::digest(content))
}

/// One image in the making.
#[derive(Default)]
pub(crate) struct TestImage {
    /// What made each entry of the history, and the layer where there is one.
    pub(crate) history: Vec<(String, Option<Vec<u8>>)>,
    pub(crate) workdir: String,
    pub(crate) architecture: String,
    pub(crate) name: Option<String>,
    /// When the layers were made.
    pub(crate) created: Option<String>,
}

impl TestImage {
    pub(crate) fn new() -> Self {
        Self { architecture: "amd64".to_owned(), ..Self::default() }
    }

    pub(crate) fn layer(mut self, created_by: &str, files: &[(&str, &[u8])]) -> Self {
        self.history.push((created_by.to_owned(), Some(tar(files))));
        self
    }

    pub(crate) fn packed(mut self, created_by: &str, layer: Vec<u8>) -> Self {
        self.history.push((created_by.to_owned(), Some(layer)));
        self
    }

    pub(crate) fn nothing(mut self, created_by: &str) -> Self {
        self.history.push((created_by.to_owned(), None));
        self
    }

    pub(crate) fn workdir(mut self, workdir: &str) -> Self {
        workdir.clone_into(&mut self.workdir);
        self
    }

    pub(crate) fn architecture(mut self, architecture: &str) -> Self {
        architecture.clone_into(&mut self.architecture);
        self
    }

    pub(crate) fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    pub(crate) fn created(mut self, created: &str) -> Self {
        self.created = Some(created.to_owned());
        self
    }

    pub(crate) fn config(&self) -> Vec<u8> {
        let history: Vec<_> = self
            .history
            .iter()
            .map(|(text, layer)| match layer {
                Some(_) => serde_json::json!({ "created_by": text, "created": self.created }),
                None => serde_json::json!({ "created_by": text, "empty_layer": true }),
            })
            .collect();
        let diff_ids: Vec<String> = self.layers().map(|layer| format!("sha256:{}", sha256(layer))).collect();
        let config = serde_json::json!({"os": "linux", "architecture": self.architecture, "config": {"WorkingDir": self.workdir}, "rootfs": {"type": "layers", "diff_ids": diff_ids}, "history": history});
        serde_json::to_vec(&config).unwrap()
    }

    fn layers(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.history.iter().filter_map(|(_, layer)| layer.as_ref())
    }

    /// The digest of its config: the id of the image.
    pub(crate) fn id(&self) -> String {
        format!("sha256:{}", sha256(&self.config()))
    }
}

/// An archive as docker save of old writes it.
pub(crate) fn save(path: &Path, images: &[TestImage]) {
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    let mut manifest = Vec::new();
    for image in images {
        let mut names = Vec::new();
        for layer in image.layers() {
            let name = format!("{}/layer.tar", sha256(layer));
            names.push(name.clone());
            if !files.iter().any(|(known, _)| *known == name) {
                files.push((name, layer.clone()));
            }
        }
        let config = format!("{}.json", sha256(&image.config()));
        files.push((config.clone(), image.config()));
        manifest.push(serde_json::json!({"Config": config, "RepoTags": image.name.iter().collect::<Vec<_>>(), "Layers": names}));
    }
    files.push(("manifest.json".to_owned(), serde_json::to_vec(&manifest).unwrap()));
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, content)| (name.as_str(), content.as_slice())).collect();
    fs::write(path, tar(&files)).unwrap();
}

/// A layout in a directory as BuildKit writes it: the images stand under one index, each with an attestation beside it. Gives the
/// digest of that index.
pub(crate) fn layout(root: &Path, images: &[TestImage]) -> String {
    fs::create_dir_all(root.join("blobs/sha256")).unwrap();
    let put = |content: &[u8]| {
        let digest = sha256(content);
        fs::write(root.join("blobs/sha256").join(&digest), content).unwrap();
        format!("sha256:{digest}")
    };
    let mut manifests = Vec::new();
    for image in images {
        let layers: Vec<_> = image.layers().map(|layer| serde_json::json!({"digest": put(layer)})).collect();
        let manifest = serde_json::json!({"config": {"digest": put(&image.config())}, "layers": layers});
        let digest = put(&serde_json::to_vec(&manifest).unwrap());
        manifests.push(serde_json::json!({"digest": digest, "platform": {"os": "linux", "architecture": image.architecture}}));
        manifests.push(serde_json::json!({"digest": "sha256:00", "platform": {"os": "unknown", "architecture": "unknown"}}));
    }
    let index = put(&serde_json::to_vec(&serde_json::json!({"manifests": manifests})).unwrap());
    let name = images.first().and_then(|image| image.name.clone());
    let annotations = name.map_or_else(|| serde_json::json!({}), |name| serde_json::json!({"io.containerd.image.name": name}));
    let top = serde_json::json!({"manifests": [{"digest": index, "annotations": annotations}]});
    fs::write(root.join("index.json"), serde_json::to_vec(&top).unwrap()).unwrap();
    index
}
