//! Progressive JPEG files of any size and any number of scans in a few bytes a scan.

/// All blocks are empty, and the decoder reads zeros where a scan has ended: a scan is a header and nothing else.
pub(crate) struct Progressive {
    pub(crate) width: u16,
    pub(crate) height: u16,
    pub(crate) components: u8,
    /// Of the first component, against one of the others.
    pub(crate) sampling: u8,
    pub(crate) scans: usize,
}

impl Progressive {
    pub(crate) fn file(&self) -> Vec<u8> {
        let mut file = b"\xff\xd8".to_vec();
        segment(&mut file, 0xdb, &[&[0][..], &[1; 64]].concat());
        let [high, low] = self.height.to_be_bytes();
        let [wide, narrow] = self.width.to_be_bytes();
        let mut frame = vec![8, high, low, wide, narrow, self.components];
        for component in 1..=self.components {
            let sampling = if component == 1 { self.sampling } else { 1 };
            frame.extend([component, sampling << 4 | sampling, 0]);
        }
        segment(&mut file, 0xc2, &frame);
        // One code of one bit, a zero. For DC: no difference. For AC: the longest run of empty blocks, 14 bits of length
        // behind it.
        let table = |class_and_place: u8, value: u8| [&[class_and_place, 1][..], &[0; 15], &[value]].concat();
        segment(&mut file, 0xc4, &table(0x00, 0));
        segment(&mut file, 0xc4, &table(0x10, 0xe0));
        for scan in 0..self.scans {
            // DC of all components at once, then the rest of one after another.
            let (components, band) = match scan.checked_sub(1) {
                None => ((1..=self.components).collect(), [0, 0, 0]),
                Some(scan) => (vec![1 + (scan % usize::from(self.components)) as u8], [1, 63, 0]),
            };
            let mut header = vec![components.len() as u8];
            header.extend(components.iter().flat_map(|component| [*component, 0]));
            header.extend(band);
            segment(&mut file, 0xda, &header);
        }
        file.extend(b"\xff\xd9");
        file
    }
}

fn segment(file: &mut Vec<u8>, marker: u8, content: &[u8]) {
    file.extend([0xff, marker]);
    file.extend((content.len() as u16 + 2).to_be_bytes());
    file.extend(content);
}
