//! From a source to its files.

use crate::hub::{HubOptions, Progress};
use crate::{ModelFiles, Source, SourceError, Wanted, builtin, folder, hub};

impl Source {
    /// Finds the source's files, and downloads those of a hub model that the cache lacks.
    ///
    /// Only the names, sizes and small manifests are read: loading is [`Weights::open`](crate::Weights::open) and
    /// [`ModelFiles`]'s methods, on a compute lane.
    ///
    /// # Errors
    /// Any variant of [`SourceError`] but those about tensors.
    ///
    /// # Cancel safety
    /// Cancelling keeps what has been downloaded: the next call resumes it.
    pub async fn resolve(
        &self,
        wanted: &Wanted,
        hub: &HubOptions,
        progress: &dyn Progress,
    ) -> Result<ModelFiles, SourceError> {
        match self {
            Self::Hub(model) => Box::pin(hub::resolve(model, wanted, hub, progress)).await,
            Self::Folder(path) => Box::pin(folder::resolve_folder(path, wanted)).await,
            Self::File(path) => Box::pin(folder::resolve_file(path, wanted)).await,
            Self::Builtin(name) => builtin::resolve(name.as_deref(), wanted),
        }
    }
}
