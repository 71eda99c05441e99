//! Writing small GGUF files.

/// The type numbers of metadata.
pub(crate) const U8: u32 = 0;
pub(crate) const U16: u32 = 2;
pub(crate) const I32: u32 = 5;
pub(crate) const U32: u32 = 4;
pub(crate) const F32: u32 = 6;
pub(crate) const BOOL: u32 = 7;
pub(crate) const STRING: u32 = 8;
pub(crate) const ARRAY: u32 = 9;

/// A file that is being put together.
#[derive(Clone)]
pub(crate) struct GgufFile {
    pub(crate) version: u32,
    /// Each with its key, its type and its bytes.
    metadata: Vec<(String, u32, Vec<u8>)>,
    tensors: Vec<Tensor>,
    alignment: usize,
}

#[derive(Clone)]
struct Tensor {
    name: String,
    /// Innermost axis first.
    axes: Vec<u64>,
    type_number: u32,
    data: Vec<u8>,
}

/// A string as the format has it.
pub(crate) fn string(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    [&(text.len() as u64).to_le_bytes(), text].concat()
}

impl Default for GgufFile {
    fn default() -> Self {
        Self { version: 3, metadata: Vec::new(), tensors: Vec::new(), alignment: 32 }
    }
}

impl GgufFile {
    pub(crate) fn raw(mut self, key: &str, type_number: u32, bytes: Vec<u8>) -> Self {
        self.metadata.push((key.to_owned(), type_number, bytes));
        self
    }

    pub(crate) fn text(self, key: &str, text: &str) -> Self {
        self.raw(key, STRING, string(text))
    }

    pub(crate) fn flag(self, key: &str, flag: bool) -> Self {
        self.raw(key, BOOL, vec![flag.into()])
    }

    pub(crate) fn number(self, key: &str, number: u32) -> Self {
        self.raw(key, U32, number.to_le_bytes().to_vec())
    }

    pub(crate) fn array<B: AsRef<[u8]>>(
        self,
        key: &str,
        element: u32,
        items: impl IntoIterator<Item = B>,
    ) -> Self {
        let (mut count, mut content) = (0u64, Vec::new());
        for item in items {
            count += 1;
            content.extend_from_slice(item.as_ref());
        }
        let bytes = [&element.to_le_bytes()[..], &count.to_le_bytes(), &content].concat();
        self.raw(key, ARRAY, bytes)
    }

    pub(crate) fn texts<S: AsRef<str>>(self, key: &str, texts: impl IntoIterator<Item = S>) -> Self {
        self.array(key, STRING, texts.into_iter().map(|text| string(text.as_ref())))
    }

    /// Aligns the data to this, and says so.
    pub(crate) fn aligned(mut self, alignment: u32) -> Self {
        self.alignment = alignment as usize;
        self.number("general.alignment", alignment)
    }

    /// Adds a tensor, its axes innermost first.
    pub(crate) fn tensor(mut self, name: &str, axes: &[u64], type_number: u32, data: Vec<u8>) -> Self {
        self.tensors.push(Tensor { name: name.to_owned(), axes: axes.to_vec(), type_number, data });
        self
    }

    /// The header's bytes, up to where the data begins.
    pub(crate) fn header(&self) -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(self.version.to_le_bytes());
        bytes.extend((self.tensors.len() as u64).to_le_bytes());
        bytes.extend((self.metadata.len() as u64).to_le_bytes());
        for (key, type_number, value) in &self.metadata {
            bytes.extend(string(key));
            bytes.extend(type_number.to_le_bytes());
            bytes.extend(value);
        }
        let mut offset = 0;
        for tensor in &self.tensors {
            bytes.extend(string(&tensor.name));
            bytes.extend((tensor.axes.len() as u32).to_le_bytes());
            bytes.extend(tensor.axes.iter().flat_map(|axis| axis.to_le_bytes()));
            bytes.extend(tensor.type_number.to_le_bytes());
            bytes.extend((offset as u64).to_le_bytes());
            offset += tensor.data.len().next_multiple_of(self.alignment);
        }
        bytes
    }

    /// The whole file.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.header();
        for tensor in &self.tensors {
            bytes.resize(bytes.len().next_multiple_of(self.alignment), 0);
            bytes.extend_from_slice(&tensor.data);
        }
        bytes
    }

    /// Written to a folder that goes when it is dropped.
    pub(crate) fn written(&self) -> (tempfile::TempDir, std::path::PathBuf) {
        written(&self.bytes())
    }
}

/// A GGUF file with this content.
pub(crate) fn written(bytes: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}
