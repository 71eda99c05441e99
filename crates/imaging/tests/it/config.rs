//! Configurations that are refused, by the name of what is wrong.

use imaging::Processor;
use serde_json::{Value, json};

fn refusal(config: &Value) -> String {
    let error = Processor::from_config(config).map(|_| ()).unwrap_err().to_string();
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

/// The field must be named, with its value.
fn refused(class: &str, field: &str, value: Value) {
    let error = refusal(&json!({"image_processor_type": class, field: value}));
    assert!(error.contains(&format!("{field} = {value}")), "{error}");
}

#[test]
fn other_classes_are_refused_by_name() {
    for class in [
        "ConvNextImageProcessor",
        "ViTImageProcessor",
        "Siglip2ImageProcessor",
        "LlavaOnevisionImageProcessor",
        "PixtralImageProcessorFast",
        "CLIP",
        "",
        "ImageProcessor",
    ] {
        let error = refusal(&json!({"image_processor_type": class}));
        assert!(error.contains(&format!("image_processor_type = \"{class}\"")), "{error}");
    }
    assert!(refusal(&json!({})).contains("image_processor_type = null"));
    assert!(refusal(&json!([1])).contains("the configuration = [1]"));
    assert!(
        refusal(&json!({"feature_extractor_type": "ViTFeatureExtractor"})).contains("ViTFeatureExtractor")
    );
}

#[test]
fn the_model_says_what_a_configuration_leaves_out() {
    let layout =
        |model, config: &Value| Processor::for_model(model, config).unwrap().layout(640, 480).unwrap();
    assert_eq!(layout("clip", &json!({"size": 30, "crop_size": 20})).tile_width, 20);
    assert_eq!(layout("siglip", &json!({})).tile_width, 224);
    assert_eq!(layout("dinov2", &json!({})).tile_width, 224);
    assert_eq!(layout("llava_next", &json!({"crop_size": 336})).tiles, 5);
    // A name in the configuration goes before.
    assert_eq!(layout("llava_next", &json!({"image_processor_type": "CLIPImageProcessor"})).tiles, 1);
    let error = Processor::for_model("vilt", &json!({})).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("model_type = \"vilt\""), "{error}");
}

#[test]
fn a_whole_processor_config_is_taken_apart() {
    let config = json!({
        "processor_class": "LlavaProcessor", "patch_size": 14,
        "image_processor": {"image_processor_type": "CLIPImageProcessor", "crop_size": {"height": 20, "width": 30}},
    });
    let layout = Processor::from_config(&config).unwrap().layout(640, 480).unwrap();
    assert_eq!((layout.tile_height, layout.tile_width), (20, 30));
}

#[test]
fn fields_that_make_no_sense_are_refused_by_name() {
    let clip = "CLIPImageProcessor";
    for size in [
        json!(0),
        json!(-1),
        json!(1.5),
        json!("224"),
        json!([224]),
        json!([1, 2, 3]),
        json!({}),
        json!(16_385),
        json!({"longest_edge": 224}),
        json!({"height": 224}),
        json!({"min_pixels": 1, "max_pixels": 9}),
        json!({"shortest_edge": 224, "width": 3}),
        json!(null),
    ] {
        refused(clip, "size", size);
    }
    for crop in [
        json!(0),
        json!({"shortest_edge": 3}),
        json!({"height": 3, "width": 0}),
        json!("3"),
        json!(null),
        json!({"height": 3, "width": 3, "longest_edge": 3}),
    ] {
        refused(clip, "crop_size", crop);
    }
    for filter in [json!(6), json!(-1), json!("bicubic"), json!(null)] {
        refused(clip, "resample", filter);
    }
    for mean in [json!([1, 2]), json!([0.1, 0.2, "x"]), json!("x"), json!(1e300), json!(null)] {
        refused(clip, "image_mean", mean);
    }
    for deviation in [json!([1, 0, 1]), json!(0), json!(1e-60), json!([])] {
        refused(clip, "image_std", deviation);
    }
    for (field, value) in [
        ("do_resize", json!("yes")),
        ("rescale_factor", json!("x")),
        ("rescale_factor", json!(null)),
        ("do_pad", json!(true)),
        ("data_format", json!("channels_last")),
        ("use_square_size", json!(true)),
    ] {
        refused(clip, field, value);
    }
    let next = "LlavaNextImageProcessor";
    for pinpoints in
        [json!([]), json!([[336]]), json!([[0, 3]]), json!(336), json!(null), json!([[336, 336, 3]])]
    {
        refused(next, "image_grid_pinpoints", pinpoints);
    }
    refused(next, "size", json!({"max_height": 3, "max_width": 3}));
    let config = json!({
        "image_processor_type": next, "size": 24, "crop_size": 24, "do_center_crop": false,
        "image_grid_pinpoints": [[24, 40]],
    });
    assert!(refusal(&config).contains("image_grid_pinpoints"));
    let config =
        json!({"image_processor_type": "LlavaImageProcessor", "do_pad": true, "image_mean": [2, 0, 0]});
    assert!(refusal(&config).contains("image_mean = [2,0,0]"));
}

#[test]
fn what_is_not_used_may_be_null() {
    let config = json!({
        "image_processor_type": "CLIPImageProcessor", "do_center_crop": null, "crop_size": null, "do_normalize": false,
        "image_mean": null, "image_std": null, "do_rescale": false, "rescale_factor": null, "do_resize": false,
        "size": null, "resample": null,
    });
    let layout = Processor::from_config(&config).unwrap().layout(7, 5).unwrap();
    assert_eq!((layout.tile_width, layout.tile_height), (7, 5));
}
