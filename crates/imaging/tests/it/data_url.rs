//! Data URLs, well and badly written.

use imaging::{Format, Limits, data_url, header};

#[test]
fn both_forms_and_their_variants_are_read() {
    for url in [
        "data:image/png;base64,iVBORw==",
        "DATA:image/png;charset=x;BASE64,iVBORw==",
        "data:;base64,iVBORw",
        "data:image/png;base64,iVBO\n Rw==",
        "data:image/png;base64,iVBORw%3D%3d",
        "data:image/png,%89PNG",
        "data:,%89P%4eG",
    ] {
        assert_eq!(data_url(url).unwrap(), b"\x89PNG", "{url}");
    }
}

#[test]
fn what_is_wrong_with_others_is_told() {
    for (url, told) in [
        ("", "does not begin with data:"),
        ("http://127.0.0.1/x.png", "does not begin with data:"),
        ("dät", "does not begin with data:"),
        ("data:image/png;base64", "no comma"),
        ("data:image/png;base64,", "empty"),
        ("data:image/png;base64,iVB!", "base64 is broken"),
        ("data:image/png;base64,iVBOR", "base64 is broken"),
        ("data:,%8", "hexadecimal"),
        ("data:,%zz", "hexadecimal"),
    ] {
        let error = data_url(url).unwrap_err().to_string();
        assert!(error.contains(told), "{url}: {error}");
        assert_eq!(error.lines().count(), 1);
    }
}

#[test]
fn the_claimed_type_does_not_matter() {
    let bytes = data_url("data:image/png;base64,R0lGODlhAgADAAAA").unwrap();
    let header = header(&bytes, &Limits::default()).unwrap();
    assert_eq!((header.format, header.width, header.height), (Format::Gif, 2, 3));
}
