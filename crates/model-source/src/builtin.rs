//! Sources compiled into the program.

use std::collections::BTreeMap;

use builtin_models::{BuiltinModel, MODELS};

use crate::files::{FileData, ModelFile, ModelFiles};
use crate::{Source, SourceError, Wanted, wanted};

/// The files of the built-in model of that name, or of the first one of the modality.
pub(crate) fn resolve(name: Option<&str>, wanted: &Wanted) -> Result<ModelFiles, SourceError> {
    let (model, sought) = match name {
        Some(name) => (builtin_models::find(name), format!("model {name:?}")),
        None => (builtin_models::default_for(&wanted.modality), format!("model for {}", wanted.modality)),
    };
    let Some(model) = model else {
        let names: Vec<&str> = MODELS.iter().map(|model| model.name).collect();
        return Err(SourceError::UnknownBuiltin {
            wanted: sought,
            known: if names.is_empty() { "is none".to_owned() } else { format!("are {}", names.join(", ")) },
        });
    };
    let source = Source::Builtin(name.map(str::to_owned));
    files(source, model, wanted)
}

fn files(source: Source, model: &'static BuiltinModel, wanted: &Wanted) -> Result<ModelFiles, SourceError> {
    let place = format!("builtin:{}", model.name);
    let files: BTreeMap<String, ModelFile> = model
        .files
        .iter()
        .map(|(name, bytes)| {
            let label = format!("{place}/{name}");
            ((*name).to_owned(), ModelFile::new(label, FileData::Bytes(bytes), bytes.len() as u64))
        })
        .collect();
    let weights = if wanted.weights {
        let names: Vec<String> = files.keys().cloned().collect();
        let mut folders = Vec::new();
        for manifest in wanted::MANIFESTS {
            if let Some(file) = files.get(*manifest) {
                folders.extend(wanted::subfolders(manifest, &file.read()?, file.label())?);
            }
        }
        let found = wanted::weights(&names, &folders, None, &wanted.modality, &place, str::to_owned)?;
        found.into_iter().map(str::to_owned).collect()
    } else {
        Vec::new()
    };
    Ok(ModelFiles::new(source, place, model.version.to_owned(), files, weights))
}
